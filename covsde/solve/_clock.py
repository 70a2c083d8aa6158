"""A clock for each path: steps whose length is known from the path's present state alone.

Where the speed of an SDE depends on its state, as near an explosion, no one step serves
all paths. A step that depends on what a path has done so far is still driven by a Gaussian
increment that is independent of it: normals are found by counting, by the path and the
number of its own step, so that no bridge is needed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..functionals import LOST, Fates
from ..matrices import multiply
from ..states import choose, is_batch, read, size
from ._grid import recomputed
from ._stepper import Carry, Stepper

# Turns of nested loops, whose product is the most steps of a path between two saved times.
_TURNS = (32, 32, 16)
# Rounds in which the paths that lag behind are put together, and run in parts of their own:
# a part is left once so many of its paths are done.
_LEFT = (1 / 8, 1 / 8, 0.0)
# By how much drift and noise shorten a step. Along a Gaussian direction a noise that grows
# like V² explodes beyond some deviations, which are to be more than ten; and close to the
# border of explosion half as much of both misses 4 % of a share (`benchmarks.explosion`).
_DRIFT, _NOISE = 2, 16
# Within so many standard deviations of a level a step is up to so many times shorter: the
# noise grows within it, and the bridge over it has that of its start.
_CLOSE, _SHORTER = 6.0, 8
# Speed times the time of the run from where on a path may be said to explode: where it is
# known how paths come back, by chance, and if it does it goes on from `_NEAR`; else if it
# comes back with a probability below e^-7.
_FAST, _NEAR, _CERTAIN = 1e6, 1e4, 14.0


class Clocked(NamedTuple):
    """Paths, each at a time of its own.

    - `carry`: their states. `time`: where they are. `number`: of their next steps.
    - `paths`: their global indices. `place`: where they belong among the others.
    """

    carry: Carry
    time: Float[Array, " num_paths"]
    number: Array
    paths: Array
    place: Array

    @property
    def running(self) -> Array:
        """Which were not stopped."""
        return self.carry.fates.running

    def behind(self, target: Array) -> Array:
        """Which have not come as far."""
        return self.running & (self.time < target)

    def take(self, which: Array) -> "Clocked":
        """Some of them."""
        return jax.tree.map(
            lambda x: x.take(which) if is_batch(x) else x[which], self, is_leaf=is_batch
        )

    def joined(self) -> "Clocked":
        """Those of parts that are stacked along a first axis."""
        return jax.tree.map(
            lambda x: x.joined() if is_batch(x) else x.reshape(-1, *x.shape[2:]),
            self,
            is_leaf=is_batch,
        )


class Clock(eqx.Module):
    """How long a step is.

    - `dt0`: at most. `most`: of itself by which `V` moves in a step.
    - `horizon`: the time of the run.
    """

    dt0: Array
    most: float = eqx.field(static=True)
    horizon: Array

    def longest(self, drift: Array, noise: Array) -> Array:
        """The longest step at these speeds, one per path."""
        speed = lax.stop_gradient(_DRIFT * drift + _NOISE * noise)
        return jnp.minimum(self.dt0, self.most / jnp.maximum(speed, self.most / self.dt0))

    def before(self, below: Array, longest: Array, noise: Array) -> Array:
        """The same, so far below a level of `log tr V`, whose variance is 4 noise."""
        most = (below / _CLOSE) ** 2 / jnp.maximum(4 * noise, 1e-30)
        return lax.stop_gradient(jnp.clip(most, longest / _SHORTER, longest))

    def explodes(self, drift: Array, noise: Array) -> Array:
        """Whether a path is certain to explode, and as good as has.

        Far out the speeds of drift and noise grow alike, and `log V` is a Brownian motion
        whose drift is to its variance as `(drift − 2 noise) : 4 noise` are: it comes back
        by L with the probability `e^{−(drift/2noise − 1) L}`, where L is half of the
        logarithm of the speed. Beyond the last numbers that the dtype has for a step
        nothing more is known.
        """
        speed = self._speed(drift, noise)
        decided = _exponent(drift, noise) * jnp.log(jnp.maximum(speed, 1.0))
        certain = (speed > _FAST) & (decided > _CERTAIN)
        last = 1e80 if speed.dtype == jnp.float64 else 1e16
        return certain | ~(speed < last)

    def is_far(self, drift: Array, noise: Array) -> Array:
        """Whether a path is so far out that chance may say whether it comes back."""
        return ~(self._speed(drift, noise) <= _FAST)

    def fall(self, drift: Array, noise: Array) -> Array:
        """By how much `log V` falls until it is near."""
        return 0.5 * jnp.log(self._speed(drift, noise) / _NEAR)

    def _speed(self, drift: Array, noise: Array) -> Array:
        return lax.stop_gradient(drift + noise) * self.horizon


def _exponent(drift: Array, noise: Array) -> Array:
    """`r` of the probability `e^{−rL}` that `log V` comes back by L."""
    return drift / jnp.maximum(2 * noise, 1e-30 * (drift + 1e-30)) - 1


def by_clocks(
    stepper: Stepper,
    clock: Clock,
    start: Any,
    save_times: Float[Array, " k"],
    size: int,
    wanted: Array | None = None,
) -> tuple[Array, dict[str, Array], Fates]:
    """What is read of the states, `(k, num_paths, …)`, the functionals, and all fates.

    The paths are simulated in parts of this `size`, a divisor of their number. They wait
    for each other where they are saved. Of those beyond what is `wanted`, if that is given,
    nothing is known.
    """
    paths = stepper.motion.paths
    zero = jnp.zeros(paths.shape, save_times.dtype)
    place = jnp.arange(paths.size)
    number = jnp.zeros(paths.shape, jnp.uint32)
    carry = stepper.start(start, save_times[-1])
    if wanted is not None:  # the others do nothing
        fates = carry.fates.stopped(place >= wanted, zero, LOST)
        carry = carry._replace(fates=fates)
    pool = Clocked(carry, zero, number, paths, place)

    def to(pool: Clocked, target: Array):
        pool = _advanced(stepper, clock, pool, target, size)
        if paths.size > size:
            pool = pool.take(jnp.argsort(pool.place))
        # what has not come as far, in all of its steps, is not known
        fates = pool.carry.fates.stopped(pool.behind(target), pool.time, LOST)
        pool = pool._replace(carry=pool.carry._replace(fates=fates))
        values = fates.readable(read(pool.carry.y), target)
        return pool, (values, pool.carry.kept)

    pool, (values, kept) = lax.scan(to, pool, save_times)
    return values, kept, pool.carry.fates


def _advanced(
    stepper: Stepper, clock: Clock, pool: Clocked, target: Array, size: int
) -> Clocked:
    """All paths at the target, or stopped before."""

    def part(which: Clocked, left: Array) -> Clocked:
        own = eqx.tree_at(lambda s: s.motion.paths, stepper, which.paths)

        def lag(now: Clocked) -> Array:
            return eqxi.unvmap_any(jnp.sum(now.behind(target)) > left)

        return _repeated(partial(_step, own, clock, target), lag, which, _TURNS)

    count = pool.paths.size // size
    if count == 1:
        return part(pool, jnp.zeros(()))

    def again(pool: Clocked, left: Array):
        # those that lag come first
        order = jnp.argsort(~pool.behind(target), stable=True)
        parts = lax.map(
            lambda which: part(pool.take(which), left * size), order.reshape(count, size)
        )
        return parts.joined(), None

    return lax.scan(again, pool, jnp.asarray(_LEFT))[0]


def _step(stepper: Stepper, clock: Clock, target: Array, now: Clocked) -> Clocked:
    """A step of each path that is not there yet."""
    behind = now.behind(target)
    speeds = stepper.speeds(now.carry.y, now.time)
    carry, decided = _decided(stepper, clock, now, behind, speeds)
    longest = clock.longest(*speeds)
    level = stepper.stopping.level
    if level is not None:
        below = jnp.log(level / size(now.carry.y))
        longest = clock.before(below, longest, speeds[1])
    # what is left in equal steps; of those that do not move any, that they stay finite
    rest = jnp.where(behind, target - now.time, longest)
    steps = jnp.maximum(jnp.ceil(rest / longest - 1e-9), 1.0)
    h = rest / steps
    moves = behind & ~decided
    moved = stepper.step(carry, now.number, jnp.zeros_like(h), h, now.time)
    ahead = jnp.where(steps > 1, now.time + h, target)
    return now._replace(
        carry=choose(moves, moved, carry),
        time=jnp.where(moves, ahead, now.time),
        number=now.number + behind.astype(jnp.uint32),
    )


def _decided(
    stepper: Stepper, clock: Clock, now: Clocked, behind: Array, speeds: tuple[Array, Array]
) -> tuple[Carry, Array]:
    """What has become of the paths that are far out, and which have no step to take.

    How one that comes back does so takes no time, but the numbers of a step.
    """
    excursion = stepper.excursion(now.carry.y)
    if excursion is None:
        explodes = behind & clock.explodes(*speeds)
        return stepper.exploded(now.carry, explodes, now.time), explodes
    far = behind & clock.is_far(*speeds)

    def look(carry: Carry) -> Carry:
        fall, (drift, noise) = clock.fall(*speeds), lax.stop_gradient(speeds)
        chance = jnp.exp(-jnp.maximum(_exponent(drift, noise), 0.0) * fall)
        motion = stepper.motion.step(now.number, jnp.ones_like(fall))
        uniforms = motion.uniforms()
        returns = far & (uniforms < chance)
        back = excursion(
            lax.stop_gradient(carry.y),
            drift / noise,
            fall,
            uniforms / chance,
            motion.entries()[:4],
        )
        back = choose(returns, back, (carry.y * 0.0).add_diagonal(1.0))
        carry = carry._replace(y=multiply(carry.y, back))
        return stepper.exploded(carry, far & ~returns, now.time)

    return lax.cond(eqxi.unvmap_any(far), look, lambda carry: carry, now.carry), far


def _repeated(
    body: Callable[[Clocked], Clocked],
    lag: Callable[[Clocked], Array],
    now: Clocked,
    turns: tuple[int, ...],
) -> Clocked:
    """`body` while some lag behind, as often as the product of the turns at most.

    Nested loops of a known length, whose turns are passed over as soon as none lags: they
    are differentiated in both modes, and in reverse keep no more states than the sum of
    the turns.
    """
    if not turns:
        return body(now)

    @recomputed
    def turn(now: Clocked, _):
        after = lax.cond(
            lag(now), lambda now: _repeated(body, lag, now, turns[1:]), lambda now: now, now
        )
        return after, None

    return lax.scan(turn, now, length=turns[0])[0]
