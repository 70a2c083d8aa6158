"""Finite networks of the unshaped limit: the nearness of two inputs, layer by layer."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import count, found, parameter
from .._times import check_save_times, check_time
from ..limits import LeakyReLU, UnshapedMLP, UnshapedSolution
from ..observables import correlation
from ._network import AbstractNetwork, finite_network
from ._sample import layer_numbers
from .relu_pair import sample_relu_pairs


class UnshapedNetwork(AbstractNetwork):
    """`z_{l+1} = √(c/n) W_l φ(z_l)`, `φ(x) = s₊ max(x, 0) + s₋ min(x, 0)`, of two inputs.

    `c = 2/(s₊² + s₋²)`. It is known by `u = 1/(n √(1−ρ))`, of `V = (c/n) ⟨φ(z), φ(z)⟩`: to
    the rounding of ρ, where [`covsde.oracles.unshaped.sample_unshaped`][] has all digits.
    """

    relu: LeakyReLU
    width: int = eqx.field(static=True)
    ends: ClassVar[str] = (
        "A network is stopped where its inputs have become one, or one of them has no "
        "active unit left."
    )

    def layer(self, t, hidden, weights):
        """`√c φ(W h/√fan_in)`."""
        return _activate(self, weights(hidden, self.width) / math.sqrt(hidden.shape[-1]))

    def read(self, v):
        """`u`; ∞ where the inputs have become one, or one of them has no active unit."""
        gap = 1 - correlation(v)[..., 0, 1]
        apart = gap > 8 * jnp.finfo(v.dtype).eps  # which is false of NaN, too
        u = 1 / (self.width * jnp.sqrt(jnp.where(apart, gap, 1.0)))
        return jnp.where(apart, u, jnp.inf)


@eqx.filter_jit
def _activate(network: UnshapedNetwork, z: Array) -> Array:
    plus, minus = network.relu.slope_plus, network.relu.slope_minus
    return jnp.sqrt(2 / (plus**2 + minus**2)) * network.relu(z)


@finite_network.register(UnshapedMLP)
def _(limit: UnshapedMLP, width: int) -> UnshapedNetwork:
    relu = LeakyReLU(limit.slope_plus, limit.slope_minus)
    return UnshapedNetwork(relu=relu, width=check_width(width))


def sample_unshaped(
    limit: UnshapedMLP,
    rho0: float | Scalar,
    t1: float,
    *,
    width: int,
    key: PRNGKeyArray,
    num_networks: int,
    saveat: Float[Array, " k"] | None = None,
) -> UnshapedSolution:
    """Samples `u = 1/(n √(1−ρ))` of finite networks, exactly in law.

    **Arguments:**

    - `limit`: the limit whose networks to sample.
    - `rho0`: the correlation of the two inputs, in `[-1, 1)`.
    - `t1`: depth over width; the networks have `round(t1 · width)` layers.
    - `width`: neurons of each hidden layer, at least 2.
    - `key`: a JAX random key. Network i depends on it and on i alone.
    - `num_networks`: number of independent networks.
    - `saveat`: increasing times in `[0, t1]` to save, each rounded to the nearest layer;
      None saves the last layer only.

    **Returns:** a [`covsde.UnshapedSolution`][] whose `ts` are the times `l/width` of the
    saved layers.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning.
    """
    if not isinstance(limit, UnshapedMLP):
        raise TypeError(
            f"`limit` must be an `UnshapedMLP`; got {found(limit)}. Networks of other "
            "limits are sampled by `oracles.sample`."
        )
    way_out = "It is the correlation of two different inputs."
    accepted = "a number in [-1, 1)"
    rho0 = parameter("rho0", rho0, accepted, way_out, test=lambda x: -1 <= x < 1)
    width = check_width(width)
    t1 = check_time("t1", t1)
    times = check_save_times(saveat, t1, rho0.dtype)
    layers, depth = layer_numbers(times, t1, width)
    pairs = sample_relu_pairs(
        jnp.arccos(rho0),
        np.full(depth, width),
        key=key,
        num_networks=num_networks,
        slope_plus=limit.slope_plus,
        slope_minus=limit.slope_minus,
    )
    # √(1−ρ) = √2 sin(θ/2), which keeps the digits of small angles
    u = 1 / (width * 2**0.5 * jnp.sin(pairs.theta[:, layers] / 2))
    return UnshapedSolution(
        ts=jnp.asarray(layers / width, u.dtype),
        us=jnp.where(layers[None] < pairs.died_at[:, None], u, jnp.inf),
        limit=limit,
        key=key,
        width=width,
        method="gram",
    )


def check_width(width) -> int:
    """Neurons in which two inputs can differ."""
    return count("width", width, "In one neuron all inputs are parallel.", least=2)
