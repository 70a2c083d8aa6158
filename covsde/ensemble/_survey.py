"""What is read off paths, and what is kept of it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from ..statistics import AbstractStatistic, Share, State, on_host


class Tally(NamedTuple):
    """What is known of the paths so far.

    - `stopped`: the share of paths that were stopped, at each time.
    - `left_out`: the share of the others whose observable is not finite.
    - `states`: of the statistics, of observables `(p, k)`.
    """

    stopped: State
    left_out: State
    states: tuple[State, ...]


class Survey(eqx.Module):
    """Observables of states, and statistics of them at each time.

    Of a path that was stopped, statistics have the times before.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    observables: tuple[Callable, ...]
    statistics: tuple[AbstractStatistic, ...]

    def start(self, times: int) -> Tally:
        """Before the first path."""
        shape = (len(self.names), times)
        states = tuple(statistic.start(shape) for statistic in self.statistics)
        return Tally(Share().start((times,)), Share().start(shape), states)

    def values(self, vs: Float[Array, "n k *state"]) -> Float[Array, "p k n"]:
        """The observables, paths last."""
        by_time = jnp.moveaxis(vs, 1, 0)
        # a loop, for unrolled over 200 times it took 48 s to compile
        return jnp.stack(
            [
                lax.map(lambda v, f=f: f(v).astype(vs.dtype), by_time)
                for f in self.observables
            ]
        )

    def update(
        self,
        tally: Tally,
        values: Float[Array, "p k n"],
        real: Bool[Array, " n"],
        running: Bool[Array, "k n"],
    ) -> Tally:
        """Adds paths; those that are not `real` only fill up a batch."""
        real = jnp.broadcast_to(real, running.shape)
        running = running & real
        each = jnp.broadcast_to(running, values.shape)
        lost = (~jnp.isfinite(values)).astype(values.dtype)
        stopped = (~running).astype(values.dtype)
        return Tally(
            Share().update(tally.stopped, stopped, real),
            Share().update(tally.left_out, lost, each),
            tuple(
                statistic.update(state, values, each)
                for statistic, state in zip(self.statistics, tally.states, strict=True)
            ),
        )

    def at(self, some: slice, times: int) -> Callable[[Tally], Tally]:
        """Takes these times of a tally of so many."""
        if range(times)[some] == range(times):
            return lambda tally: tally
        one, more = (jax.eval_shape(partial(self.start, k)) for k in (1, 2))

        def which(x, longer) -> tuple:
            sizes = enumerate(zip(x.shape, longer.shape, strict=True))
            axis = next(i for i, (size, more) in sizes if size != more)
            return (*(slice(None),) * axis, some)

        places = [*map(which, *map(jax.tree.leaves, (one, more)))]

        def taken(tally: Tally) -> Tally:
            leaves, tree = jax.tree.flatten(tally)
            pairs = zip(leaves, places, strict=True)
            return jax.tree.unflatten(tree, [x[place] for x, place in pairs])

        return taken

    def merge(self, one: Tally, other: Tally) -> Tally:
        """The tally of the paths of both."""
        with np.errstate(over="ignore", invalid="ignore"):
            states = tuple(
                statistic.merge(a, b)
                for statistic, a, b in zip(
                    self.statistics, one.states, other.states, strict=True
                )
            )
        return Tally(
            Share().merge(one.stopped, other.stopped),
            Share().merge(one.left_out, other.left_out),
            states,
        )


def tally_on_host(tally: Tally) -> Tally:
    """A tally as NumPy arrays, float64 and int64."""
    states = tuple(on_host(state) for state in tally.states)
    return Tally(on_host(tally.stopped), on_host(tally.left_out), states)


def pack(tally: Tally) -> dict[str, np.ndarray]:
    """A tally as arrays by name, for a file."""
    parts = {"stopped": tally.stopped, "left_out": tally.left_out}
    parts |= {str(i): state for i, state in enumerate(tally.states)}
    return {
        f"{part}.{name}": np.asarray(x)
        for part, state in parts.items()
        for name, x in state.items()
    }


def unpack(arrays: dict[str, np.ndarray]) -> Tally:
    """The tally that `pack` made arrays of."""
    parts: dict[str, State] = {}
    for key, x in arrays.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = x
    stopped, left_out = parts.pop("stopped"), parts.pop("left_out")
    return Tally(stopped, left_out, tuple(parts[str(i)] for i in range(len(parts))))
