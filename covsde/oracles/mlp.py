"""The finite shaped multilayer perceptron."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ..activations import AbstractActivation
from ..limits import ShapedMLP
from ._network import AbstractNetwork, finite_network


class ShapedMLPNetwork(AbstractNetwork):
    """`z_1 = W_0 x/√n_in`, `z_{l+1} = √(c/n) W_l φ_s(z_l)`, `1/c = E φ_s(g)²`.

    Its state is `V = (c/n) ⟨φ_s(z^a), φ_s(z^b)⟩`, from `V_0 = ⟨x^a, x^b⟩/n_in`. In terms
    of `h = √c φ_s(z)`, with `h_0 = x`, every layer, the first too, is `z = W h/√fan_in`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Definitions 3.1 and 3.6.
    """

    activation: AbstractActivation
    scale: Scalar
    width: int = eqx.field(static=True)

    def __init__(self, activation: AbstractActivation, width: int):
        """**Arguments:**

        - `activation`: the shaped activation.
        - `width`: neurons of each hidden layer.
        """
        self.activation = activation
        self.scale = jnp.sqrt(activation.normalising_constant(width))
        self.width = width

    @property
    def layers_per_time(self):
        """`n^{2p}`, the time of the drift, and `n` at most, that of the noise."""
        return round(self.width ** min(1.0, 2 * self.activation.exponent))

    def layer(self, t, hidden, weights):
        """`√c φ_s(W h/√fan_in)`."""
        return _activate(self, weights(hidden, self.width) / math.sqrt(hidden.shape[-1]))

    def activate(self, z: Float[Array, "networks m width"]) -> Array:
        """`√c φ_s(z)`."""
        return self.scale * self.activation.shaped(z, self.width)


@eqx.filter_jit
def _activate(network: ShapedMLPNetwork, z: Array) -> Array:
    return network.activate(z)


@finite_network.register(ShapedMLP)
def _(limit: ShapedMLP, width: int) -> ShapedMLPNetwork:
    return ShapedMLPNetwork(limit.activation, width)
