"""The neural tangent kernel of finite networks, from every one of their weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import (
    check_finite,
    check_key,
    count,
    count_paths,
    found,
    real_array,
)
from ..limits import ShapedMLP
from ._batches import map_networks
from ._network import AbstractNetwork, finite_network


class FiniteNTKs(eqx.Module):
    """Neural tangent kernels of finite networks, and the covariances of their layers.

    - `ts`: the times `l/width` of the layers `l = 0, …, depth`.
    - `vs`: the covariances `V_l`.
    - `by_layer`: what the weights `W_l`, `l = 1, …, depth`, give to the NTK, `V_l^{ab}
      H_l^{ab}`.
    """

    ts: Float[Array, " layers"]
    vs: Float[Array, "num_networks layers m m"]
    by_layer: Float[Array, "num_networks depth m m"]

    @property
    def theta(self) -> Float[Array, "num_networks m m"]:
        """The NTK, `Θ^{ab} = Σ_{l=1}^{depth} V_l^{ab} H_l^{ab}`."""
        return jnp.sum(self.by_layer, axis=1)


def sample_ntks(
    limit: ShapedMLP,
    v0: Float[Array, "m m"],
    *,
    width: int,
    depth: int,
    key: PRNGKeyArray,
    num_networks: int,
) -> FiniteNTKs:
    """Samples `Θ^{ab} = Σ_l ⟨∂f^a/∂W_l, ∂f^b/∂W_l⟩` over the hidden weights `W_1, …, W_d`.

    `f = √(c/n) ⟨w, φ_s(z_{d+1})⟩` is one output of the network whose limit is `limit`,
    `z_{l+1} = √(c/n) W_l φ_s(z_l)`. By the chain rule a layer gives `V_l^{ab} H_l^{ab}`,
    `H_l^{ab} = ⟨∂f^a/∂z_{l+1}, ∂f^b/∂z_{l+1}⟩`. Every weight is drawn: for small widths.

    **Arguments:**

    - `limit`: a [`covsde.ShapedMLP`][]. `ShapedMLP(ShapedReLU(0.0, -width**0.5))` is the
      unshaped ReLU network, `ShapedMLP(Identity())` the linear one.
    - `v0`: covariance of the inputs.
    - `width`: neurons of each hidden layer, `n`.
    - `depth`: the number of hidden matrices, `d`.
    - `key`: a JAX random key. Network i depends on it and on i alone.
    - `num_networks`: number of independent networks.

    **Returns:** a `FiniteNTKs`; its `theta` is of the order of `depth`.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning.
    """
    if not isinstance(limit, ShapedMLP):
        raise TypeError(f"`limit` must be a `covsde.ShapedMLP`; got {found(limit)}.")
    way_out = "`covsde.gram(x)` makes it from inputs."
    v0 = real_array("v0", v0, "a covariance matrix (m, m)", way_out)
    if v0.ndim != 2 or v0.shape[0] != v0.shape[1]:
        raise ValueError(f"`v0` must have shape (m, m); got {v0.shape}. {way_out}")
    check_finite("v0", np.asarray(v0), way_out)
    width = count("width", width, "It is the number of neurons of a hidden layer.")
    depth = count("depth", depth, "It is the number of hidden matrices.")
    num_networks = count_paths(
        "num_networks", num_networks, "Ask for at least one network."
    )
    network = finite_network(limit, width)
    vs, by_layer = _sample(network, v0, check_key(key), depth, num_networks)
    return FiniteNTKs(jnp.arange(depth + 1) / width, vs, by_layer)


@eqx.filter_jit
def _sample(
    network: AbstractNetwork, v0: Array, key: PRNGKeyArray, depth: int, num_networks: int
) -> tuple[Array, Array]:
    n, m = network.width, v0.shape[-1]
    # the inputs need no weights
    x = network.inputs(v0[None], lambda x, fan_out: x)
    zero = jnp.zeros((), v0.dtype)  # all layers of an MLP are alike

    def one(first, hidden, last):
        def output(moved):
            """`Σ_a f^a`, of which the part of input `a` depends on its own row alone."""

            def layer(h, weights):
                w, shift = weights
                return network.layer(zero, h, lambda x, _: x @ w.T + shift), h[0]

            start = network.layer(zero, x, lambda x, _: x @ first.T)
            end, rows = lax.scan(layer, start, (hidden, moved))
            return jnp.sum(end @ last.T) / n**0.5, rows

        # moving `W h` moves `f` by ∂f/∂(W h), and ∂f/∂W = ∂f/∂(W h) ⊗ h
        still = jnp.zeros((depth, 1, m, n), v0.dtype)
        delta, rows = jax.grad(output, has_aux=True)(still)
        grams = jnp.einsum("lai,lbi->lab", rows, rows)
        by_layer = jnp.einsum("lai,lbi->lab", delta[:, 0], delta[:, 0]) * grams
        return jnp.concatenate([v0[None], grams / n]), by_layer

    shapes = [(n, x.shape[-1]), (depth, n, n), (1, n)]
    return map_networks(one, key, num_networks, shapes, v0.dtype)
