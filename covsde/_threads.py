"""Threads: as many as there are processors, and one for LAPACK while a program runs."""

import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_in_turn = threading.RLock()


@contextmanager
def one_lapack_thread() -> Iterator[None]:
    """A context in which LAPACK has one thread, if it is OpenBLAS. One caller at a time.

    For matrices as small as ours its threads wait for each other, and where other processes
    have the cores for minutes. Their number is the process's, and is set back.

    Callers wait for their turn, for JAX's LAPACK shares a large batch among XLA's threads
    and waits for these: for ever, where each of them runs a program that waits.
    """
    get, put = thread_count()
    with _in_turn:
        before = get()
        put(1)
        try:
            yield
        finally:
            put(before)


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
