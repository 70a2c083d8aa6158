"""One call from a limit to statistics of any number of its paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from .._checks import is_concrete
from .._jit import jit
from .._normals import Normals
from ..limits import AbstractLimit
from ..solve import (
    Run,
    block_of,
    paths_at_a_time,
    plan,
    simulate,
    with_room,
    with_room_for_steps,
)
from ..statistics import AbstractStatistic
from ._accumulate import accumulate
from ._checkpoint import Checkpoint
from ._checks import (
    Observables,
    check_chunk_size,
    check_devices,
    check_folder,
    check_num_paths,
    check_samples,
    check_save,
    check_seconds,
    check_shard,
    make_survey,
)
from ._chunks import Range, block_size, default_chunk_size, share
from ._fingerprint import recipe
from ._processes import merge_processes
from ._result import Ensemble
from ._samples import Samples
from ._writer import writer


def ensemble(
    limit: AbstractLimit,
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "num_paths m m"],
    t1: float,
    *,
    key: PRNGKeyArray,
    num_paths: int,
    observables: Observables,
    statistics: Sequence[AbstractStatistic] | None = None,
    saveat: Float[ArrayLike, " k"] | None = None,
    dt0: float | None = None,
    solver: diffrax.AbstractSolver | None = None,
    stop_above: float | None = None,
    normals: Normals = "box-muller",
    samples: int = 0,
    save: str | Path | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 30.0,
    shard: tuple[int, int] | None = None,
    chunk_size: int | None = None,
    devices: int | Sequence[Any] | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> Ensemble:
    """Statistics of observables of any number of paths, in memory that does not grow.

    Paths are simulated chunk by chunk, and each chunk is reduced to statistics where it
    was simulated. Path i is that of [`covsde.solve`][] with the same key, whatever the
    chunks and devices: counts, quantiles, histograms and extremes do not depend on these,
    and moments do so by rounding alone.

    **Arguments:**

    - `limit`, `v0`, `t1`, `key`, `saveat`, `dt0`, `solver`, `stop_above`, `normals`: as for
      [`covsde.solve`][].
    - `num_paths`: at most 2^32.
    - `observables`: JAX functions of covariances `(num_paths, m, m)`: one, several, which
      are called by their labels, or a dict of them by name; e.g. `limit.observables(m)`, or
      `{"rho": covsde.observables.Correlation(0, 1)}`. Of an [`covsde.UnshapedMLP`][] they
      are functions of u, `(num_paths,)`.
    - `statistics`: of [`covsde.statistics`][]; None takes moments, extremes and quantiles.
    - `samples`: keeps the covariances of so many of the first paths.
    - `save`: a file, `.nc` or `.zarr`, for the observables of every path, written as they
      come.
    - `checkpoint`: a folder in which the run is kept while it goes on. An interrupted run
      that is called again goes on from there, and ends with the same bits.
    - `checkpoint_every`: seconds between two writings to it, 0 for each chunk.
    - `shard`: `(i, N)` runs the i-th of N shares of the paths, from 0; [`covsde.merge`][]
      joins them.
    - `chunk_size`: paths of a chunk; None picks about a fifth of a second's.
    - `devices`: how many, or which, of this process's; None takes all.
    - `progress`: shows how far it is; a function is called with the paths done and all.

    With several processes of `jax.distributed`, each runs its share, and all return the
    whole.

    **Returns:** an [`covsde.Ensemble`][].

    **Raises:** as `solve` does, before anything is compiled; and `ValueError` for a
    checkpoint of another run.
    """
    num_paths = check_num_paths(num_paths)
    run, dt0 = plan(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_paths,
        dt0=dt0,
        solver=solver,
        saveat=saveat,
        stop_above=stop_above,
        normals=normals,
    )
    if not is_concrete(run):
        raise TypeError(
            "`limit`, `v0` and `key` must be known for `ensemble`, which runs chunk after "
            "chunk; got values traced by JAX. Call it outside `jit`, `grad` and `vmap`."
        )
    survey = make_survey(observables, statistics, run)
    samples = check_samples(samples, num_paths)
    chunk_size = check_chunk_size(chunk_size)
    devices = check_devices(devices)
    i, of = check_shard(shard, num_paths)
    folder, save = check_folder(checkpoint), check_save(save)
    checkpoint_every = check_seconds(checkpoint_every)

    asked, processes = share(num_paths, i, of), jax.process_count()
    part = i * processes + jax.process_index(), of * processes
    paths = share(num_paths, *part)
    if jax.default_backend() == "cpu":
        block = block_of(run, paths.size)
    else:
        block = block_size(paths.size, paths_at_a_time(run.m))
    if chunk_size is None:
        size = run.num_saved * run.m**2 * run.v0.dtype.itemsize
        chunk_size = default_chunk_size(paths.size, size, block)
    made = recipe(run, survey, num_paths, dt0, whole=of == 1 and folder is None)

    in_room, of_these = with_room(run, paths.size * len(survey.names))
    tally = accumulate(
        in_room,
        survey,
        paths,
        made,
        chunk_size=chunk_size,
        block=min(block, chunk_size),
        devices=devices,
        checkpoint=None
        if folder is None
        else Checkpoint(folder, *part, made | {"chunk_size": str(chunk_size)}),
        checkpoint_every=checkpoint_every,
        writer=None if save is None else writer(save, paths, chunk_size),
        progress=progress,
        asked=of_these,
    )
    return Ensemble(
        ts=np.asarray(run.ts),
        names=survey.names,
        statistics=survey.statistics,
        tally=merge_processes(survey, tally),
        paths=(asked.first, asked.last),
        samples=_samples(run, Range(asked.first, min(asked.last, samples))),
        recipe=made,
    )


_simulate = jit(simulate)


def _samples(run: Run, paths: Range) -> Samples | None:
    """These paths, whole."""
    if paths.size <= 0:
        return None
    if run.v0.ndim == 3:
        own = run.v0[paths.first : paths.last]
        run = eqx.tree_at(lambda run: run.v0, run, own)
    some = _simulate(with_room_for_steps(run), paths.size, jnp.uint32(paths.first))
    return Samples(np.asarray(some.vs[:, : run.num_saved]), np.asarray(some.stopped_at))
