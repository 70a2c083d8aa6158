"""The compiled program: one chunk of paths a device, simulated and reduced to a tally."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from .._jit import jit
from ..solve import Run, part_of, simulate
from ._chunks import Range
from ._survey import Survey, Tally

_AXIS = "devices"


def mesh_of(devices: list[Any]) -> Mesh:
    """A row of devices."""
    return jax.make_mesh(
        (len(devices),), (_AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def on_each(tree, mesh: Mesh):
    """A copy of all arrays on each device, so that no call moves them again."""
    arrays, static = eqx.partition(tree, eqx.is_array)
    arrays = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))
    return eqx.combine(arrays, static)


def launch(
    run: Run,
    survey: Survey,
    chunks: list[Range],
    block: int,
    room: int,
    mesh: Mesh,
):
    """Starts a chunk on each device, and returns at once; devices left over do nothing.

    **Returns:** a `Tally`; and all values and stopping times where there is `room` for a
    chunk of them; with a first axis of devices.
    """
    idle = mesh.size - len(chunks)
    apart = NamedSharding(mesh, PartitionSpec(_AXIS))
    firsts = np.array([c.first for c in chunks] + [0] * idle, np.uint32)
    counts = np.array([c.size for c in chunks] + [0] * idle, np.int32)
    firsts, counts = jax.device_put((firsts, counts), apart)
    return _launch(run, survey, firsts, counts, block, room, mesh)


@jit
def _launch(run, survey, firsts, counts, block, room, mesh):
    arrays, static = eqx.partition((run, survey), eqx.is_array)

    def chunk(arrays, first, count):
        run, survey = eqx.combine(arrays, static)
        done = _chunk(run, survey, first[0], count[0], block, room)
        return jax.tree.map(lambda x: x[None], done)

    spec = PartitionSpec(_AXIS)
    return jax.shard_map(
        chunk,
        mesh=mesh,
        in_specs=(PartitionSpec(), spec, spec),
        out_specs=spec,
        check_vma=False,
    )(arrays, firsts, counts)


def _chunk(run: Run, survey: Survey, first, count, block: int, room: int):
    """Block after block, as many as `count` paths take; a block stays in cache."""
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


def fetch(launched, chunks: list[Range]) -> list[tuple[Range, Tally, tuple | None]]:
    """The chunks and what each came to, once it is done, as NumPy arrays."""
    tallies, kept = jax.device_get(launched)
    out = []
    for i, chunk in enumerate(chunks):
        tally = jax.tree.map(lambda x, i=i: x[i], tallies)
        values = None
        if kept is not None:
            values = kept[0][i][..., : chunk.size], kept[1][i][: chunk.size]
        out.append((chunk, tally, values))
    return out
