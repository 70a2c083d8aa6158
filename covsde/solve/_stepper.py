"""One step of all paths: the state, what has become of it, and what is kept beside it."""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..brownian import Motion
from ..functionals import AbstractFunctional, Fates, Step, Stopping
from ..limits import AbstractLimit, Excursion
from ..matrices import Lower
from ..states import choose, factor_of


class Carry(NamedTuple):
    """What a step hands to the next: all of it one for each path."""

    y: Any
    inner: Any  # the solver's own state
    fates: Fates
    kept: dict[str, Array]


class Stepper(eqx.Module):
    """A solver of a limit, and what watches it."""

    limit: AbstractLimit
    solver: diffrax.AbstractSolver
    motion: Motion
    stopping: Stopping
    functionals: dict[str, AbstractFunctional]

    def start(self, y: Any, t1: Array) -> Carry:
        """Before the first step."""
        zero = jnp.zeros_like(t1)
        terms = self.limit.terms(self.motion.step(jnp.uint32(0), t1))
        inner = self.solver.init(terms, zero, t1, y, None)
        kept = {name: f.start(y) for name, f in self.functionals.items()}
        return Carry(y, inner, self.stopping.start(y), kept)

    def step(self, carry: Carry, number: Array, t0: Array, t1: Array, start: Any) -> Carry:
        """From `start + t0` to `start + t1`, of all paths or of each.

        What a path does is known from `number`, that of its step.
        """
        y, fates = carry.y, carry.fates
        motion = self.motion.step(number, t1 - t0)
        terms = self.limit.terms(motion, start)
        now = Step(start + t0, start + t1, y, y, None, None, motion, {})
        if self._asks_for_noise:
            factor = factor_of(y)
            now = now._replace(noise=terms.vf(t0, factor, None)[1], factor=factor)
        shifts = [s for f in self.functionals.values() if (s := f.tilt(now)) is not None]
        if shifts:
            motion = dataclasses.replace(motion, shift=shifts[0])
            terms = self.limit.terms(motion, start)
        after, _, info, inner, _ = self.solver.step(
            terms, t0, t1, y, None, carry.inner, False
        )
        now = now._replace(after=after, motion=motion, info=info)
        running = fates.running
        fates, after = self.stopping.update(fates, now)
        end = jnp.minimum(now.t1, fates.stopped_at)
        now = now._replace(after=after, t1=end)
        inner = choose(running, inner, carry.inner)
        kept = {n: f.update(carry.kept[n], now) for n, f in self.functionals.items()}
        kept = choose(running, kept, carry.kept)
        return Carry(after, inner, fates, kept)

    @property
    def _asks_for_noise(self) -> bool:
        return bool(self.functionals) or self.stopping.between

    def exploded(self, carry: Carry, where: Array, time: Array) -> Carry:
        """Some paths are as good as exploded, and have passed any level."""
        fates, y = self.stopping.exploded(carry.fates, carry.y, where, time)
        return carry._replace(fates=fates, y=y)

    def excursion(self, y: Any) -> Excursion | None:
        """How paths come back from far out, if it is known and nobody looks there."""
        if self.functionals or self.stopping.level is not None or not isinstance(y, Lower):
            return None
        return self.limit.excursion(y.m)

    def speeds(self, y: Any, t: Array) -> tuple[Array, Array]:
        """Inverse time scales of drift and noise here, one of each per path."""
        terms = self.limit.terms(self.motion.step(jnp.uint32(0), jnp.zeros_like(t)))
        factor = factor_of(y)
        drift, noise = terms.vf(t, factor, None)
        return drift.speed(factor), noise.speed(factor)
