"""What a single step of a scheme leaves of the equation, without Monte-Carlo noise.

For a smooth observable, `E f(V_h) = f + h 𝓛f + h²/2 𝓛²f + O(h³)`, with the generator `𝓛`
from the limit's own drift and covariance of the noise by automatic differentiation. A
scheme of weak order 2 agrees through `h²`, so what is left shrinks like `h³`; one of
order 1 leaves `h²`. The mean over the step's normals is a Gauss–Hermite sum.
"""

import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from covsde import AbstractLimit
from covsde.activations import expanded
from covsde.brownian import count_entries
from covsde.convergence._chain import GivenPath
from covsde.matrices import factorise, gram


def observables(v):
    """Bounded, sensitive to drift and noise: a norm, a correlation and its square."""
    rho = v[-2, -1] / jnp.sqrt(v[-2, -2] * v[-1, -1])
    return jnp.stack([v[-1, -1] / (1 + v[-1, -1]), rho, rho**2])


def generator(limit: AbstractLimit, f: Callable) -> Callable:
    """`𝓛f`, for `f` of one m×m matrix with values in a vector."""

    def lf(v):
        _, along = jax.jvp(f, (v,), (limit.drift(jnp.zeros(()), v, None),))
        second = jax.jacfwd(jax.jacfwd(f))(v)
        noise = jnp.einsum("abcd,iabcd->i", limit.diffusion.covariance(v), second)
        return along + noise / 2

    return lf


def cubature(dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Points `(dims, 2 dims² + 1)` and weights, exact to degree 5 for N(0, I).

    Source: McNamee, Stenger (1967), "Construction of fully symmetric numerical
    integration formulas".
    """
    one = np.sqrt(dims + 2) * np.eye(dims)
    two = [
        np.sqrt((dims + 2) / 2) * (s * np.eye(dims)[i] + t * np.eye(dims)[j])
        for i, j in itertools.combinations(range(dims), 2)
        for s in (1, -1)
        for t in (1, -1)
    ]
    points = np.concatenate([np.zeros((1, dims)), one, -one, np.array(two)])
    at_one = (4 - dims) / (2 * (dims + 2) ** 2)
    weights = [2 / (dims + 2), *[at_one] * (2 * dims), *[(dims + 2.0) ** -2] * len(two)]
    return points.T, np.array(weights)


def remainders(
    limit: AbstractLimit, solver, v0, lengths: Sequence[float], nodes: int
) -> np.ndarray:
    """The largest `|E f(V_1) − f − h 𝓛f − h²/2 𝓛²f|` of the observables, for each `h`.

    Polynomials of degree 5 in the normals have to be integrated exactly, which is all
    that the powers up to `h²` need; what is missed is of order `h³`. Three `nodes` for
    each normal do that, or none: then it is a cubature of fewer points.
    """
    m, cells = v0.shape[-1], solver.cells_per_step
    shape = limit.diffusion.noise_shape
    entries = count_entries(shape, m)
    if nodes:
        z, w = np.polynomial.hermite_e.hermegauss(nodes)
        every = itertools.product(z, repeat=cells * entries)
        normals = np.array(list(every)).T
        every = itertools.product(w / w.sum(), repeat=cells * entries)
        weights = np.array(list(every)).prod(axis=1)
    else:
        normals, weights = cubature(cells * entries)
    normals = jnp.asarray(normals.reshape(cells, entries, -1))
    weights = jnp.asarray(weights)
    limit = expanded(limit)  # one program for all activations
    known = _expansion(limit, v0)
    left = [
        _left(limit, solver, jnp.asarray(h), normals, weights, v0, known) for h in lengths
    ]
    return np.array(left)


@eqx.filter_jit
def _expansion(limit: AbstractLimit, v0):
    """`f`, `𝓛f` and `𝓛²f`."""
    lf = generator(limit, observables)
    return observables(v0), lf(v0), generator(limit, lf)(v0)


@eqx.filter_jit
def _left(limit: AbstractLimit, solver, h, normals, weights, v0, known):
    f0, f1, f2 = known
    cells, m = solver.cells_per_step, v0.shape[-1]
    shape = limit.diffusion.noise_shape
    path = GivenPath(normals=normals, cell=h / cells, m=m, noise_shape=shape)
    start = factorise(jnp.broadcast_to(v0, (weights.size, m, m)))
    end, *_ = solver.step(limit.terms(path), jnp.zeros(()), h, start, None, None, False)
    # f(V_0) is taken off before the sum, so that rounding stays far below h³
    change = jax.vmap(observables, out_axes=1)(gram(end).to_dense()) - f0[:, None]
    return jnp.max(jnp.abs(change @ weights - h * f1 - h**2 / 2 * f2))
