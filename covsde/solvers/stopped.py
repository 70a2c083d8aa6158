"""Stopping each path by itself: above a level, or when it explodes."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ..matrices import Lower, Symmetric, apart

_State = TypeVar("_State", Lower, Symmetric)


class StoppedState(eqx.Module):
    """The inner solver's state, and the time at which each path was stopped."""

    inner: Any
    stopped_at: Float[Array, " num_paths"]


class StepEnds(diffrax.AbstractLocalInterpolation):
    """The state at the nearer end of a step, to the last bit.

    `solve` saves at ends of steps only, where interpolation would add rounding.
    """

    t0: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    y0: Lower | Symmetric
    y1: Lower | Symmetric

    def evaluate(self, t0, t1=None, left=True):
        if t1 is not None:
            return jax.tree.map(
                jnp.subtract, self.evaluate(t1, left=left), self.evaluate(t0, left=left)
            )
        late = t0 - self.t0 > self.t1 - t0
        return jax.tree.map(lambda y0, y1: jnp.where(late, y1, y0), self.y0, self.y1)


class Stopped(diffrax.AbstractItoSolver):
    """Runs another solver and freezes a path once `tr V/m` exceeds a level.

    A path that exceeds `level` is kept at its first state above it; one that is no longer
    finite at its last finite state. Either way its time is recorded and the other paths
    go on.
    """

    solver: diffrax.AbstractSolver
    level: Scalar
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable] = StepEnds

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def init(self, terms, t0, t1, y0, args):
        inner = self.solver.init(terms, t0, t1, y0, args)
        return StoppedState(inner, jnp.full(y0.batch, jnp.inf, y0.dtype))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        inner, stopped_at = solver_state.inner, solver_state.stopped_at
        y1, _, _, inner1, result = self.solver.step(
            terms, t0, t1, y0, args, inner, made_jump
        )
        now = jnp.asarray(t1, y0.dtype)
        y1, state = _frozen(
            y1, y0, StoppedState(inner1, stopped_at), inner, self.level, now
        )
        return y1, None, dict(y0=y0, y1=y1), state, result

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)


@apart
def _frozen(
    y1: _State,
    y0: _State,
    state: StoppedState,
    inner0: Any,
    level: Scalar,
    now: Scalar,
) -> tuple[_State, StoppedState]:
    """The paths that move, with the others where they were."""
    moves, stops = _fates(y1, level, state.stopped_at)
    inner = jax.tree.map(lambda new, old: jnp.where(moves, new, old), state.inner, inner0)
    stopped_at = jnp.where(stops, now, state.stopped_at)
    return y1.where(moves, y0), StoppedState(inner, stopped_at)


@apart
def _fates(y: Lower | Symmetric, level: Scalar, stopped_at: Array) -> tuple[Array, Array]:
    """Which paths move to `y`, and which of all stop now."""
    size = mean_variance(y)
    alive, finite = jnp.isinf(stopped_at), jnp.isfinite(size)
    return alive & finite, alive & ~(finite & (size <= level))


def mean_variance(y: Lower | Symmetric) -> Array:
    """`tr V/m`, one per path."""
    diagonal = y.squared_rows() if isinstance(y, Lower) else y.diagonal()
    return y.sum_rows(diagonal) / y.m
