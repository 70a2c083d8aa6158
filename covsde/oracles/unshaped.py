"""Finite networks of the unshaped limit: the nearness of two inputs, layer by layer."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import count, found, parameter
from .._times import check_save_times, check_time
from ..limits import UnshapedMLP, UnshapedSolution
from ._sample import layer_numbers
from .relu_pair import sample_relu_pairs


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
    )


def check_width(width) -> int:
    """Neurons in which two inputs can differ."""
    return count("width", width, "In one neuron all inputs are parallel.", least=2)
