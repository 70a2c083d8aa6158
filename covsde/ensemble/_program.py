"""The compiled program: a chunk of paths, simulated and reduced to a tally."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._jit import jit
from ..solve import Run, part_of, simulate
from ._survey import Survey


@jit
def tally_of(run: Run, survey: Survey, first, count, block: int, room: int):
    """Block after block, as many as `count` paths take; a block stays in cache.

    **Returns:** a `Tally`; and all values and stopping times where there is `room` for a
    chunk of them.
    """
    p, k = len(survey.names), run.num_saved
    tally, kept, zero = survey.start(k), None, jnp.int32(0)
    if room:
        dtype = run.v0.dtype
        kept = jnp.zeros((p, k, room), dtype), jnp.zeros(room, dtype)

    def add(i, carry):
        tally, kept = carry
        begin = i * block
        wanted = count - begin
        values, stopped_at, running = observe(run, survey, first, begin, block, wanted)
        if kept is not None:
            kept = (
                lax.dynamic_update_slice(kept[0], values, (zero, zero, begin)),
                lax.dynamic_update_slice(kept[1], stopped_at, (begin,)),
            )
        real = jnp.arange(block, dtype=jnp.int32) < wanted
        return survey.update(tally, values, real, running), kept

    blocks = -(-count // block)
    return lax.fori_loop(zero, blocks, add, (tally, kept))


def observe(run: Run, survey: Survey, first: Array, begin, block: int, wanted=None):
    """A block of paths: the observables, when they were stopped, whether they run yet.

    Of parts of it beyond what is `wanted` nothing is known.
    """
    begin = first + jnp.asarray(begin).astype(jnp.uint32)
    if run.v0.ndim == 3:
        index = begin + jnp.arange(block, dtype=jnp.uint32)
        own = run.v0[jnp.minimum(index, np.uint32(run.v0.shape[0] - 1))]
        run = eqx.tree_at(lambda run: run.v0, run, own)
    paths = simulate(run, block, begin, part_of(run, block), wanted)
    values = survey.values(paths.vs[:, : run.num_saved])
    return values, paths.stopped_at, paths.stopped_at[None] > run.ts[:, None]
