"""The compiled program: statistics at some points at once, whose limits are traced."""

import dataclasses
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._jit import jit
from ..ensemble import Survey, Tally, observe
from ..limits import AbstractLimit
from ..solve import Run
from ..statistics import Moments, State


class Points(NamedTuple):
    """What differs from point to point; of one point, or of several along a first axis.

    - `limit`: the arrays of the limit. One key serves all points, or there is one for each.
    - `slopes`: their derivatives by each of the wanted parameters.
    """

    limit: AbstractLimit
    slopes: tuple[AbstractLimit, ...]
    v0: Float[Array, "*n m m"]
    key: PRNGKeyArray


@jit
def tally_at(
    points: Points,
    run: Run,
    survey: Survey,
    num_paths: Int[Array, ""],
    block: int,
) -> tuple[Tally, State]:
    """The tally of some points, and the moments of the derivatives there; each point has
    times of its own, one point after another.

    Block after block of paths, each reduced where it was simulated. What does not depend on
    the point is computed once, the normals above all and often the noise's exponential: on
    a CPU 8 points take from half the time of one after another (an MLP) to as much (a
    ResNet's gamma with four inputs).
    """
    axes = Points(0, 0, 0, 0 if points.key.ndim else None)  # pyright: ignore[reportArgumentType]

    def add(i, state):
        tally, moments = state
        begin = i * block
        wanted = num_paths - begin
        observed = partial(_observed, run=run, survey=survey, block=block)
        which = begin, wanted
        now, slopes, running = jax.vmap(observed, in_axes=(axes, None))(points, which)
        real = jnp.arange(block, dtype=jnp.int32) < wanted
        now, running = _in_a_row(now, 1), _in_a_row(running, 0)
        if slopes is not None:
            slopes = _in_a_row(slopes, 2)
            where = jnp.broadcast_to(running & real[None], slopes.shape)
            moments = Moments().update(moments, slopes, where)
        return survey.update(tally, now, real, running), moments

    times = len(points.v0) * run.num_saved
    shape = (len(points.slopes), len(survey.names), times)
    start = survey.start(times), Moments().start(shape)
    return lax.fori_loop(jnp.int32(0), -(-num_paths // block), add, start)


def _in_a_row(x: Array, axis: int) -> Array:
    """The times of all points, one point after another; they were this axis of a point."""
    x = jnp.moveaxis(x, 0, axis)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])


def _observed(
    point: Points, which: tuple[Array, Array], run: Run, survey: Survey, block: int
) -> tuple[Array, Array | None, Array]:
    """A block of paths: the observables, their derivatives, and whether they run yet.

    `which`: the first of them, and how many from there on are wanted.
    """
    begin, wanted = which
    kind = eqx.filter(run.limit, eqx.is_array, inverse=True)
    moving, still = eqx.partition(point.limit, eqx.is_inexact_array)

    def values(moving: AbstractLimit) -> tuple[Array, Array]:
        limit = eqx.combine(moving, still, kind)
        here = dataclasses.replace(run, limit=limit, v0=point.v0, key=point.key)
        values, _, running = observe(here, survey, jnp.uint32(0), begin, block, wanted)
        return values, running

    if not point.slopes:
        now, running = values(moving)
        return now, None, running
    directions = jax.tree.map(lambda *each: jnp.stack(each), *point.slopes)

    def along(direction):
        return jax.jvp(values, (moving,), (direction,), has_aux=True)

    # the paths are computed once for all directions
    return jax.vmap(along, out_axes=(None, 0, None))(directions)
