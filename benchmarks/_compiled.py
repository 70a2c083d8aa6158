"""A compiled loop over paths, as a user of Numba writes it without JAX."""

from collections.abc import Callable

import jax
import numba
import numpy as np
from jax import Array

import covsde


def compiled_loop(limit, v0: Array, t1: float, steps: int, num_paths: int) -> Callable:
    """Euler–Maruyama on V of a shaped MLP, one path after another on one thread."""
    activation, start = limit.activation, np.asarray(v0)
    assert isinstance(activation, covsde.ShapedReLU)
    strength, h = float(activation.strength), t1 / steps

    def run(key):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return _paths(rng, start, strength, h, steps, num_paths)

    return run


@numba.njit
def _paths(rng, start, strength, h, steps, num_paths):
    m = start.shape[0]
    out = np.empty((num_paths, m, m))
    root, s, moved = np.zeros((m, m)), np.empty((m, m)), np.empty((m, m))
    for path in range(num_paths):
        v = out[path]
        v[:] = start
        for _ in range(steps):
            _factorise(v, root)
            for i in range(m):
                for j in range(i):
                    s[i, j] = s[j, i] = rng.standard_normal() * np.sqrt(h)
                s[i, i] = rng.standard_normal() * np.sqrt(2 * h)
            for i in range(m):  # L S, of which L has no more than i + 1 columns
                for j in range(m):
                    total = 0.0
                    for k in range(i + 1):
                        total += root[i, k] * s[k, j]
                    moved[i, j] = total
            for i in range(m):
                for j in range(i + 1):
                    total = v[i, j]
                    for k in range(j + 1):
                        total += moved[i, k] * root[j, k]
                    if i != j:
                        scale = np.sqrt(v[i, i] * v[j, j])
                        rho = min(1.0, max(-1.0, v[i, j] / scale))
                        kernel = np.sqrt(1 - rho * rho) - rho * np.arccos(rho)
                        total += h * strength * kernel * scale
                    s[i, j] = total
            for i in range(m):
                for j in range(i + 1):
                    v[i, j] = v[j, i] = s[i, j]
    return out


@numba.njit
def _factorise(v, root):
    """The Cholesky factor; NaN where there is none."""
    for j in range(v.shape[0]):
        for i in range(j, v.shape[0]):
            total = v[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = np.sqrt(total) if i == j else total / root[j, j]
