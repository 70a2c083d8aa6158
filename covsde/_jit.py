"""How the programs that run many paths are compiled."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp

from ._checks import is_concrete
from ._threads import one_lapack_thread
from .matrices import asks_lapack

_P = ParamSpec("_P")
_T = TypeVar("_T")

# - XLA on CPU hands shares of a longer kernel to other threads, which between two kernels
#   wait busily: twice the CPU time, and on two cores no less time.
# - LLVM takes vectors of half the processor's width where it could take the whole.
CPU_OPTIONS = {
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_cpu_prefer_vector_width": 512,
}


def at_top(x: Any) -> bool:
    """Whether `x` is known, and what is computed of it will be."""
    # what is made of constants is traced where everything is
    return is_concrete((x, jnp.zeros(())))


def jit(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """`equinox.filter_jit`, of which each program runs on one thread of a CPU.

    Several cores are for several devices, each with its own share of the paths. Within
    another compiled or differentiated function the options are those of that one.
    """
    within: Any = eqx.filter_jit(fn)
    alone = cast(Any, eqx.filter_jit)(fn, compiler_options=CPU_OPTIONS)

    @functools.wraps(fn)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        on_cpu = jax.default_backend() == "cpu"
        if not (on_cpu and at_top((args, kwargs))):
            return within(*args, **kwargs)
        if not _any_asks_lapack((args, kwargs)):
            return alone(*args, **kwargs)
        with one_lapack_thread():
            return jax.block_until_ready(alone(*args, **kwargs))

    return call


def _any_asks_lapack(args: Any) -> bool:
    """Whether there are matrices that LAPACK factorises."""
    shapes = (x.shape[-2:] for x in jax.tree.leaves(args) if eqx.is_array(x))
    return any(len(s) == 2 and s[0] == s[1] and asks_lapack(s[0]) for s in shapes)
