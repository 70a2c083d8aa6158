"""Computations that XLA is to keep apart from their surroundings."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import equinox as eqx
import equinox.internal as eqxi
import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array

_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """A decorator: the function is compiled by itself, and what it returns is kept.

    - XLA on CPU computes a cheap expression anew in everything that it is fused into, which
      makes chains of unrolled products quadratic, to run and to compile. It does not fuse
      across a call, and kernels of equal calls are compiled once.
    - Kernels that wait for each other are run by several threads if more than eight of
      them make up a function or a body of a loop. They are so short that handing them
      over takes as long as they do. Parts of at most eight are run in turn, by one thread.

    Elsewhere this is an ordinary function. Arguments that are no arrays are constants.
    """
    return _compiled_apart(fn, fn)


def recomputed(fn: Callable[_P, _T]) -> Callable[_P, _T]:
    """`apart`, and computed anew where it is differentiated, from its arguments.

    For what is one kernel: kept, each product within it would be a kernel of its own.
    """
    return _compiled_apart(fn, eqx.filter_checkpoint(fn, prevent_cse=False))


def _compiled_apart(fn: Callable[_P, _T], inner: Callable[_P, _T]) -> Callable[_P, _T]:
    def body(arrays: Any, constants: Any) -> _T:
        args, kwargs = eqxi.hashable_combine(arrays, constants)
        with set_xla_metadata(inlineable=None):  # what it calls may be
            return cast(Callable[..., _T], inner)(*args, **kwargs)

    body.__name__ = fn.__name__
    compiled = jax.jit(body, static_argnums=1)

    @functools.wraps(fn)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if jax.default_backend() != "cpu":
            return fn(*args, **kwargs)
        arrays, constants = eqxi.hashable_partition((args, kwargs), _is_array)
        with set_xla_metadata(inlineable="false"):
            return compiled(arrays, constants)

    return call


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


@apart
def materialise(x: Array) -> Array:
    """`x`, computed once and kept in memory."""
    return x
