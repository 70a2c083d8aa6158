"""Work shared among the devices of a CPU: calls of one program, as many at a time.

A CPU is as many devices as JAX was told before it started; one if nothing was said. All of
them run the program of one, each call on a core of its own: so numbers do not depend on the
devices, and nothing is compiled for them. A program over several, as of `jax.shard_map`, is
compiled by other passes, and rounds otherwise here and there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import jax
import numpy as np

from ._jit import at_top
from ._threads import processors

_T = TypeVar("_T")

# Calls that are under way, for each that runs: who has done one finds the next.
_AHEAD = 2
_ALIGNED = 64  # bytes
# Entries of states that a call computes at least, for another device to be worth one.
ENOUGH = 2**17


def devices_for(used: Any) -> int:
    """How many calls on `used` may run at a time: one for each device of the CPU.

    One where JAX traces, and where the user has chosen a device, by `jax.default_device` or
    by arrays that are committed to theirs.
    """
    devices, config = jax.local_devices(), cast(Any, jax.config)
    if len(devices) == 1 or devices[0].platform != "cpu":
        return 1
    if config.jax_default_device is not None or not at_top(used):
        return 1
    chosen = (isinstance(x, jax.Array) and x.committed for x in jax.tree.leaves(used))
    return 1 if any(chosen) else len(devices)


def host_threads() -> int:
    """Threads for what the host computes: as many as JAX was told to make devices of the
    CPU, if it was told; else one for each core.
    """
    told, devices = cast(Any, jax.config).jax_num_cpu_devices, jax.local_devices()
    if told > 0:
        return told
    shared = len(devices) > 1 and devices[0].platform == "cpu"
    return len(devices) if shared else processors()


def shared(call: Callable[[_T], Any], shares: Iterable[_T], number: int) -> Iterator[Any]:
    """`call(share)` for each, in their order, as NumPy arrays; so many at a time.

    XLA runs programs of one thread in turn, and of several at once. One at a time runs in
    this thread, the next while one is read. A few more are called than were asked for.
    """
    if number == 1:
        yield from map(jax.device_get, _ahead(map(call, shares), _AHEAD))
        return
    with ThreadPoolExecutor(number) as pool:
        if not knows_settings(pool):
            yield from shared(call, shares, 1)
            return
        calls = (pool.submit(lambda x: jax.device_get(call(x)), x) for x in shares)
        try:
            for done in _ahead(calls, _AHEAD * number):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def knows_settings(pool: ThreadPoolExecutor) -> bool:
    """Whether other threads have JAX's settings of this one.

    Of those that hold in the caller's thread alone, as within `with jax.enable_x64(True)`,
    they know nothing.
    """

    def settings() -> dict[str, Any]:
        config: Any = jax.config
        return {name: getattr(config, name, None) for name in config.values}

    return pool.submit(settings).result() == settings()


def _ahead(calls: Iterable[_T], number: int) -> Iterator[_T]:
    """Calls, each once so many are under way."""
    under_way = deque()
    for call in calls:
        under_way.append(call)
        if len(under_way) == number:
            yield under_way.popleft()
    yield from under_way


def room_for(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that JAX takes as it is, where it would copy another: it is aligned."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNED, np.uint8)
    start = -raw.__array_interface__["data"][0] % _ALIGNED
    return raw[start : start + size].view(dtype).reshape(shape)
