"""What solvers on the factor share: `V = L Lᵀ` moves by right multiplication of `L`."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._built import plain
from ..diffusions import AbstractDiffusion
from ..drifts import AbstractDrift
from ..limits import AbstractLimit
from ..matrices import Lower, gram
from ..states import choose, factor_of, like, size
from ..terms import BoundNoise, DriftOnFactor, forwards


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
    # Whether no state leaves the cone, so that one which is not finite has exploded.
    stays_within: ClassVar[bool] = True

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
        factor = factor_of(y0)
        return None if factor is y0 else factor  # which needs none beside it

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del made_jump
        t0, t1 = forwards(terms, t0, t1)
        on_factor = solver_state is None
        factor = self.advance(terms, t0, t1, y0 if on_factor else solver_state, args)
        y1 = factor if on_factor else like(y0, gram(factor))
        solver_state = None if on_factor else factor
        dense_info = dict(y0=y0, y1=y1)
        return y1, None, dense_info, solver_state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def begin(self, factor: Lower) -> Any:
        """The state that `solve` steps from a start, where none is looked at on the way."""
        return factor

    def finish(
        self, drift: AbstractDrift, t: Array, y: Any, args: Any
    ) -> tuple[Lower, Bool[Array, " num_paths"]]:
        """The factor at `t` of such a state, and which paths have one there."""
        return y, jnp.ones(y.batch, bool)


class Pending(eqx.Module):
    """A factor on which the drift has yet to act for a `time`, one per path.

    So the half drift flows of two consecutive steps are one. `AbstractStrangSolver.finish`
    has the factor after it.
    """

    factor: Lower
    time: Float[Array, " num_paths"]

    @classmethod
    def of(cls, factor: Lower, time: Array) -> "Pending":
        """This factor, and this time for all paths."""
        return cls(factor, jnp.broadcast_to(time, factor.batch).astype(factor.dtype))


@size.register(Pending)
def _(y):
    return size(y.factor)


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

    @plain
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

    def begin(self, factor) -> Any:
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

    def finish(self, drift, t, y, args):
        """The factor after what is pending; before it, of paths that explode within."""
        if not isinstance(y, Pending):
            return super().finish(drift, t, y, args)
        bound = self.of_order(DriftOnFactor(drift, args))
        moved = bound.flow(t - jnp.max(y.time), y.time, y.factor)
        moved = moved.where(y.time > 0, y.factor)
        finite = jnp.isfinite(size(moved))
        return choose(finite, moved, y.factor), finite


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
