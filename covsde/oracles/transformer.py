"""Finite shaped Transformer blocks, and blocks of any sub-layers."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..limits import Block, ShapedFeedForward, ShapedTransformer
from ._network import AbstractNetwork, finite_network, residual_stream


class ShapedFeedForwardNetwork(AbstractNetwork):
    """`X' = λ X + γ √(c/n_h) φ_s(X W₁/√n) W₂`, with `n_h` hidden neurons.

    Source: "The Shaped Transformer" (Noci et al. 2023), Section 4.
    """

    limit: ShapedFeedForward
    width: int = eqx.field(static=True)
    hidden_width: int = eqx.field(static=True)

    def __init__(self, limit: ShapedFeedForward, width: int):
        """**Arguments:**

        - `limit`: the limit, which has all parameters.
        - `width`: features of a token.
        """
        self.limit = limit
        self.width = width
        self.hidden_width = max(1, round(float(limit.hidden_ratio) * width))

    def inputs(self, v0, weights):
        """Gaussian tokens of covariance `V_0`."""
        return residual_stream(v0, self.width, weights)

    def layer(self, t, hidden, weights):
        """One feed-forward layer."""
        z = weights(hidden, self.hidden_width) / self.width**0.5
        return _add(self, hidden, weights(_activate(self, z), self.width))


@eqx.filter_jit
def _activate(network: ShapedFeedForwardNetwork, z: Array) -> Array:
    activation, n = network.limit.activation, network.width
    scale = jnp.sqrt(activation.normalising_constant(n) / network.hidden_width)
    return scale.astype(z.dtype) * activation.shaped(z, n)


@eqx.filter_jit
def _add(network: ShapedFeedForwardNetwork, x: Array, branch: Array) -> Array:
    gamma = network.limit.gamma
    return jnp.sqrt(1 - gamma**2) * x + gamma * branch


class BlockNetwork(AbstractNetwork):
    """The layers of networks one after the other; one block is the time `1/width`."""

    networks: tuple[AbstractNetwork, ...]
    width: int = eqx.field(static=True)

    def __init__(self, *networks: AbstractNetwork):
        """**Arguments:**

        - `networks`: in the order of the forward pass, all of the same width.
        """
        self.networks = networks
        self.width = networks[0].width

    def inputs(self, v0, weights):
        """What the first layer starts with."""
        return self.networks[0].inputs(v0, weights)

    def layer(self, t, hidden, weights):
        """All layers of the block."""
        for network in self.networks:
            hidden = network.layer(t, hidden, weights)
        return hidden


@finite_network.register(ShapedFeedForward)
def _(limit: ShapedFeedForward, width: int) -> ShapedFeedForwardNetwork:
    return ShapedFeedForwardNetwork(limit, width)


@finite_network.register(Block)
def _(limit: Block, width: int) -> BlockNetwork:
    return BlockNetwork(*(finite_network(one, width) for one in limit.sublayers))


@finite_network.register(ShapedTransformer)
def _(limit: ShapedTransformer, width: int) -> AbstractNetwork:
    return finite_network(limit.block, width)
