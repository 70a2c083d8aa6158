"""What a user of Diffrax would write without covsde, as well as its author would.

Each program is a function of a key, which returns the covariances at `t1`.
"""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

import covsde
from covsde._jit import jit
from covsde.matrices import (
    Lower,
    factorise,
    gram,
    lower_half,
    multiply,
    num_entries,
    whiten,
)
from covsde.problems import Problem


def first_program(
    limit, v0: Array, t1: float, steps: int, num_paths: int, *, root: str, brownian: str
) -> Callable:
    """Euler–Maruyama on V from the paper's formulas, `vmap` over `diffeqsolve`.

    - `root`: of the m(m+1)/2-square Σ of one path, `"eigh"` or `"cholesky"`.
    - `brownian`: `"tree"`, a `VirtualBrownianTree`, or `"unsafe"`, an
      `UnsafeBrownianPath`.
    """
    m = v0.shape[-1]
    rows, columns = np.tril_indices(m)
    b = _drift_of_a_user(limit)

    def unpack(y):
        v = jnp.zeros((m, m)).at[rows, columns].set(y)
        return v + jnp.tril(v, -1).T

    def drift(t, y, args):
        return b(t, unpack(y))[rows, columns]

    def diffusion(t, y, args):
        sigma = limit.diffusion.covariance(unpack(y))
        sigma = sigma[rows[:, None], columns[:, None], rows[None], columns[None]]
        if root == "cholesky":
            return jnp.linalg.cholesky(sigma)
        values, vectors = jnp.linalg.eigh(sigma)
        return (vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None]) @ vectors.T

    def one_path(key):
        shape = (len(rows),)
        if brownian == "tree":
            path = diffrax.VirtualBrownianTree(0.0, t1, t1 / steps / 2, shape, key)
        else:
            path = diffrax.UnsafeBrownianPath(shape, key)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, path)
        )
        solved = diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            0.0,
            t1,
            t1 / steps,
            v0[rows, columns],
            max_steps=steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys
        return unpack(solved[0])

    return _on_all_paths(one_path, num_paths)


def operator_program(limit, v0: Array, t1: float, steps: int, num_paths: int) -> Callable:
    """Euler–Maruyama on V as a user of Diffrax writes it best, by `vmap`.

    No root of Σ: the noise is the operator `S ↦ √Γ L S Lᵀ` at the Cholesky factor of V,
    a `lineax.FunctionLinearOperator`; an `UnsafeBrownianPath`.
    """
    m = v0.shape[-1]
    rows, columns = np.tril_indices(m)
    scale = np.where(rows == columns, 2**0.5, 1.0)
    b, gain = _drift_of_a_user(limit), limit.diffusion.strength
    size = jax.ShapeDtypeStruct((rows.size,), v0.dtype)

    def noise(t, v, args):
        factor = jnp.linalg.cholesky(v)

        def moved(entries):
            half = jnp.zeros_like(v).at[rows, columns].set(scale * entries)
            symmetric = half + jnp.tril(half, -1).T
            return jnp.sqrt(gain) * factor @ symmetric @ factor.T

        return lineax.FunctionLinearOperator(moved, size)

    def one_path(key):
        path = diffrax.UnsafeBrownianPath(size, key)
        drift = diffrax.ODETerm(lambda t, v, args: b(t, v))
        solved = diffrax.diffeqsolve(
            diffrax.MultiTerm(drift, diffrax.ControlTerm(noise, path)),
            diffrax.Euler(),
            0.0,
            t1,
            t1 / steps,
            v0,
            max_steps=steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys
        return solved[0]

    return _on_all_paths(one_path, num_paths)


def _on_all_paths(one_path: Callable, num_paths: int) -> Callable:
    batch = jit(jax.vmap(one_path))
    return lambda key: batch(jax.random.split(key, num_paths))


def _drift_of_a_user(limit) -> Callable:
    """`b(t, V)`; of a shaped ReLU as it stands in the paper, clipped to the cone."""
    activation = getattr(limit.drift, "activation", None)
    if not isinstance(activation, covsde.ShapedReLU):
        return lambda t, v: limit.drift(t, v, None)
    gain = limit.drift.gain

    def relu(t, v):
        d = jnp.maximum(jnp.diagonal(v), 1e-12)
        scale = jnp.sqrt(d[:, None] * d[None, :])
        rho = jnp.clip(v / scale, -1.0, 1.0)
        kernel = jnp.sqrt(1 - rho**2) - rho * jnp.arccos(rho)
        return gain * activation.strength * kernel * scale

    return relu


def first_unshaped(problem: Problem, steps: int, num_paths: int) -> Callable:
    """Euler–Maruyama on the paper's equation of `q`, from its first step on; returns u.

    It is singular at 0, so it starts at `q_{0+} = (2/K)²` after one step.
    """
    k, t1, h = problem.limit.attraction, problem.t1, problem.t1 / steps

    def one_path(key):
        path = diffrax.VirtualBrownianTree(h, t1, h / 2, (), key)

        def drift(t, q, args):
            return (2 * q - k * jnp.abs(q) ** 1.5) / t + 2 * q

        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift),
            diffrax.ControlTerm(lambda t, q, args: 2 * 2**0.5 * q, path),
        )
        solved = diffrax.diffeqsolve(
            terms, diffrax.Euler(), h, t1, h, (2 / k) ** 2, max_steps=steps
        ).ys
        return t1 / jnp.sqrt(jnp.maximum(solved[0], 0.0))

    return _on_all_paths(one_path, num_paths)


def stock_unshaped(problem: Problem, steps: int, num_paths: int, solver) -> Callable:
    """An Itô solver of Diffrax on the linear equation of `u`, by `vmap`."""

    def one_path(key):
        path = diffrax.UnsafeBrownianPath((), key)
        solved = diffrax.diffeqsolve(
            problem.limit.terms(path),
            solver,
            0.0,
            problem.t1,
            problem.t1 / steps,
            jnp.zeros(()),
            max_steps=steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys
        return solved[0]

    return _on_all_paths(one_path, num_paths)


def users_on_factor(
    limit, v0: Array, t1: float, steps: int, num_paths: int, solver
) -> Callable:
    """A Stratonovich solver of Diffrax on the factor, as its user writes it: by `vmap`.

    Dense m×m matrices, two triangular solves, an `UnsafeBrownianPath`.
    """
    m = v0.shape[-1]
    rows, columns = np.tril_indices(m)
    weights = np.where(rows == columns, 0.5**0.5, 1.0)
    drift, gain = _drift_of_a_user(limit), limit.diffusion.strength
    numbers = jnp.arange(1, m + 1, dtype=v0.dtype)

    def slope(t, factor, args):
        half = solve_triangular(factor, drift(t, factor @ factor.T), lower=True)
        whitened = solve_triangular(factor, half.T, lower=True)
        lower = jnp.tril(whitened, -1) + 0.5 * jnp.diag(jnp.diagonal(whitened))
        return factor @ (lower - 0.5 * gain * jnp.diag(numbers))

    def noise(t, factor, args):
        def moved(entries):
            n = jnp.zeros_like(factor).at[rows, columns].set(weights * entries)
            return jnp.sqrt(gain) * factor @ n

        size = jax.ShapeDtypeStruct((rows.size,), factor.dtype)
        return lineax.FunctionLinearOperator(moved, size)

    def one_path(key):
        size = jax.ShapeDtypeStruct((rows.size,), v0.dtype)
        path = diffrax.UnsafeBrownianPath(size, key)
        solved = diffrax.diffeqsolve(
            diffrax.MultiTerm(diffrax.ODETerm(slope), diffrax.ControlTerm(noise, path)),
            solver,
            0.0,
            t1,
            t1 / steps,
            jnp.linalg.cholesky(v0),
            max_steps=steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys
        return solved[0] @ solved[0].T

    return _on_all_paths(one_path, num_paths)


class FactorDrift(diffrax.AbstractTerm):
    """`L Φ(L⁻¹ b L⁻ᵀ) − ½ Γ L diag(1, …, m)`, of the factor's Stratonovich equation."""

    limit: covsde.AbstractLimit

    def vf(self, t, y, args):
        velocity = self.limit.drift.batched(jnp.asarray(t), gram(y), args)
        slope = lower_half(whiten(y, velocity))
        moved = y.pivot_numbers() * (-self.limit.diffusion.strength / 2)
        return multiply(y, slope.add_diagonal(moved))

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        return jax.tree.map(lambda x: x * control, vf)


class FactorNoise(diffrax.AbstractTerm):
    """`√Γ L ∘ dN`, `N_ii = B_ii/√2`, `N_ij = B_ij`."""

    limit: covsde.AbstractLimit
    path: diffrax.AbstractBrownianPath

    def vf(self, t, y, args):
        return y * jnp.sqrt(self.limit.diffusion.strength)

    def contr(self, t0, t1, **kwargs):
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control):
        increment = Lower.from_entries(control, vf.m)
        return multiply(vf, increment.scale_diagonal(0.5**0.5))


def stock_on_factor(
    limit, v0: Array, t1: float, steps: int, num_paths: int, solver
) -> Callable:
    """A Stratonovich solver of Diffrax on the factor, all paths in one `diffeqsolve`.

    It is handed covsde's packed algebra, and a factor cannot leave the cone.
    """
    m = v0.shape[-1]
    runge_kutta = isinstance(solver, diffrax.AbstractSRK)
    levy = diffrax.SpaceTimeLevyArea if runge_kutta else diffrax.BrownianIncrement

    @jit
    def run(key):
        start = factorise(jnp.broadcast_to(v0, (num_paths, m, m))).as_invertible(True)
        shape = jax.ShapeDtypeStruct((num_entries(m), num_paths), v0.dtype)
        path = diffrax.UnsafeBrownianPath(shape, key, levy_area=levy)
        terms = diffrax.MultiTerm(FactorDrift(limit), FactorNoise(limit, path))
        solved = diffrax.diffeqsolve(
            terms,
            solver,
            0.0,
            t1,
            t1 / steps,
            start,
            max_steps=steps,
            adjoint=diffrax.DirectAdjoint(),
        ).ys
        assert isinstance(solved, Lower)
        last = jax.tree.map(lambda x: x[0], solved)
        return gram(last).to_dense()

    return run
