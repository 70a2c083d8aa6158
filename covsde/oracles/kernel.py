"""Finite residual networks whose branches shrink with the depth."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..drifts import ActivationDrift
from ..limits import BranchCovariance, KernelODE
from ._network import AbstractNetwork, finite_network, residual_stream


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

    def layer(self, hidden, weights):
        """`z + √(c/(n d)) W φ(z)`."""
        return hidden + weights(_branch(self, hidden), self.width)


@eqx.filter_jit
def _branch(network: BranchResNet, z: Array) -> Array:
    scale = jnp.sqrt(network.drift.c / (network.width * network.depth))
    return scale.astype(z.dtype) * network.drift.fn(z)


@finite_network.register(KernelODE)
def _(limit: KernelODE, width: int) -> BranchResNet:
    if not isinstance(limit.drift, BranchCovariance):
        example = "`KernelODE(BranchCovariance(fn))`"
        if isinstance(limit.drift, ActivationDrift):
            example = "`ShapedMLP(activation)`, at small depth/width"
        raise TypeError(
            "`limit` must be a `KernelODE` of a `BranchCovariance` to have finite "
            f"networks; got one of {type(limit.drift).__name__}. Sample {example}."
        )
    depth = limit.depth or width
    return BranchResNet(drift=limit.drift, width=width, depth=depth)
