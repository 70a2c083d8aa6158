"""The loop over chunks: launch, merge in order, report, write."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
from jax.sharding import Mesh

from .._progress import reporting
from ..solve import Run
from ._checkpoint import Checkpoint
from ._chunks import Range, rounds
from ._fingerprint import Recipe
from ._program import fetch, launch, on_each
from ._survey import Survey, Tally, tally_on_host
from ._writer import AbstractWriter

# How many rounds of chunks are under way: the next one runs while one is merged.
_AHEAD = 2


def accumulate(
    run: Run,
    survey: Survey,
    paths: Range,
    recipe: Recipe,
    *,
    chunk_size: int,
    block: int,
    mesh: Mesh,
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
            for parts in _results(run, survey, todo, chunk_size, block, room, mesh):
                for chunk, part, values in parts:
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
    mesh: Mesh,
) -> Iterator[list[tuple]]:
    """Round after round, a chunk of each device: which paths, their tally, their values."""
    run, survey = on_each((run, survey), mesh)
    under_way = deque()
    for chunks in rounds(todo, chunk_size, mesh.size):
        under_way.append((launch(run, survey, chunks, block, room, mesh), chunks))
        if len(under_way) == _AHEAD:
            yield fetch(*under_way.popleft())
    while under_way:
        yield fetch(*under_way.popleft())
