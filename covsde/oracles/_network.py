"""What a finite network is: one random layer."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Scalar

from .._checks import count, found
from ..limits import AbstractLimit, Registry
from ..matrices import factorise

# `weights(x, fan_out)`: a product with fresh random weights
Weights = Callable[[Array, int], Array]


class AbstractNetwork(eqx.Module):
    """A random network of finite width, of which a limit is the limit.

    Layer `l`, at time `l/width` unless `layers_per_time` says otherwise, is known by its
    hidden matrix `h`, one input a row, and its covariance `V = h hᵀ/n`, where `n` is the
    number of columns of `h`. The networks are batched, on the first axis. A new network
    gives its `layer`, as in the paper.
    """

    width: eqx.AbstractVar[int]
    # Why one has no state from some layer on, but for a level; a sentence, if it may be so.
    ends: ClassVar[str] = ""

    @property
    def layers_per_time(self) -> int:
        """Layers in a unit of time: the width, where time is depth/width."""
        return self.width

    def inputs(
        self, v0: Float[Array, "networks m m"], weights: Weights
    ) -> Float[Array, "networks m fan_in"]:
        """The first hidden matrix, with `h hᵀ/n_in = V_0`: any inputs that have it."""
        del weights
        return factorise(v0).to_dense() * v0.shape[-1] ** 0.5

    @abc.abstractmethod
    def layer(
        self, t: Scalar, hidden: Float[Array, "networks m fan_in"], weights: Weights
    ) -> Float[Array, "networks m width"]:
        """The next hidden matrix, from that at time `t`.

        `weights(x, fan_out)`, for `x` of shape `(networks, m, fan_in)`, is `x Wᵀ`, where
        `W`, `fan_out × fan_in`, has N(0, 1) entries, fresh for each call and network. The
        first layer gets the inputs, whose `fan_in` need not be the width.
        """

    def read(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch_and_state"]:
        """What observables read, of the covariances: these, or the limit's own state."""
        return v


def residual_stream(
    v0: Float[Array, "networks m m"], width: int, weights: Weights
) -> Float[Array, "networks m width"]:
    """Gaussian features of covariance exactly `V_0`, with which a residual network starts.

    A residual layer sees how its features are distributed, not their covariance alone:
    the columns of `h` are those of a Gaussian matrix, made orthonormal first.
    """
    m = v0.shape[-1]
    if width < m:
        raise ValueError(
            f"`width` must be at least the number of inputs, {m}, for a residual network "
            f"to start at `v0`; got {width}. Pass a larger width."
        )
    one = jnp.broadcast_to(jnp.eye(m, dtype=v0.dtype), v0.shape)
    gaussian = weights(one, width)
    root = jnp.linalg.cholesky(covariance(gaussian))
    orthonormal = solve_triangular(root, gaussian, lower=True)
    return product(factorise(v0).to_dense(), orthonormal)


def product(a: Float[Array, "networks m k"], b: Float[Array, "networks k n"]) -> Array:
    """`A B`, in full precision also on accelerators."""
    return jnp.matmul(a, b, precision="highest")


def covariance(hidden: Float[Array, "networks m n"]) -> Float[Array, "networks m m"]:
    """`V = h hᵀ/n`."""
    return product(hidden, jnp.swapaxes(hidden, -1, -2)) / hidden.shape[-1]


@Registry
def finite_network(limit: AbstractLimit, width: int) -> AbstractNetwork:
    """The network of width `width` whose limit is `limit`.

    A new limit registers its own: `@finite_network.register(MyLimit)` on a function of
    the limit and the width.

    **Raises:** `TypeError` for a limit that has none.
    """
    width = count("width", width, "It is the number of neurons of a hidden layer.")
    for network in finite_network.known_of(limit):
        return network(limit, width)
    raise TypeError(
        f"`limit` must be a limit with a finite network ({finite_network.names}); got "
        f"{found(limit)}. Register one with `covsde.oracles.finite_network.register`."
    )
