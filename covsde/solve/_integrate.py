"""`V` at the times to save, along given Brownian paths on a given grid of steps."""

from functools import partial
from typing import cast

import diffrax
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Scalar

from ..brownian import BrownianGrid
from ..limits import AbstractLimit
from ..matrices import Lower, Symmetric, factorise, gram
from ..solvers import (
    AbstractFactorSolver,
    AbstractStrangSolver,
    Pending,
    ProjectedEuler,
    Stopped,
)
from ..solvers.stopped import mean_variance

# States of a part of the paths that are kept for its derivative in reverse mode.
_STATES_KEPT = 256

# Of what is recomputed within a loop nothing can be common with what was computed.
_recomputed = partial(jax.checkpoint, prevent_cse=False)


def cells_per_step(solver: diffrax.AbstractSolver) -> int:
    """Brownian increments that a solver asks for in one step."""
    return getattr(solver, "cells_per_step", 1)


def brownian(
    limit: AbstractLimit, v0: Array, steps: Float[Array, " steps+1"], cells: int, **which
) -> BrownianGrid:
    """The Brownian motion of a limit's noise on a grid of steps, each of some cells.

    `which` are the paths of it, as `BrownianGrid` takes them.
    """
    return BrownianGrid(
        refine(steps, cells),
        v0.shape[-1],
        dtype=v0.dtype,
        noise_shape=limit.diffusion.noise_shape,
        **which,
    )


def integrate(
    limit: AbstractLimit,
    solver: diffrax.AbstractSolver,
    v0: Float[Array, "m m"] | Float[Array, "num_paths m m"],
    path: BrownianGrid,
    steps: Float[Array, " steps+1"],
    save_times: Float[Array, " k"],
    level: Scalar | None,
    regular: bool,
):
    """`V` at the times to save, `(num_paths, k, m, m)`, where its paths stopped, and what
    a projecting solver counted; along a Brownian path that is given, on any steps of it.

    The last time to save is the end. Without a `level` only explosions stop a path.
    """
    on_factor = isinstance(solver, AbstractFactorSolver)
    start = factorise(v0).as_invertible(regular) if on_factor else Symmetric.from_dense(v0)
    if v0.ndim == 2:
        start = start.repeat(path.num_paths or 1)
    if isinstance(solver, AbstractStrangSolver) and level is None:
        # else the level would be looked at between the flows
        start = solver.begin(cast(Lower, start))
    level = jnp.asarray(jnp.inf, v0.dtype) if level is None else level
    stopped = Stopped(solver, level)
    ys, last = _run(stopped, limit.terms(path), start, steps, save_times)

    @_recomputed
    def finished(now):
        t, y = now
        if not isinstance(y, Pending):
            return covariance(y), jnp.ones(y.batch, bool)
        done = cast(AbstractStrangSolver, solver).finish(limit.drift, t, y, None)
        finite = jnp.isfinite(mean_variance(done))
        return covariance(done.where(finite, y.factor)), finite

    # what is made of a state is made afterwards, and not in every step
    vs, finite = lax.map(finished, (save_times, ys))
    # a path may explode in the very last flow
    ended = jnp.minimum(last.stopped_at, steps[-1])
    stopped_at = jnp.where(finite[-1], last.stopped_at, ended)
    projections = last.inner if isinstance(solver, ProjectedEuler) else None
    return jnp.moveaxis(vs, 0, 1), stopped_at, projections


def _run(
    solver: Stopped,
    terms: diffrax.AbstractTerm,
    start: Lower | Symmetric,
    steps: Float[Array, " steps+1"],
    save_times: Float[Array, " k"],
):
    """The states at the times to save, and the solver's at the end.

    Diffrax's solvers are stepped by hand, because its loops are differentiated in reverse
    or in forward mode, and this one in both. Backwards a step is computed again from its
    state, and the states of a block of steps from that before it.
    """
    count = -(-(steps.size - 1) // _STATES_KEPT)
    size = -(-(steps.size - 1) // count)
    padding = count * size - (steps.size - 1)

    @_recomputed
    def advance(state, t0, t1):
        y, inner = state
        y, _, _, inner, _ = solver.step(terms, t0, t1, y, None, inner, False)
        return y, inner

    # a branch would hand on all that it uses, constants too, to be kept for each step
    @_recomputed
    def move(state, t0, t1):
        # where no step is padding, too: XLA on CPU runs a branch faster than a bare body
        return lax.cond(t1 > t0, advance, lambda same, *_: same, state, t0, t1)

    def save(saved, y, place):
        return jax.tree.map(
            lambda ys, y: lax.dynamic_update_index_in_dim(ys, y, place, 0), saved, y
        )

    def step(carry, now):
        state, saved = carry
        t0, t1, place, saves = now
        state = move(state, t0, t1)
        saved = lax.cond(saves, save, lambda saved, *_: saved, saved, state[0], place)
        return (state, saved), None

    def block(carry, now):
        return lax.scan(step, carry, now)

    ends = jnp.pad(steps[1:], (0, padding), mode="edge")
    starts = jnp.append(steps[0], ends[:-1])
    place = jnp.searchsorted(save_times, ends)
    saves = place != jnp.append(place[1:], -1)  # the last step to each time
    now = starts, ends, place, saves
    state = start, solver.init(terms, steps[0], steps[-1], start, None)
    saved = jax.tree.map(lambda y: jnp.repeat(y[None], save_times.size, axis=0), start)
    if count == 1:
        ((_, inner), saved), _ = block((state, saved), now)
    else:
        blocks = jax.tree.map(lambda x: x.reshape(count, size), now)
        ((_, inner), saved), _ = lax.scan(_recomputed(block), (state, saved), blocks)
    return saved, inner


def covariance(y: Lower | Symmetric) -> Array:
    """Dense `V`, `(num_paths, m, m)`, of a solver's state."""
    return (gram(y) if isinstance(y, Lower) else y).to_dense()


def refine(steps: Array, cells_per_step: int) -> Array:
    """The Brownian grid of a solver that asks for several increments a step."""
    if cells_per_step == 1:
        return steps
    fractions = jnp.arange(cells_per_step, dtype=steps.dtype) / cells_per_step
    inner = steps[:-1, None] + (steps[1:] - steps[:-1])[:, None] * fractions[None]
    return jnp.append(inner.ravel(), steps[-1])
