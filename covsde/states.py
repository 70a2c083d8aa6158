"""States: what a solver moves. A state says its size, is scaled, chosen by path, and read.

A state is a batch of paths: factors of V (`Lower`), V itself (`Symmetric`, or a dense array
in a Diffrax program), a number each (`Number`), or whatever registers with the functions
below. Nobody outside asks which.
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
def covariance_of(y: Any) -> Symmetric:
    """`V`, packed; by default of a dense array."""
    return Symmetric.from_dense(y)


@singledispatch
def factor_of(y: Any) -> Any:
    """Where drift and noise are asked: a factor of `V`, which may be singular; a number."""
    return semidefinite_cholesky(covariance_of(y))


@singledispatch
def like(y: Any, v: Symmetric) -> Any:
    """`v` in the form of a state that is `V` itself."""
    return v.to_dense()


@singledispatch
def read(y: Any) -> Float[Array, "num_paths ..."]:
    """What observables are handed: dense `V`, `(num_paths, m, m)`, or the numbers."""
    return covariance_of(y).to_dense()


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


@covariance_of.register(Lower)
def _(y):
    return gram(y)


@covariance_of.register(Symmetric)
def _(y):
    return y


@factor_of.register(Lower)
@factor_of.register(Number)
def _(y):
    return y


@like.register(Symmetric)
def _(y, v):
    return v


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
