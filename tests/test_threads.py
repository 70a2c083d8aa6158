"""LAPACK has one thread while a program runs, and its own number afterwards."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covsde._jit import jit
from covsde._threads import one_lapack_thread, thread_count

now, put = thread_count()


@pytest.fixture(autouse=True)
def two_threads():
    """More than one, as a user would have."""
    before = now()
    put(2)
    if now() != 2:
        pytest.skip("this LAPACK is not OpenBLAS, or has one thread alone")
    yield
    put(before)


@jit
def seen(matrices):
    """The number of threads when the program runs."""
    one = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.pure_callback(lambda _: np.int32(now()), one, matrices)


def test_a_program_that_asks_lapack_has_one_thread():
    assert seen(jnp.zeros((3, 9, 9))) == 1
    assert now() == 2
    assert seen(jnp.zeros((3, 8, 8))) == 2  # which asks none


def test_threads_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), one_lapack_thread():
        assert now() == 1
        1 / 0  # noqa: B018
    assert now() == 2


@jit
def factorised(matrices):
    """So many that LAPACK has them shared among threads."""
    return jax.lax.fori_loop(0, 50, lambda _, x: 0.5 * x + jnp.linalg.cholesky(x), matrices)


def test_programs_that_ask_lapack_run_in_turn():
    """Each held a thread of XLA's and waited for another, for ever."""
    matrices, ends = np.eye(32) + np.zeros((300, 32, 32)), []

    def call():
        for _ in range(8):
            factorised(matrices)
        ends.append(True)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == 4 and now() == 2
