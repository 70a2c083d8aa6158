"""The loop over chunks: launch, merge in order, report, write."""

import time
from collections import deque
from contextlib import ExitStack

import numpy as np
from jax.sharding import Mesh

from ..solve import Run
from ._checkpoint import Checkpoint
from ._chunks import Range, rounds
from ._fingerprint import Recipe
from ._program import fetch, launch, on_each
from ._progress import reporting
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
) -> Tally:
    """The tally of a range of paths, from where a checkpoint left off.

    Chunks are merged one by one in their order, however many run at once, so that a run
    that was interrupted ends with the same bits.
    """
    done = None if checkpoint is None else checkpoint.read()
    begin, tally = done or (paths.first, None)
    if writer is not None:
        writer.begin(
            recipe, survey.names, np.asarray(run.ts), run.v0.dtype, resumed=done is not None
        )
    room = 0 if writer is None else -(-chunk_size // block) * block
    run, survey = on_each((run, survey), mesh)
    written, last_written = begin, time.perf_counter()
    under_way = deque()

    with ExitStack() as stack:
        if writer is not None:
            stack.callback(writer.close)
        report = stack.enter_context(reporting(progress, begin - paths.first, paths.size))
        try:
            todo = rounds(Range(begin, paths.last), chunk_size, mesh.size)
            while True:
                while len(under_way) < _AHEAD and (chunks := next(todo, None)):
                    started = launch(run, survey, chunks, block, room, mesh)
                    under_way.append((started, chunks))
                if not under_way:
                    break
                started, chunks = under_way.popleft()
                parts = fetch(started, chunks)
                for chunk, (part, values) in zip(chunks, parts, strict=True):
                    if writer is not None and values is not None:
                        writer.write(chunk, *values)
                    part = tally_on_host(part)
                    tally = part if tally is None else survey.merge(tally, part)
                    begin = chunk.last
                due = time.perf_counter() - last_written >= checkpoint_every
                if checkpoint is not None and tally is not None and due:
                    checkpoint.write(begin, tally)
                    written, last_written = begin, time.perf_counter()
                report(begin - paths.first)
        finally:
            # an error or Ctrl-C loses nothing that was merged
            if checkpoint is not None and tally is not None and begin > written:
                checkpoint.write(begin, tally)
    assert tally is not None  # there is a path at least
    return tally
