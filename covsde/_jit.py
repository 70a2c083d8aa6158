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
    return is_concrete(x) and is_concrete(-_known_number())


@functools.cache
def _known_number() -> jax.Array:
    with jax.ensure_compile_time_eval():
        return jnp.zeros(())


def jit(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function compiled for the shapes of arrays, and the values of all else.

    On a CPU each of its programs runs on one thread: several cores are for several devices,
    each with its own share of the paths. Within another compiled or differentiated function
    it is `equinox.filter_jit`, with the options of that one. It returns arrays alone.
    """
    within: Any = eqx.filter_jit(fn)

    def program(static: tuple[Any, tuple], arrays: list[Any]) -> _T:
        tree, others = static
        leaves = [x if a is None else a for x, a in zip(others, arrays, strict=True)]
        args, kwargs = jax.tree.unflatten(tree, leaves)
        return cast(Any, fn)(*args, **kwargs)

    program.__name__ = fn.__name__
    # what `equinox.filter_jit` adds takes longer than to run a few paths
    alone: Any = jax.jit(program, static_argnums=0, compiler_options=CPU_OPTIONS)

    @functools.wraps(fn)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        leaves, tree = jax.tree.flatten((args, kwargs))
        if not (jax.default_backend() == "cpu" and at_top(leaves)):
            return within(*args, **kwargs)
        arrays = [x if eqx.is_array(x) else None for x in leaves]
        others = tuple(None if eqx.is_array(x) else x for x in leaves)
        if not _any_asks_lapack(arrays):
            return alone((tree, others), arrays)
        with one_lapack_thread():
            return jax.block_until_ready(alone((tree, others), arrays))

    return call


def _any_asks_lapack(arrays: list[Any]) -> bool:
    """Whether there are matrices that LAPACK factorises."""
    shapes = (x.shape[-2:] for x in arrays if x is not None)
    return any(len(s) == 2 and s[0] == s[1] and asks_lapack(s[0]) for s in shapes)
