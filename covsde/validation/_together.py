"""Several calls at once, so that one is compiled while another runs."""

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .._devices import knows_settings
from .._threads import processors

_T = TypeVar("_T")
Tell = Callable[..., None]


def together(calls: Sequence[Callable[[Tell], _T]], progress: Tell) -> list[_T]:
    """What each call returns, by as many threads as there are processors.

    Each is given a function to tell what is done; `progress` is called with it, in the
    caller's thread. Where one fails, or the caller is interrupted, the others end at what
    they tell next. Calls are made in turn where other threads do not know JAX's settings.
    """
    told: Any = queue.SimpleQueue()
    over = threading.Event()

    def tell(*said):
        if over.is_set():
            raise CancelledError
        told.put(said)

    with ThreadPoolExecutor(processors()) as pool:
        if not knows_settings(pool):
            return [call(progress) for call in calls]
        running = [pool.submit(contextvars.copy_context().run, x, tell) for x in calls]
        for one in running:
            one.add_done_callback(told.put)
        left = len(calls)
        try:
            while left:
                said = told.get()
                if isinstance(said, Future):
                    said.result()  # which raises what it did
                    left -= 1
                else:
                    progress(*said)
        finally:
            over.set()
            pool.shutdown(cancel_futures=True)
        return [one.result() for one in running]
