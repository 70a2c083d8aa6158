"""What a finite network is: one random layer, with its weights and on the Gram level."""

import abc
from collections.abc import Callable
from functools import singledispatch
from typing import NoReturn

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import found
from ..limits import AbstractLimit


class AbstractNetwork(eqx.Module):
    """A random network of finite width, of which a limit is the limit.

    Layer `l`, at time `l/width`, is known by its hidden matrix `h`, one input a row, and
    its covariance `V = h hᵀ/n`, where `n` is the number of columns of `h`. The networks
    are batched, on the first axis. A new network gives its layer twice: `layer` with
    every weight, as in the paper, and `gram_layer`, the same in law from fewer normals.
    """

    width: eqx.AbstractVar[int]

    @abc.abstractmethod
    def layer(
        self,
        hidden: Float[Array, "networks m fan_in"],
        weights: Callable[[Array, int], Array],
    ) -> Float[Array, "networks m width"]:
        """The next hidden matrix, by literal weights.

        `weights(x, fan_out)`, for `x` of shape `(networks, m, fan_in)`, is `x Wᵀ`, where
        `W`, `fan_out × fan_in`, has N(0, 1) entries, fresh for each call and network. The
        first layer gets the inputs, whose `fan_in` need not be the width.
        """

    @abc.abstractmethod
    def gram_layer(
        self,
        v: Float[Array, "networks m m"],
        normals: Callable[[tuple[int, ...]], Array],
    ) -> Float[Array, "networks m m"]:
        """The next covariance, distributed exactly as with literal weights given `v`.

        `normals(shape)` gives N(0, 1) numbers of shape `(networks, *shape)`, fresh for
        each call and network. `v` may be singular.
        """


def product(a: Float[Array, "networks m k"], b: Float[Array, "networks k n"]) -> Array:
    """`A B`, in full precision also on accelerators."""
    return jnp.matmul(a, b, precision="highest")


def covariance(hidden: Float[Array, "networks m n"]) -> Float[Array, "networks m m"]:
    """`V = h hᵀ/n`."""
    return product(hidden, jnp.swapaxes(hidden, -1, -2)) / hidden.shape[-1]


@singledispatch
def finite_network(limit: AbstractLimit, width: int) -> AbstractNetwork:
    """The network of width `width` whose limit is `limit`.

    A new limit registers its own: `@finite_network.register(MyLimit)` on a function of
    the limit and the width.

    **Raises:** `TypeError` for a limit that has none.
    """
    _refuse(limit)


def _refuse(limit) -> NoReturn:
    known = sorted(kind.__name__ for kind in finite_network.registry if kind is not object)
    raise TypeError(
        f"`limit` must be a limit with a finite network ({', '.join(known)}); got "
        f"{found(limit)}. Register one with `covsde.oracles.finite_network.register`."
    )
