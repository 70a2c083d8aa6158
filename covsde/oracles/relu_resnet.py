"""Finite ReLU ResNets, plain and balanced: norms, active units and gradients by layer."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from .._checks import check_key, count, count_paths, found, parameter
from ._batches import map_networks


class ReLUResNets(eqx.Module):
    """Samples of finite ReLU ResNets, layers `l = 0, …, depth` along the second axis.

    - `log_growth`: `log(V_l/V_0)`, `V = |z|²/n`.
    - `active_share`: the share of units with `z_l > 0` (balanced: `s z_l > 0`).
    - `gradient_log_growth`: `log(|g_l|²/|g_d|²)`, where `g_l = ∂f/∂z_l` and
      `f = ⟨v, z_d⟩` is an output with weights `v ~ N(0, I)` of its own.
    """

    log_growth: Float[Array, "num_networks layers"]
    active_share: Float[Array, "num_networks layers"]
    gradient_log_growth: Float[Array, "num_networks layers"]


def sample_relu_resnets(
    alpha_squared: float,
    *,
    width: int,
    depth: int,
    key: PRNGKeyArray,
    num_networks: int,
    balanced: bool = False,
    method: str = "gram",
) -> ReLUResNets:
    """Samples `z_{l+1} = α z_l + λ √(2/n) W_l relu(z_l)`, `α² + λ² = 1`, `z_0 ~ N(0, I)`.

    A balanced network applies `relu(s_i z_i)`, with random signs `s_i` that are fresh for
    every unit and layer.

    **Arguments:**

    - `alpha_squared`: `α²` in `[0, 1)`, the share of the variance that skips a layer; 0
      is a network without skip connections.
    - `width`: the number of units, `n`.
    - `depth`: the number of layers.
    - `key`: a JAX random key. Network i depends on it and on i alone.
    - `num_networks`: number of independent networks.
    - `balanced`: whether the networks are balanced.
    - `method`: `"weights"` draws every weight, which costs `width²` normals a layer and
      is the one to trust; `"gram"` draws from the same law with `2 width` normals a
      layer.

    **Returns:** a `ReLUResNets`, layer by layer.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning.

    Source: "The Future is Log-Gaussian" (Li, Nica, Roy 2021).
    """
    skipped = parameter(
        "alpha_squared",
        alpha_squared,
        "a number in [0, 1)",
        "It is the share of the variance that skips a layer, for example 0.9.",
        test=lambda x: 0 <= x < 1,
    )
    width = count("width", width, "It is the number of units of a layer.")
    depth = count("depth", depth, "It is the number of layers.")
    key = check_key(key)
    num_networks = count_paths(
        "num_networks", num_networks, "Ask for at least one network."
    )
    if not isinstance(balanced, bool):
        raise TypeError(f"`balanced` must be True or False; got {found(balanced)}.")
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(
            f'`method` must be "gram" or "weights"; got {found(method)}. "gram" is fast '
            'and has the same law as "weights".'
        )
    return _sample(skipped, key, width, depth, num_networks, balanced, method)


class _Method(NamedTuple):
    """How a layer multiplies by its weights `W`, given standard normals of `shape(n)`."""

    shape: Callable[[int], tuple[int, ...]]
    product: Callable[[Array, Array], Array]  # W r
    transposed: Callable[[Array, Array, Array], Array]  # Wᵀ g, given W r


def _transposed_given_product(normals: Array, r: Array, g: Array) -> Array:
    """`Wᵀ g` given `W r = |r| u`: `⟨u, g⟩` along `r`, and fresh across it."""
    u, fresh = normals[0], normals[1] * jnp.linalg.norm(g)
    unit = r / jnp.maximum(jnp.linalg.norm(r), jnp.finfo(r.dtype).tiny)
    return fresh + unit * (u @ g - unit @ fresh)


_METHODS = {
    "weights": _Method(lambda n: (n, n), lambda w, r: w @ r, lambda w, r, g: g @ w),
    "gram": _Method(
        lambda n: (2, n),
        lambda normals, r: jnp.linalg.norm(r) * normals[0],
        _transposed_given_product,
    ),
}


@eqx.filter_jit
def _sample(
    alpha_squared: Scalar,
    key: PRNGKeyArray,
    width: int,
    depth: int,
    num_networks: int,
    balanced: bool,
    method: str,
) -> ReLUResNets:
    alpha = jnp.sqrt(alpha_squared)
    gain = jnp.sqrt((1 - alpha_squared) * 2 / width)
    shape, product, transposed = _METHODS[method]

    def forward(z, layer):
        normals, s = layer
        slopes = _slopes(s, z)
        activated = slopes * z  # relu(s z)
        after = alpha * z + gain * product(normals, activated)
        return after, (activated, slopes, z @ z)

    def backward(g, layer):
        normals, activated, slopes = layer
        g = alpha * g + gain * slopes * transposed(normals, activated, g)
        return g, g @ g

    def network(z, g, normals, signs):
        s = jnp.sign(signs) if balanced else jnp.ones((depth + 1, width))
        z, (activated, slopes, before) = lax.scan(forward, z, (normals, s[:-1]))
        _, gradients = lax.scan(backward, g, (normals, activated, slopes), reverse=True)
        norms = jnp.append(before, z @ z)
        active = jnp.concatenate([slopes, _slopes(s[-1], z)[None]]) != 0
        return ReLUResNets(
            jnp.log(norms / norms[0]),
            jnp.mean(active, axis=1),
            jnp.log(jnp.append(gradients, g @ g) / (g @ g)),
        )

    signs = (depth + 1, width) if balanced else (0,)
    shapes = [(width,), (width,), (depth, *shape(width)), signs]
    return map_networks(network, key, num_networks, shapes, alpha.dtype)


def _slopes(s: Array, z: Array) -> Array:
    """The derivative of `relu(s z)`."""
    return jnp.where(s * z > 0, s, 0.0)
