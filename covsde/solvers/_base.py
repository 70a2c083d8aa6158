"""What solvers on the factor share: `V = L Lᵀ` moves by right multiplication of `L`."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import diffrax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Scalar

from ..diffusions import AbstractNoise, CongruenceDiffusion, CongruenceNoise
from ..limits import AbstractLimit
from ..matrices import (
    Lower,
    Symmetric,
    factorise,
    gram,
    multiply,
    semidefinite_cholesky,
)
from ..terms import DriftOnFactor, like


class AbstractFactorSolver(diffrax.AbstractItoSolver):
    """A scheme that keeps `V` positive definite because its state is a factor of it.

    The state `y` may be the factor itself (`covsde.matrices.Lower`), or `V` as a dense or
    packed matrix: then the factor is carried along as the solver's state.
    """

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]
    ]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation
    weak_order: ClassVar[int]
    # Brownian increments asked for in one step: the grid must be that much finer.
    cells_per_step: ClassVar[int] = 1
    accepts_singular: ClassVar[bool] = True

    @abc.abstractmethod
    def advance(self, terms, t0: Scalar, t1: Scalar, factor: Lower, args: Any) -> Lower:
        """One step: the factor at `t1` from the factor at `t0`."""

    @abc.abstractmethod
    def max_step(self, limit: AbstractLimit, m: int) -> float:
        """Longest step for which the scheme is proven to work."""

    def order(self, terms):
        return self.weak_order

    def strong_order(self, terms):
        return 0.5

    def init(self, terms, t0, t1, y0, args):
        if isinstance(y0, Lower):
            return None
        if isinstance(y0, Symmetric):
            return semidefinite_cholesky(y0)
        return factorise(y0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del made_jump
        t0, t1 = jnp.asarray(t0), jnp.asarray(t1)
        on_factor = isinstance(y0, Lower)
        factor = self.advance(terms, t0, t1, y0 if on_factor else solver_state, args)
        y1 = factor if on_factor else like(gram(factor), y0)
        solver_state = None if on_factor else factor
        dense_info = dict(y0=y0, y1=y1)
        return y1, None, dense_info, solver_state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def strang(
    drift: DriftOnFactor,
    t0: Scalar,
    t1: Scalar,
    factor: Lower,
    noise: Callable[[Lower], Lower],
    h: Array | None = None,
) -> Lower:
    """Half a drift flow, `L ← L G` for the noise `G` at `L`, and the other half.

    The halves are two turns of one loop, so that the flow is compiled once. `h` is how
    long the drift acts, one per path, if that is not `t1 - t0`.
    """
    half = (t1 - t0) / 2
    acting = half if h is None else h / 2

    def turn(factor, now):
        t, is_first = now
        factor = drift.flow(t, acting, factor)
        moved = lax.cond(is_first, lambda f: multiply(f, noise(f)), lambda f: f, factor)
        return moved, None

    times = jnp.stack([t0, t0 + half])
    return lax.scan(turn, factor, (times, jnp.array([True, False])))[0]


def noise_gain(solver: diffrax.AbstractSolver, limit: AbstractLimit) -> float:
    """The Γ of a limit whose noise is `√Γ F dS Fᵀ`; refuses any other limit."""
    if not isinstance(limit.diffusion, CongruenceDiffusion):
        _refuse_noise(solver, limit.diffusion)
    return float(limit.diffusion.gain)


def congruence_gain(solver: diffrax.AbstractSolver, noise: AbstractNoise) -> Scalar:
    """The Γ of a noise `√Γ F dS Fᵀ`; refuses any other noise."""
    if not isinstance(noise, CongruenceNoise):
        _refuse_noise(solver, noise)
    return noise.gain.astype(noise.factor.dtype)


def _refuse_noise(solver, noise) -> NoReturn:
    raise TypeError(
        f"`solver`: {type(solver).__name__} steps the noise √Γ F dS Fᵀ of "
        f"`CongruenceDiffusion`; got {type(noise).__name__}. Use `NinomiyaNinomiya()`, or "
        "`diffrax.Euler()` on V."
    )


def within_span(factor: Lower, increment: Any) -> Any:
    """The increment that `V = L Lᵀ` feels: a `V` of rank r has an r×r Brownian motion.

    Its rows and columns at the zero pivots of `L` are made zero, so that `L` keeps its
    echelon form.
    """
    if factor.invertible:
        return increment
    if isinstance(increment, tuple):
        return tuple(within_span(factor, part) for part in increment)
    spanned = factor.nonzero_pivots()
    return increment.scale_rows(spanned).scale_columns(spanned)


def rank(factor: Lower):
    """The rank of `V = L Lᵀ`: `m`, or one number per path if it may be singular."""
    if factor.invertible:
        return factor.m
    return jnp.sum(factor.nonzero_pivots(), axis=factor.row_axis())


def row_numbers(factor: Lower):
    """`1, …, r` down the nonzero pivots, as a row vector."""
    if not factor.invertible:
        return jnp.cumsum(factor.nonzero_pivots(), axis=factor.row_axis())
    numbers = jnp.arange(1, factor.m + 1, dtype=factor.dtype)
    ones = jnp.ones_like(factor.diagonal())
    axis = factor.row_axis() % ones.ndim
    return ones * numbers.reshape([-1 if i == axis else 1 for i in range(ones.ndim)])
