"""Finite shaped attention layers, with a real softmax."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import count
from ..limits import ShapedAttention
from ._network import AbstractNetwork, finite_network, product, residual_stream


class ShapedAttentionNetwork(AbstractNetwork):
    """`X' = λ X + γ H^{-1/2} Σ_h A_h X W_h/√n`, `A = I + softmax(Y) − 11ᵀ/m`.

    `Y = X W^Q W^{K⊤} Xᵀ/(n τ)`, `τ = τ₀ √(n n_k)`, with its own weights for every head.
    With the output projection, head h has `n/H` values, and
    `X' = λ X + γ [A_1 X W_1, …, A_H X W_H] W^O/n`.

    Source: "The Shaped Transformer" (Noci et al. 2023), Section 4.
    """

    limit: ShapedAttention
    width: int = eqx.field(static=True)
    key_width: int = eqx.field(static=True)

    def __init__(self, limit: ShapedAttention, width: int, key_width: int | None = None):
        """**Arguments:**

        - `limit`: the limit, which has all parameters.
        - `width`: features of a token; with the output projection, a multiple of H.
        - `key_width`: features `n_k` of keys and queries of a head; None is `n/H`, up.
        """
        heads = limit.heads
        if limit.output_projection and width % heads:
            raise ValueError(
                f"`width` must be a multiple of the {heads} heads that share it; got "
                f"{width}. Pass for example {heads * -(-width // heads)}."
            )
        self.limit = limit
        self.width = width
        key_width = -(-width // heads) if key_width is None else key_width
        self.key_width = count("key_width", key_width, "It is n_k, for example the width.")

    def inputs(self, v0, weights):
        """Gaussian tokens of covariance `V_0`."""
        return residual_stream(v0, self.width, weights)

    def layer(self, t, hidden, weights):
        """One attention layer."""
        heads = self.limit.heads
        values = self.width // heads if self.limit.output_projection else self.width
        attended = []
        for _ in range(heads):
            queries = weights(hidden, self.key_width)
            keys = weights(hidden, self.key_width)
            attended.append(_attend(self, queries, keys, weights(hidden, values)))
        if self.limit.output_projection:
            branch = weights(jnp.concatenate(attended, axis=-1), self.width) / self.width
        else:
            branch = sum(attended) / (heads * self.width) ** 0.5
        return _add(self, hidden, branch)


@eqx.filter_jit
def _attend(
    network: ShapedAttentionNetwork,
    queries: Float[Array, "networks m key_width"],
    keys: Float[Array, "networks m key_width"],
    values: Float[Array, "networks m columns"],
) -> Float[Array, "networks m columns"]:
    """`(I + softmax(Y) − 11ᵀ/m) values`."""
    n, n_k = network.width, network.key_width
    temperature = network.limit.tau0 * (n * n_k) ** 0.5
    logits = product(queries, jnp.swapaxes(keys, -1, -2)) / (n * temperature)
    centred = values - jnp.mean(values, axis=-2, keepdims=True)
    return centred + product(jax.nn.softmax(logits, axis=-1), values)


@eqx.filter_jit
def _add(network: ShapedAttentionNetwork, x: Array, branch: Array) -> Array:
    gamma = network.limit.gamma
    return jnp.sqrt(1 - gamma**2) * x + gamma * branch


@finite_network.register(ShapedAttention)
def _(limit: ShapedAttention, width: int) -> ShapedAttentionNetwork:
    return ShapedAttentionNetwork(limit, width)
