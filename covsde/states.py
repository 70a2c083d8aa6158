"""States: what a solver moves. A state says its size, is scaled, chosen by path, and read.

A state is a batch of paths: factors of V (`Lower`), V itself (`Symmetric`), a number each
(`Number`), or whatever registers with the functions below. Nobody outside asks which.
"""

from functools import singledispatch
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .matrices import Lower, Symmetric, Triangle, gram, semidefinite_cholesky


class Number(eqx.Module):
    """A state that is one number for each path."""

    u: Float[Array, " num_paths"]


@singledispatch
def size(y: Any) -> Float[Array, " num_paths"]:
    """What a path is stopped by, `tr V/m`, or the number; one per path."""
    raise TypeError(f"`y` must be a state of a solver; got {type(y).__name__}.")


@singledispatch
def read(y: Any) -> Float[Array, "num_paths ..."]:
    """What observables are handed: dense `V`, `(num_paths, m, m)`, or the numbers."""
    raise TypeError(f"`y` must be a state of a solver; got {type(y).__name__}.")


@singledispatch
def factor(y: Any) -> Any:
    """Where drift and noise are asked: at a factor of `V`, or at the number."""
    raise TypeError(f"`y` must be a state of a solver; got {type(y).__name__}.")


@singledispatch
def scaled_to(y: Any, wanted: Array) -> Any:
    """The state of this size, whose correlations are those of `y`."""
    raise TypeError(f"`y` must be a state of a solver; got {type(y).__name__}.")


@size.register(Lower)
def _(y):
    return y.sum_rows(y.squared_rows()) / y.m


@size.register(Symmetric)
def _(y):
    return y.trace() / y.m


@size.register(Number)
@read.register(Number)
def _(y):
    return y.u


@read.register(Lower)
def _(y):
    return gram(y).to_dense()


@read.register(Symmetric)
def _(y):
    return y.to_dense()


@factor.register(Lower)
@factor.register(Number)
def _(y):
    return y


@factor.register(Symmetric)
def _(y):
    return semidefinite_cholesky(y)


@scaled_to.register(Lower)
def _(y, wanted):
    return y * jnp.sqrt(wanted / size(y))


@scaled_to.register(Symmetric)
def _(y, wanted):
    return y * (wanted / size(y))


def choose(condition: Array, y: Any, otherwise: Any) -> Any:
    """`y` for the paths where `condition` holds, else the other; of arrays, too.

    Arrays count the paths along their first axis.
    """

    def one(a, b):
        if is_batch(a):
            return a.where(condition, b)
        spread = condition.reshape(condition.shape + (1,) * (a.ndim - 1))
        return jnp.where(spread, a, b)

    return jax.tree.map(one, y, otherwise, is_leaf=is_batch)


def is_batch(x: Any) -> bool:
    """Whether it is a batch of matrices, which knows where its paths are."""
    return isinstance(x, Triangle)
