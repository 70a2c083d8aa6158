"""Runs in shapes that others have, too, so that one program serves them all.

A program is compiled for each shape of what it is given, in a second or more. How many
steps, times to save and paths there are is data here, in arrays with room for more.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from .._jit import at_top, jit
from ..activations import expanded
from ..matrices import num_stored
from ._integrate import Paths
from ._run import Run
from ._simulate import paths_at_a_time, paths_in_a_part, simulate

_simulate = jit(simulate)

# Arrays of steps are for so many at least, and then for four times as many.
_STEPS = 2**8
# Paths of a part, and of one whose matrices are small. The last part is filled up, of a
# round number of paths with few. Each is an odd number of cache lines (`paths_at_a_time`).
_PATHS, _LARGE, _ENTRIES = 328, 1000, 2**12
# Those of the only part of fewer: a step of a path may be dear.
_FEW = (1, 8, 40, 168)
# Parts of a call, and numbers that it returns: less than the cache holds.
_PARTS, _RETURNED = 64, 2**21
# Entries of states that are computed for nothing, at most, in less time than a program is
# compiled in.
_WASTED = 2**23


def simulated(run: Run, num_paths: int) -> Paths:
    """All paths of a run, at the times to save.

    What is known of it is simulated in a shape that serves other runs, and comes as NumPy
    arrays; what JAX traces, has no noise, or is for an accelerator, has its own shape.
    """
    if run.by_tolerance or jax.default_backend() != "cpu" or not at_top(run):
        return _simulate(run, num_paths)
    k, num_steps, run = run.save_times.size, run.steps.size - 1, with_room_for_steps(run)
    size = _paths(run, num_paths)
    if -num_paths % size * num_steps * num_stored(run.m) > _WASTED:
        return jax.tree.map(np.asarray, _simulate(run, num_paths))
    run = with_room_for_times(run)
    returned = size * run.save_times.size * run.m**2
    parts = min(_PARTS, 2 ** int(math.log2(max(1, _RETURNED // returned))))
    if num_paths <= size and size in _FEW:  # many may be in parts of as many
        parts = 1
    if run.clocked:  # parts in which nothing is left to do are looked at again and again
        parts = min(parts, _power(-(-num_paths // size)))
    at_once = size * parts
    done = [
        _some(run, first, min(at_once, num_paths - first), at_once, size, k)
        for first in range(0, num_paths, at_once)
    ]
    if len(done) == 1:
        return done[0]
    return jax.tree.map(lambda *some: np.concatenate(some), *done)


def _paths(run: Run, num_paths: int) -> int:
    """Those of a part, as far as this goes: with clocks, few wait for one that lags."""
    large = not run.clocked and _LARGE * num_stored(run.m) <= _ENTRIES
    most = min(_LARGE if large else _PATHS, paths_in_a_part(run))
    return min((few for few in _FEW if num_paths <= few < most), default=most)


def block_of(run: Run, num_paths: int) -> int:
    """Paths of such a run that are simulated and reduced together: parts, so that any
    number of paths has one of a few sizes.
    """
    size = _paths(run, num_paths)
    return size if size in _FEW else size * max(1, paths_at_a_time(run.m) // size)


def part_of(run: Run, block: int) -> int | None:
    """Paths of a part of a block, of which those are left out that begin beyond what is
    wanted; None if it has no such parts, as on an accelerator.
    """
    size = _paths(run, block)
    return size if jax.default_backend() == "cpu" and block % size == 0 else None


def _some(run: Run, first: int, wanted: int, at_once: int, size: int, k: int) -> Paths:
    """So many paths from the first on, at the last k times."""
    if run.v0.ndim == 3:
        v0 = np.asarray(run.v0)[first : first + wanted]
        v0 = np.concatenate([v0, np.repeat(v0[-1:], at_once - wanted, axis=0)])
        run = dataclasses.replace(run, v0=v0)
    start: Any = np.uint32(first)
    end: Any = np.int32(wanted)
    some = _simulate(run, at_once, start, size, end)

    def told(x):
        x = np.asarray(x)[:wanted]
        return x[:, -k:] if x.ndim > 1 else x

    return jax.tree.map(told, some)


def with_room_for_steps(run: Run) -> Run:
    """The same, with room for more steps, whose number is data; activations are numbers."""
    steps = np.asarray(run.steps)
    number, room = steps.size - 1, _STEPS
    while room < number:
        room *= 4
    return dataclasses.replace(
        run,
        limit=expanded(run.limit),
        steps=np.concatenate([steps, np.full(room - number, steps[-1])]),
        num_steps=np.asarray(number, np.int32),
    )


def with_room(run: Run, values: int) -> tuple[Run, slice]:
    """The same, with room for more steps, and for more times if so many values at each of
    them are little; and where among its times are those that were asked for.
    """
    times = run.save_times.size
    run, asked = with_room_for_steps(run), run.num_saved
    if not run.by_tolerance and (_power(times) - times) * values <= _WASTED:
        run = with_room_for_times(run)
    first = run.save_times.size - times
    return run, slice(first, first + asked)


def with_room_for_times(run: Run) -> Run:
    """The same, with room for more times to save, a power of 2: the first are no times."""
    times = np.asarray(run.save_times)
    room = _power(times.size)
    none = np.full(room - times.size, -1, times.dtype)
    times = np.concatenate([none, times])
    return dataclasses.replace(run, save_times=times, num_saved=room)


def _power(number: int) -> int:
    """The next power of 2."""
    return 1 << (number - 1).bit_length()
