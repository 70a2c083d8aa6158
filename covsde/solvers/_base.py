"""What solvers on the factor share: `V = L Lᵀ` moves by right multiplication of `L`."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..diffusions import AbstractDiffusion
from ..drifts import AbstractDrift
from ..limits import AbstractLimit
from ..matrices import (
    Lower,
    Symmetric,
    factorise,
    gram,
    semidefinite_cholesky,
)
from ..terms import BoundNoise, DriftOnFactor, forwards, like


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
    def advance(self, terms, t0: Array, t1: Array, factor: Lower, args: Any) -> Lower:
        """One step: the factor at `t1` from the factor at `t0`."""

    @abc.abstractmethod
    def max_step(self, limit: AbstractLimit, m: int, t1: float = 1.0) -> float:
        """Longest step for which the scheme is proven to work, on the way to `t1`."""

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
        t0, t1 = forwards(terms, t0, t1)
        on_factor = isinstance(y0, Lower)
        factor = self.advance(terms, t0, t1, y0 if on_factor else solver_state, args)
        y1 = factor if on_factor else like(gram(factor), y0)
        solver_state = None if on_factor else factor
        dense_info = dict(y0=y0, y1=y1)
        return y1, None, dense_info, solver_state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class Pending(Lower):
    """A factor on which the drift has yet to act for a `time`, one per path.

    So the half drift flows of two consecutive steps are one. `AbstractStrangSolver.finish`
    has the factor after it.
    """

    time: Float[Array, " num_paths"] = eqx.field(kw_only=True)

    @classmethod
    def of(cls, factor: Lower, time: Array) -> "Pending":
        """This factor, and this time for all paths."""
        time = jnp.broadcast_to(time, factor.batch).astype(factor.dtype)
        return cls(factor.data, factor.m, factor.invertible, time=time)

    @property
    def factor(self) -> Lower:
        """The factor alone."""
        return Lower(self.data, self.m, self.invertible)

    def where(self, condition, otherwise):
        """This one for the paths where `condition` holds, else the other."""
        factor = self.factor.where(condition, otherwise)
        return Pending.of(factor, jnp.where(condition, self.time, otherwise.time))


class AbstractStrangSolver(AbstractFactorSolver):
    """Half a drift flow, the noise, and the other half (Strang splitting).

    `solve` runs it on `Pending` factors, with one drift flow a step.
    """

    @abc.abstractmethod
    def increment(self, terms, t0: Array, t1: Array) -> Any:
        """The Brownian increments of a step."""

    @abc.abstractmethod
    def kick(self, noise: BoundNoise, factor: Lower, increment: Any, h: Array) -> Lower:
        """The factor after a step `h` of the noise alone."""

    def of_order(self, drift: DriftOnFactor) -> DriftOnFactor:
        """The drift with the flow that this solver takes."""
        return drift

    def paced(
        self,
        drift: DriftOnFactor,
        factor: Lower,
        noise: BoundNoise,
        increment: Any,
        h: Array,
    ) -> tuple[Any, Array]:
        """What each path takes of a step: all of it, unless it must be slowed."""
        del drift, factor, noise
        return increment, h

    def max_step(self, limit, m, t1=1.0):
        """The longest drift flow."""
        return limit.bounds(m).max_step

    def advance(self, terms, t0, t1, factor, args):
        drift, half, kicked = self._parts(terms, t0, t1, factor, args)

        def turn(factor, now):
            t, is_first = now
            factor = drift.flow(t, half, factor)
            return lax.cond(is_first, kicked, lambda f: f, factor), None

        # the halves are two turns of one loop, so that the flow is compiled once
        times = jnp.stack([t0, t0 + (t1 - t0) / 2])
        return lax.scan(turn, factor, (times, jnp.array([True, False])))[0]

    def begin(self, factor: Lower) -> Lower:
        """The start, on which no drift is pending."""
        return Pending.of(factor, jnp.zeros(()))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump) -> Any:
        if not isinstance(y0, Pending):
            return super().step(terms, t0, t1, y0, args, solver_state, made_jump)
        t0, t1 = forwards(terms, t0, t1)
        drift, half, kicked = self._parts(terms, t0, t1, y0.factor, args)
        factor = drift.flow(t0 - jnp.max(y0.time), y0.time + half, y0.factor)
        y1 = Pending.of(kicked(factor), half)
        return y1, None, dict(y0=y0, y1=y1), solver_state, diffrax.RESULTS.successful

    def _parts(
        self, terms, t0: Array, t1: Array, factor: Lower, args: Any
    ) -> tuple[DriftOnFactor, Array, Callable[[Lower], Lower]]:
        """The drift, half the time that it acts, and the noise as a map of factors."""
        h = t1 - t0
        drift, noise = terms.vf(t0 + h / 2, factor, args)
        increment = self.increment(terms, t0, t1)
        increment, acting = self.paced(drift, factor, noise, increment, h)

        def kicked(factor: Lower) -> Lower:
            return self.kick(noise, factor, increment, acting)

        return self.of_order(drift), acting / 2, kicked

    def init(self, terms, t0, t1, y0, args):
        if isinstance(y0, Pending):
            return None
        return super().init(terms, t0, t1, y0, args)

    def finish(self, drift: AbstractDrift, t: Array, y: Pending, args: Any) -> Lower:
        """The factor at `t`."""
        bound = self.of_order(DriftOnFactor(drift, args))
        moved = bound.flow(t - jnp.max(y.time), y.time, y.factor)
        return moved.where(y.time > 0, y.factor)


def halves(terms, t0: Array, t1: Array) -> tuple[Any, Any]:
    """The Brownian increments of both halves of a step."""
    middle = t0 + (t1 - t0) / 2
    return terms.contr(t0, middle, half=0)[1], terms.contr(middle, t1, half=1)[1]


def noise_gain(solver: diffrax.AbstractSolver, limit: AbstractLimit, t1: float) -> float:
    """The largest Γ before `t1` of a noise `√Γ F dS Fᵀ`; refuses any other limit."""
    gain = limit.diffusion.largest_gain(t1)
    if gain is None:
        _refuse_noise(solver, limit.diffusion)
    return gain


def congruence_gain(
    solver: diffrax.AbstractSolver, noise: BoundNoise, factor: Lower
) -> Array:
    """The Γ of a noise `√Γ F dS Fᵀ`, to multiply a factor; refuses any other noise."""
    gain = noise.gain
    if gain is None:
        _refuse_noise(solver, noise.diffusion)
    return jnp.asarray(gain, factor.dtype)


def _refuse_noise(solver: diffrax.AbstractSolver, diffusion: AbstractDiffusion) -> NoReturn:
    raise TypeError(
        f"`solver`: {type(solver).__name__} steps the noise √Γ F dS Fᵀ, whose diffusion "
        f"has a `gain`; got {type(diffusion).__name__}. Use `NinomiyaNinomiya()`, or "
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
    return factor.sum_rows(factor.nonzero_pivots())


def row_numbers(factor: Lower):
    """`1, …, r` down the nonzero pivots, as a row vector."""
    if not factor.invertible:
        return jnp.cumsum(factor.nonzero_pivots(), axis=factor.row_axis())
    numbers = jnp.arange(1, factor.m + 1, dtype=factor.dtype)
    ones = jnp.ones_like(factor.diagonal())
    axis = factor.row_axis() % ones.ndim
    return ones * numbers.reshape([-1 if i == axis else 1 for i in range(ones.ndim)])
