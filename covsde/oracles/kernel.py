"""Finite networks of deterministic limits: small residual branches, or strong shaping."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .._names import full_name
from ..drifts import ActivationDrift
from ..limits import BranchCovariance, KernelODE
from ._network import AbstractNetwork, finite_network, residual_stream
from .mlp import ShapedMLPNetwork


class BranchResNet(AbstractNetwork):
    """`z_{l+1} = z_l + √(c/(n d)) W_l φ(z_l)`, with d layers in a unit of time."""

    drift: BranchCovariance
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    @property
    def layers_per_time(self):
        """`d`."""
        return self.depth

    def inputs(self, v0, weights):
        """Gaussian features of covariance `V_0`."""
        return residual_stream(v0, self.width, weights)

    def layer(self, t, hidden, weights):
        """`z + √(c/(n d)) W φ(z)`."""
        return hidden + weights(_branch(self, hidden), self.width)


@eqx.filter_jit
def _branch(network: BranchResNet, z: Array) -> Array:
    scale = jnp.sqrt(network.drift.c / (network.width * network.depth))
    return scale.astype(z.dtype) * network.drift.fn(z)


@finite_network.register(KernelODE)
def _(limit: KernelODE, width: int) -> AbstractNetwork:
    drift = limit.drift
    if isinstance(drift, BranchCovariance):
        return BranchResNet(drift=drift, width=width, depth=limit.depth or width)
    example = "`KernelODE(BranchCovariance(fn))`"
    if isinstance(drift, ActivationDrift):
        activation = drift.activation
        if activation.exponent < 0.5 and float(drift.gain) == 1 and limit.depth is None:
            return ShapedMLPNetwork(activation, width)
        example = "`ShapedMLP(activation)`, at small depth/width"
    raise TypeError(
        "`limit` must be a `KernelODE` of a `BranchCovariance`, or of an activation with "
        f"p < 0.5, to have finite networks; got {full_name(limit)}. Sample {example}."
    )
