"""A run, simulated for any range of paths."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ..matrices import num_stored
from ._grid import where_wanted
from ._integrate import Paths, on_clocks, on_grid
from ._ode import without_noise
from ._run import Run

# Entries of a matrix of all paths that are simulated together: on a processor they stay in
# its cache, on an accelerator they keep all of it busy.
_ENTRIES_IN_CACHE, _ENTRIES_ON_ACCELERATOR, _LEAST_AT_A_TIME = 2**14, 2**24, 64
_LINE = 8  # numbers of a cache line
# Entries of all states that are kept for a derivative in reverse mode, 128 MB in float64.
# Of more paths and steps, each part is simulated once more, and only its states are kept.
_ENTRIES_KEPT = 2**24


def paths_at_a_time(m: int) -> int:
    """As many paths as are simulated together."""
    cached = jax.default_backend() == "cpu"
    entries = _ENTRIES_IN_CACHE if cached else _ENTRIES_ON_ACCELERATOR
    return _spread(max(_LEAST_AT_A_TIME, entries // num_stored(m)))


def _spread(count: int) -> int:
    """As many paths or a few more, an odd number of cache lines.

    Where paths come last, the entries of a matrix are so many numbers apart: of a power of
    two they would share a few places of the cache, and push each other out.
    """
    return _LINE * (-(-count // _LINE) | 1) if count > _LEAST_AT_A_TIME else count


def paths_in_a_part(run: Run) -> int:
    """As many paths of this run as are simulated together."""
    most = paths_at_a_time(run.m)
    # where few lag behind, others wait for them
    return _spread(max(2 * _LEAST_AT_A_TIME, most // 4)) if run.clocked else most


def even_part(run: Run, num_paths: int) -> int:
    """The paths of a part, where all have nearly as many."""
    count = -(-num_paths // paths_in_a_part(run))
    return _spread(-(-num_paths // count))


def simulate(
    run: Run,
    num_paths: int,
    first_path: Int[Array, ""] | int = 0,
    size: int | None = None,
    wanted: Int[Array, ""] | None = None,
) -> Paths:
    """Paths from a global index on. To be compiled.

    They are simulated in parts of this `size`; None picks one. Of those that begin beyond
    what is `wanted`, a number that may be known only as the program runs, nothing is known.
    A `v0` for each path is that of these paths.
    """
    if run.by_tolerance:
        return _without_noise(run, num_paths)
    if size is None:
        size = even_part(run, num_paths)
    count = -(-num_paths // size)
    paths = jnp.asarray(first_path, jnp.uint32)
    paths = paths + jnp.arange(count * size, dtype=jnp.uint32)
    if run.v0.ndim == 3:  # the last part is filled up with the last start
        fill = count * size - num_paths
        last = jnp.broadcast_to(run.v0[-1:], (fill, *run.v0.shape[1:]))
        run = dataclasses.replace(run, v0=jnp.concatenate([run.v0, last]))
    done = (
        on_clocks(run, run.motion(paths), size, wanted)
        if run.clocked
        else _in_parts(run, paths, size, wanted)
    )
    return jax.tree.map(lambda x: x[:num_paths], done)


def _without_noise(run: Run, num_paths: int) -> Paths:
    """Of an ordinary equation: one path for each start."""
    vs, stopped_at = without_noise(run.limit, run.v0, run.save_times, run.level)
    vs = jnp.broadcast_to(vs, (num_paths, *vs.shape[1:]))
    return Paths(vs, jnp.broadcast_to(stopped_at, num_paths), {})


def _in_parts(run: Run, paths: Array, size: int, wanted: Array | None) -> Paths:
    """On the grid, part after part."""

    def part(which):
        paths, v0 = which
        return on_grid(dataclasses.replace(run, v0=v0), run.motion(paths))

    if wanted is not None:
        part = where_wanted(lambda which: which[0][0] - paths[0] < wanted, part)
    elif paths.size * num_stored(run.m) * run.steps.size > _ENTRIES_KEPT:
        part = jax.checkpoint(part, prevent_cse=False)
    parts, v0 = paths.reshape(-1, size), run.v0
    if v0.ndim == 3:
        done = lax.map(part, (parts, v0.reshape(-1, size, *v0.shape[1:])))
    else:
        done = lax.map(lambda paths: part((paths, v0)), parts)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), done)
