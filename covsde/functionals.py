"""Functionals: what is kept along a path besides its state.

A functional has one value per path. It starts at the path's start and is updated by each
step, whose states it may read; the run saves it at the times at which it saves the state.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._checks import found
from .brownian import OneStep
from .matrices import apart
from .states import choose, read, scaled_to, size

Observable = Callable[[Float[Array, "num_paths m m"]], Float[Array, " num_paths"]]


class Step(NamedTuple):
    """One step of all paths.

    - `t0`, `t1`: its ends (depth/width), of all paths or of each.
    - `before`, `after`: the states there.
    - `noise`: the noise then, and `factor` that of V before, where they are asked for.
    - `motion`: the Brownian increments of this step.
    - `info`: what the solver tells of it besides.
    """

    t0: Array
    t1: Array
    before: Any
    after: Any
    noise: Any
    factor: Any
    motion: OneStep
    info: dict[str, Any]

    def gradient(self, slope: Float[Array, "num_paths m m"]) -> Array:
        """`Σ^{1/2ᵀ} S` by entries of the Brownian motion, for the slopes S of a number.

        The number moves by its product with the increment, which is linear in this.
        """

        def moved(entries: Array) -> Array:
            moves = self.noise.apply(self.factor, self.motion.arranged(entries))
            return jnp.sum(slope * moves.to_dense())

        return jax.grad(moved)(jnp.zeros_like(self.motion.entries()))


class AbstractFunctional(eqx.Module):
    """What is kept along a path: one number, that each step updates."""

    @abc.abstractmethod
    def start(self, y: Any) -> Float[Array, " num_paths"]:
        """The value at the start, from the state there."""

    @abc.abstractmethod
    def update(self, value: Array, step: Step) -> Float[Array, " num_paths"]:
        """The value after a step."""

    def tilt(self, step: Step) -> Array | None:
        """What is added to the Brownian motion per unit of time, `(entries, num_paths)`.

        None, if the SDE is not tilted. `step.after` is not known yet.
        """
        del step


class Integral(AbstractFunctional):
    """`∫₀ᵗ f(V_s) ds`, by the trapezoidal rule on the steps, of order 2."""

    of: Observable

    def __init__(self, of: Observable):
        """**Arguments:**

        - `of`: f, a JAX function of covariances `(num_paths, m, m)`.
        """
        self.of = _function("of", of)

    def start(self, y):
        """0."""
        return jnp.zeros_like(size(y))

    def update(self, value, step):
        """Adds the step's trapezium."""
        ends = self.of(read(step.before)) + self.of(read(step.after))
        return value + (step.t1 - step.t0) * 0.5 * ends


class Maximum(AbstractFunctional):
    """`max_{s ≤ t} f(V_s)` over the ends of steps; of order ½ in their length."""

    of: Observable

    def __init__(self, of: Observable):
        """**Arguments:**

        - `of`: f, a JAX function of covariances `(num_paths, m, m)`.
        """
        self.of = _function("of", of)

    def start(self, y):
        """`f(V₀)`."""
        return self.of(read(y))

    def update(self, value, step):
        """The larger one."""
        return jnp.maximum(value, self.of(read(step.after)))


class LogWeight(AbstractFunctional):
    """The log-weight `log dP/dQ` of paths that are drawn from a tilted law Q.

    Under Q the Brownian motion has the drift `u = Σ^{1/2ᵀ} ∇G(V)` of a potential G, so
    `dV` has the additional drift `Σ ∇G`, which leads to where G is large (for `G = log h`
    it is Doob's h-transform). The weight `−∫ u·dB − ½ ∫ |u|² dt`, B that of Q, takes it
    back: `E_P f(V_T) = E_Q [f(V_T) e^{log-weight}]`. Each step tilts its normals by a
    number that is known when it begins, so this is exact for the steps, however long.

    Source: Girsanov's theorem, in discrete time.
    """

    potential: Observable

    def __init__(self, potential: Observable):
        """**Arguments:**

        - `potential`: G, a differentiable JAX function of covariances `(num_paths, m, m)`.
        """
        self.potential = _function("potential", potential)

    def start(self, y):
        """0: no path is tilted yet."""
        return jnp.zeros_like(size(y))

    def tilt(self, step):
        """`u`, entry by entry."""
        v = read(step.before)
        slope = jax.grad(lambda v: jnp.sum(self.potential(v)))(v)
        return step.gradient(slope)

    def update(self, value, step):
        """Adds `−u·ΔB + ½ |u|² h`, for `ΔB` has `u h` in it."""
        u, moved = step.motion.shift, step.motion.entries()
        assert u is not None  # this functional has tilted the step
        h = step.t1 - step.t0
        return value - jnp.sum(u * moved, axis=0) + 0.5 * h * jnp.sum(u**2, axis=0)


class Projections(AbstractFunctional):
    """How often a projecting solver left the cone."""

    def start(self, y):
        """0."""
        return jnp.zeros_like(size(y))

    def update(self, value, step):
        """One more, where this step left it."""
        return value + step.info["projected"]


def _function(name: str, f: Observable) -> Observable:
    if not callable(f):
        raise TypeError(
            f"`{name}` must be a JAX function of covariances (num_paths, m, m); got "
            f"{found(f)}. For example `covsde.observables.Correlation(0, 1)`."
        )
    return f


# what has become of a path
RUNNING, AT_LEVEL, EXPLODED, LOST = range(4)


class Fates(NamedTuple):
    """When each path was stopped, inf where it runs, and what has become of it."""

    stopped_at: Float[Array, " num_paths"]
    fate: Array

    @property
    def running(self) -> Array:
        """Which paths run yet."""
        return jnp.isinf(self.stopped_at)

    def stopped(self, where: Array, time: Array, fate: int) -> "Fates":
        """The fates, where some paths are stopped at a time."""
        return Fates(
            jnp.where(where, time, self.stopped_at),
            jnp.where(where, jnp.int8(fate), self.fate),
        )

    def readable(self, vs: Array, t: Array) -> Array:
        """What is read at time `t`: of a path that was lost before, that it is.

        A path that exploded has infinite variances and no covariances. One that left the
        covariances, or the numbers, has none of either.
        """
        gone = self.stopped_at <= t
        shape = (-1,) + (1,) * (vs.ndim - 1)
        exploded = (gone & (self.fate == EXPLODED)).reshape(shape)
        lost = (gone & (self.fate == LOST)).reshape(shape)
        infinite = infinite_state(vs.shape[1:], vs.dtype)
        return jnp.where(exploded, infinite, jnp.where(lost, jnp.nan, vs))


def infinite_state(shape: tuple[int, ...], dtype: Any) -> Array:
    """What is read of a state that exploded: infinite variances, and no covariances."""
    if len(shape) < 2:
        return jnp.full(shape, jnp.inf, dtype)
    return jnp.where(jnp.eye(shape[-1], dtype=bool), jnp.inf, jnp.nan).astype(dtype)


class Stopping(eqx.Module):
    """Stops each path by itself: at a level of `tr V/m`, or where it has no state.

    A path is stopped *at* the level: its state is scaled to it, for a step ends beyond.
    Between the ends of a step `log tr V/m` is a Brownian bridge, which may have crossed the
    level and come back; a path does so with that probability. So first passage is of weak
    order 1, and without `between`, where only the ends are looked at, of order ½.

    Source: Gobet (2000), "Weak approximation of killed diffusion using Euler schemes".
    """

    level: Array | None
    stays: bool = eqx.field(static=True)
    between: bool = eqx.field(static=True)
    # whether what has no state any more keeps its last, for those who look at it
    keeps: bool = eqx.field(static=True, default=True)

    def start(self, y: Any) -> Fates:
        """All run."""
        return Fates(
            jnp.full_like(size(y), jnp.inf), jnp.full(size(y).shape, RUNNING, jnp.int8)
        )

    def update(self, fates: Fates, step: Step) -> tuple[Fates, Any]:
        """The fates after a step, and the states: if kept, what stopped as it was."""
        if self.level is None:
            after, moves = step.after, fates.running
            fates, finite = _finite(self, fates, after, step.t1)
            if self.keeps:
                after = choose(moves & finite, after, step.before)
            return fates, after
        return _stopped(self, fates, step)

    def at_level(self, fates: Fates, step: Step) -> tuple[Fates, Any]:
        """The same, of a level."""
        assert self.level is not None
        now = size(step.after)
        finite, running = jnp.isfinite(now), fates.running
        gone = EXPLODED if self.stays else LOST
        start, end = (jnp.broadcast_to(t, now.shape) for t in (step.t0, step.t1))
        below = jnp.log(self.level / size(step.before))
        beyond = jnp.log(self.level / jnp.where(finite, now, self.level))
        crosses = beyond < 0
        if self.between:
            crosses = crosses | self._returns(below, beyond, step)
        # a path that explodes within a step has passed the level
        crosses = running & jnp.where(finite, crosses, self.stays)
        at = start + below / (below + jnp.abs(beyond)) * (end - start)
        fates = fates.stopped(running & ~finite & ~crosses, end, gone)
        fates = fates.stopped(crosses, at, AT_LEVEL)
        after = choose(running & finite, step.after, step.before)
        wanted = jnp.broadcast_to(self.level, now.shape)
        return fates, choose(crosses, scaled_to(after, wanted), after)

    def exploded(
        self, fates: Fates, y: Any, where: Array, time: Array
    ) -> tuple[Fates, Any]:
        """The fates and states, where some explode: that takes them past any level."""
        if self.level is None:
            return fates.stopped(where, time, EXPLODED), y
        wanted = jnp.broadcast_to(self.level, where.shape)
        return fates.stopped(where, time, AT_LEVEL), choose(where, scaled_to(y, wanted), y)

    def _returns(self, below: Array, beyond: Array, step: Step) -> Array:
        """Whether a path crosses the level and comes back, by `e^{−2ab/σ²h}`."""
        trace = size(step.before) * step.motion.motion.m
        spread = step.noise.trace_variance(step.factor) / trace**2
        h = step.t1 - step.t0
        exponent = 2 * below * beyond / jnp.maximum(spread * h, 1e-300)
        return step.motion.uniforms() < jnp.exp(-exponent)


@apart
def _stopped(stopping: Stopping, fates: Fates, step: Step) -> tuple[Fates, Any]:
    return stopping.at_level(fates, step)


@apart
def _finite(stopping: Stopping, fates: Fates, y: Any, t1: Array) -> tuple[Fates, Array]:
    """The fates of paths that have come to some states, and which have one yet."""
    finite = jnp.isfinite(size(y))
    end = jnp.broadcast_to(t1, finite.shape)
    gone = EXPLODED if stopping.stays else LOST
    return fates.stopped(fates.running & ~finite, end, gone), finite
