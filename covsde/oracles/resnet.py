"""The finite shaped residual network."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..limits import ShapedResNet
from ._network import AbstractNetwork, finite_network, residual_stream


class ShapedResNetNetwork(AbstractNetwork):
    """`z_{l+1} = λ z_l + γ √(c/n) W_l φ_s(z_l)`, `λ² + γ² = 1`, `V = ⟨z^a, z^b⟩/n`.

    Source: as [`covsde.ShapedResNet`][].
    """

    limit: ShapedResNet
    width: int = eqx.field(static=True)

    def inputs(self, v0, weights):
        """Gaussian features of covariance `V_0`."""
        return residual_stream(v0, self.width, weights)

    def layer(self, t, hidden, weights):
        """`λ z + γ √(c/n) W φ_s(z)`."""
        return _add(self, hidden, weights(_branch(self, hidden), self.width))


@eqx.filter_jit
def _branch(network: ShapedResNetNetwork, z: Array) -> Array:
    activation, n = network.limit.activation, network.width
    scale = jnp.sqrt(activation.normalising_constant(n) / n).astype(z.dtype)
    return scale * activation.shaped(z, n)


@eqx.filter_jit
def _add(network: ShapedResNetNetwork, z: Array, branch: Array) -> Array:
    gamma = network.limit.gamma
    return jnp.sqrt(1 - gamma**2) * z + gamma * branch


@finite_network.register(ShapedResNet)
def _(limit: ShapedResNet, width: int) -> ShapedResNetNetwork:
    return ShapedResNetNetwork(limit=limit, width=width)
