"""Threads: as many as there are processors, and one for LAPACK while a program runs."""

import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_within = 0  # how many are in the context
_before = 0  # how many threads there were before the first of them


@contextmanager
def one_lapack_thread() -> Iterator[None]:
    """A context in which LAPACK has one thread, if it is OpenBLAS.

    For matrices as small as ours its threads wait for each other, and where other processes
    have the cores for minutes. Their number is the process's: of several callers who comes
    first sets it, and who leaves last sets it back.
    """
    global _within, _before
    get, put = thread_count()
    with _lock:
        if _within == 0:
            _before = get()
            put(1)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                put(_before)


@functools.cache
def thread_count() -> tuple[Callable[[], int], Callable[[int], object]]:
    """What reads the number of LAPACK's threads, and what sets it."""
    # from there JAX has its LAPACK; it takes long to be imported
    scipys = importlib.import_module("scipy.linalg.cython_lapack")
    library = ctypes.CDLL(scipys.__file__)
    for name in ("scipy_openblas", "openblas"):  # as in SciPy's wheels, and elsewhere
        if hasattr(library, f"{name}_set_num_threads"):
            get = getattr(library, f"{name}_get_num_threads")
            return get, getattr(library, f"{name}_set_num_threads")
    return lambda: 1, lambda number: None


def processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
