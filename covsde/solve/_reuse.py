"""Runs in shapes that others have, too, so that one program serves them all.

A program is compiled for each shape of what it is given, in a second or more. How many
steps, times to save and paths there are is data here, in arrays with room for more.
"""

import dataclasses
import itertools
import math
from functools import partial
from typing import Any

import jax
import numpy as np

from .._devices import ENOUGH, devices_for, room_for, shared
from .._jit import at_top, jit
from ..activations import expanded
from ..matrices import num_stored
from ._integrate import Paths
from ._run import Run
from ._simulate import even_part, paths_at_a_time, paths_in_a_part, simulate

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

    What is known of it is simulated in a shape that serves other runs, by all devices of
    the CPU, and comes as NumPy arrays; what JAX traces, has no noise, or is for an
    accelerator, has its own shape.
    """
    if run.by_tolerance or jax.default_backend() != "cpu" or not at_top(run):
        return _simulate(run, num_paths)
    k, num_steps, in_room = (
        run.save_times.size,
        run.steps.size - 1,
        with_room_for_steps(run),
    )
    work = num_paths * num_steps * num_stored(run.m)
    devices = max(1, min(devices_for(run), work // ENOUGH))
    size = _paths(in_room, num_paths)
    if -num_paths % size * num_steps * num_stored(run.m) > _WASTED:
        size = even_part(run, num_paths)
        if devices == 1 or num_paths <= size:
            return jax.tree.map(np.asarray, _simulate(run, num_paths))
        at_once = size * -(-num_paths // (size * devices))
        return _in_calls(run, num_paths, at_once, size, k, devices)
    run = with_room_for_times(in_room)
    returned = size * run.save_times.size * run.m**2
    parts = min(_PARTS, 2 ** int(math.log2(max(1, _RETURNED // returned))))
    if num_paths <= size and size in _FEW:  # many may be in parts of as many
        parts = 1
    if run.clocked:  # parts in which nothing is left to do are looked at again and again
        parts = min(parts, _power(-(-num_paths // (size * devices))))
    return _in_calls(run, num_paths, size * parts, size, k, devices)


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


def _in_calls(
    run: Run, num_paths: int, at_once: int, size: int, k: int, devices: int
) -> Paths:
    """The paths at the last k times, by calls for so many of them or fewer."""
    shares = _shares(num_paths, at_once, size, devices)
    v0 = np.asarray(run.v0) if run.v0.ndim == 3 else None

    def call(paths: range) -> Paths:
        own = run
        if v0 is not None:
            some = v0[paths.start : paths.stop]
            rest = np.repeat(some[-1:], at_once - len(some), axis=0)
            own = dataclasses.replace(run, v0=np.concatenate([some, rest]))
        first: Any = np.uint32(paths.start)
        wanted: Any = np.int32(len(paths))
        return _simulate(own, at_once, first, size, wanted)

    joined = None
    at_a_time = min(devices, len(shares))
    for paths, some in zip(shares, shared(call, shares, at_a_time), strict=True):
        told = jax.tree.map(partial(_told, len(paths), k), some)
        if len(shares) == 1:
            return told
        if joined is None:
            joined = jax.tree.map(
                lambda x: room_for((num_paths, *x.shape[1:]), x.dtype), told
            )
        for all_paths, x in zip(*map(jax.tree.leaves, (joined, told)), strict=True):
            all_paths[paths.start : paths.stop] = x
    assert joined is not None  # there is a path at least
    return joined


def _shares(num_paths: int, at_once: int, size: int, devices: int) -> list[range]:
    """The paths of each call: whole parts, and as many for each device.

    So a part has the same paths, whatever the number of devices.
    """
    parts = -(-num_paths // size)
    calls = -(-parts // (at_once // size))
    calls = -(-calls // devices) * devices
    ends = [min(size * (parts * i // calls), num_paths) for i in range(calls + 1)]
    return [range(*some) for some in itertools.pairwise(ends) if some[0] < some[1]]


def _told(number: int, k: int, x: np.ndarray) -> np.ndarray:
    """Of so many paths, at the last k times if there are any."""
    return x[:number, -k:] if x.ndim > 1 else x[:number]


def with_room_for_steps(run: Run) -> Run:
    """The same, with room for more steps, whose number is data; activations are numbers."""
    steps = np.asarray(run.steps)
    return dataclasses.replace(
        run,
        limit=expanded(run.limit),
        steps=room_for_more(steps, _STEPS),
        num_steps=np.asarray(steps.size - 1, np.int32),
    )


def room_for_more(steps: np.ndarray, least: int) -> Any:
    """The ends of steps, with room for so many or for four times as many again and again.

    Steps that only fill up have no length.
    """
    number, room = steps.size - 1, least
    while room < number:
        room *= 4
    return np.concatenate([steps, np.full(room - number, steps[-1])])


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
