"""The loop over chunks: launch, merge in order, report, write."""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._devices import shared
from .._progress import reporting
from ..solve import Run
from ._checkpoint import Checkpoint
from ._chunks import Range, chunks_of
from ._fingerprint import Recipe
from ._program import tally_of
from ._survey import Survey, Tally, tally_on_host
from ._writer import AbstractWriter


def accumulate(
    run: Run,
    survey: Survey,
    paths: Range,
    recipe: Recipe,
    *,
    chunk_size: int,
    block: int,
    devices: list[Any],
    checkpoint: Checkpoint | None,
    checkpoint_every: float,
    writer: AbstractWriter | None,
    progress,
    asked: slice,
) -> Tally:
    """The tally of a range of paths, from where a checkpoint left off.

    Chunks are merged one by one in their order, however many run at once, so that a run
    that was interrupted ends with the same bits. The run has room for more times than were
    `asked` for.
    """
    kept = None if checkpoint is None else checkpoint.read()
    # the next path and the tally before it, always exchanged together
    state: tuple[int, Tally | None] = kept or (paths.first, None)
    todo = Range(state[0], paths.last)
    if writer is not None:
        times, dtype = np.asarray(run.ts[asked]), run.v0.dtype
        writer.begin(recipe, survey.names, times, dtype, resumed=kept is not None)
    at_these = survey.at(asked, run.num_saved)
    room = 0 if writer is None else -(-chunk_size // block) * block
    written, last_written = state[0], time.perf_counter()

    def keep() -> None:
        """The values first, for the checkpoint says that they are on the disk."""
        nonlocal written, last_written
        if writer is not None:
            writer.flush()
        if checkpoint is not None and state[1] is not None:
            checkpoint.write(state[0], state[1])
        written, last_written = state[0], time.perf_counter()

    with ExitStack() as stack:
        if writer is not None:
            stack.callback(writer.close)
        done = state[0] - paths.first
        report = stack.enter_context(reporting(progress, done, paths.size))
        try:
            for chunk, part, values in _results(
                run, survey, todo, chunk_size, block, room, devices
            ):
                if writer is not None and values is not None:
                    writer.write(chunk, values[0][:, asked], values[1])
                part = at_these(tally_on_host(part))
                merged = part if state[1] is None else survey.merge(state[1], part)
                state = chunk.last, merged
                due = time.perf_counter() - last_written >= checkpoint_every
                if checkpoint is not None and due:
                    keep()
                report(state[0] - paths.first)
        finally:
            # an error or Ctrl-C loses nothing that was merged
            if state[0] > written:
                keep()
    assert state[1] is not None  # there is a path at least
    return state[1]


def _results(
    run: Run,
    survey: Survey,
    todo: Range,
    chunk_size: int,
    block: int,
    room: int,
    devices: list[Any],
) -> Iterator[tuple[Range, Tally, tuple | None]]:
    """Chunk after chunk: its paths, their tally, their values; one a device at a time."""
    if devices[0].platform == "cpu":  # where one program runs as often at once
        devices = [devices[0]] * len(devices)
    arrays, static = eqx.partition((run, survey), eqx.is_array)
    placed = {x: eqx.combine(jax.device_put(arrays, x), static) for x in set(devices)}

    def call(share: tuple[Range, Any]):
        chunk, device = share
        run, survey = placed[device]
        first = jax.device_put(np.uint32(chunk.first), device)
        count = jax.device_put(np.int32(chunk.size), device)
        return tally_of(run, survey, first, count, block, room)

    shares = zip(chunks_of(todo, chunk_size), itertools.cycle(devices), strict=False)
    for chunk, (tally, kept) in zip(
        chunks_of(todo, chunk_size), shared(call, shares, len(devices)), strict=True
    ):
        if kept is not None:
            kept = kept[0][..., : chunk.size], kept[1][: chunk.size]
        yield chunk, tally, kept
