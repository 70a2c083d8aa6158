"""What is refused before anything is compiled: observables, statistics, ways to run."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import count, count_paths, found, is_real
from .._trial import try_observable
from ..observables import label
from ..solve import Run
from ..statistics import AbstractStatistic, Extremes, Moments, Quantiles
from ._survey import Survey
from ._writer import ENDINGS

Observable = Callable[[Float[Array, "num_paths *state"]], Float[Array, " num_paths"]]
Observables = Observable | Sequence[Observable] | Mapping[str, Observable]

_MOST_IN_CHUNK = 2**31 - 1


def check_num_paths(num_paths) -> int:
    """As many paths as have normals of their own."""
    way_out = "Pass how many paths to simulate, e.g. 1_000_000."
    return count_paths("num_paths", num_paths, way_out)


def make_survey(observables, statistics, run: Run) -> Survey:
    """The observables, tried on shapes, and the statistics of them."""
    state = run.limit.initial(run.v0).shape[run.v0.ndim - 2 :]
    named = check_observables(observables, state, run.v0.dtype)
    return Survey(tuple(named), tuple(named.values()), _statistics(statistics))


def check_observables(observables, state: tuple[int, ...], dtype) -> dict[str, Callable]:
    """Observables by name, tried on a state's shape: `(m, m)`, or `()` of a number u."""
    of, example = "covariances (num_paths, m, m)", "lambda v: v[:, 0, 1]"
    if not state:
        of, example = "u (num_paths,)", "lambda u: u**2"
    named = _named(observables, of, example)
    for name, f in named.items():
        try_observable("observables", f, state, dtype, name, example)
    return named


def _named(observables, of: str, example: str) -> dict[str, Callable]:
    message = (
        f"`observables` must be a function of {of}, or several, or a dict of such by name; "
        f"got {{}}. For example `dict(mine={example})`."
    )
    if callable(observables):
        return {label(observables): observables}
    if isinstance(observables, Sequence) and not isinstance(observables, str):
        wrong = [f for f in observables if not callable(f)]
        if wrong:
            raise TypeError(message.format(found(wrong[0])))
        names = [label(f) for f in observables]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(message.format(f"two that are called {twice!r}"))
        observables = dict(zip(names, observables, strict=True))
    if not isinstance(observables, Mapping):
        raise TypeError(message.format(found(observables)))
    if not observables:
        raise ValueError(message.format("none"))
    for name, f in observables.items():
        if not isinstance(name, str) or not callable(f):
            raise TypeError(message.format(f"{name!r}: {found(f)}"))
    return dict(observables)


def _statistics(statistics) -> tuple[AbstractStatistic, ...]:
    if statistics is None:
        return Moments(), Extremes(), Quantiles()
    accepted = "a sequence of statistics of different kinds"
    message = f"`statistics` must be {accepted}; got {{}}. None takes a sensible choice."
    if isinstance(statistics, AbstractStatistic):
        statistics = (statistics,)
    if not isinstance(statistics, Sequence) or isinstance(statistics, str):
        raise TypeError(message.format(found(statistics)))
    if not statistics:
        raise ValueError(message.format("none"))
    for one in statistics:
        if not isinstance(one, AbstractStatistic):
            raise TypeError(message.format(found(one)))
    kinds = [type(one).__name__ for one in statistics]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise ValueError(message.format(f"{twice} twice"))
    return tuple(statistics)


def check_chunk_size(chunk_size) -> int | None:
    """Paths of a chunk, or None for a size to be chosen."""
    if chunk_size is None:
        return None
    way_out = "None has it chosen."
    chunk_size = count("chunk_size", chunk_size, way_out)
    if chunk_size > _MOST_IN_CHUNK:
        raise ValueError(
            f"`chunk_size` must be at most 2^31 − 1; got {chunk_size}. {way_out}"
        )
    return chunk_size


def check_devices(devices) -> list[Any]:
    """Devices of this process: all of them, the first so many, or those given."""
    local = jax.local_devices()
    if devices is None:
        return local
    accepted = f"a number from 1 to {len(local)}, or devices of this process"
    message = f"`devices` must be {accepted}; got {{}}. None takes all of them."
    if isinstance(devices, int | np.integer) and not isinstance(devices, bool):
        if not 1 <= devices <= len(local):
            raise ValueError(message.format(found(devices)))
        return local[:devices]
    if not isinstance(devices, Sequence) or isinstance(devices, str):
        raise TypeError(message.format(found(devices)))
    if not all(isinstance(device, jax.Device) for device in devices):
        raise TypeError(message.format(found(devices)))
    here = jax.process_index()
    if not devices or any(device.process_index != here for device in devices):
        raise ValueError(message.format(found(devices)))
    return list(devices)


def check_shard(shard, num_paths: int) -> tuple[int, int]:
    """Which share of how many; `(0, 1)` for the whole."""
    if shard is None:
        return 0, 1
    accepted = "a pair (i, N) with 0 ≤ i < N ≤ num_paths"
    message = f"`shard` must be {accepted}; got {shard!r}. The first of four is (0, 4)."
    pair = isinstance(shard, tuple | list) and len(shard) == 2
    if not pair or not all(
        isinstance(x, int | np.integer) and not isinstance(x, bool) for x in shard
    ):
        raise TypeError(message)
    i, of = int(shard[0]), int(shard[1])
    if not 0 <= i < of <= num_paths:
        raise ValueError(message)
    return i, of


def check_folder(checkpoint) -> Path | None:
    """The folder of a checkpoint."""
    if checkpoint is None:
        return None
    message = (
        "`checkpoint` must be the name of a folder; got {}. It is made if it does not "
        "exist, e.g. 'run'."
    )
    if not isinstance(checkpoint, str | Path):
        raise TypeError(message.format(found(checkpoint)))
    folder = Path(checkpoint)
    if folder.exists() and not folder.is_dir():
        raise ValueError(message.format(f"the file {str(folder)!r}"))
    return folder


def check_seconds(checkpoint_every) -> float:
    """Seconds between two writings."""
    message = (
        f"`checkpoint_every` must be a number of seconds, at least 0; got "
        f"{found(checkpoint_every)}. 0 writes after each chunk."
    )
    if not is_real(checkpoint_every):
        raise TypeError(message)
    if not checkpoint_every >= 0:
        raise ValueError(message)
    return float(checkpoint_every)


def check_save(save) -> Path | None:
    """A file of values, whose ending is known and whose library is installed."""
    if save is None:
        return None
    message = (
        f"`save` must be the name of a file that ends in {' or '.join(ENDINGS)}; got "
        f"{found(save)}. For example 'paths.nc'."
    )
    if not isinstance(save, str | Path):
        raise TypeError(message)
    path = Path(save)
    if path.suffix not in ENDINGS:
        raise ValueError(message)
    needed = {".nc": "h5netcdf", ".zarr": "zarr"}[path.suffix]
    if importlib.util.find_spec(needed) is None:
        raise ImportError(
            f"`save` must be written by {needed} for {path.suffix}, which is not "
            "installed. Install it with `pip install 'covsde[io]'`."
        )
    if jax.process_count() > 1:
        raise ValueError(
            f"`save` must be written by one process; got {jax.process_count()} of them. "
            "Give each a `shard` and a file of its own, without `jax.distributed`."
        )
    return path


def check_samples(samples, num_paths: int) -> int:
    """How many of the first paths to keep."""
    way_out = "0 keeps none."
    samples = count("samples", samples, way_out, least=0)
    if samples > num_paths:
        raise ValueError(
            f"`samples` must be at most `num_paths`, {num_paths}; got {samples}. {way_out}"
        )
    return samples
