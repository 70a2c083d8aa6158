"""Computations that XLA is to keep apart from their surroundings."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array

_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(*static: int) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A decorator: the function is compiled by itself, and what it returns is kept.

    XLA on CPU computes a cheap expression anew in everything that it is fused into, which
    makes chains of unrolled products quadratic, to run and to compile. It does not fuse
    across a call, and kernels of equal calls are compiled once. Elsewhere this is an
    ordinary function. `static` are the positions of arguments that are not arrays.
    """

    def decorate(fn: Callable[_P, _T]) -> Callable[_P, _T]:
        compiled: Any = jax.jit(fn, static_argnums=static)

        @functools.wraps(fn)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            if jax.default_backend() != "cpu":
                return fn(*args, **kwargs)
            with set_xla_metadata(inlineable="false"):
                return compiled(*args, **kwargs)

        return call

    return decorate


@apart()
def materialise(x: Array) -> Array:
    """`x`, computed once and kept in memory."""
    return x
