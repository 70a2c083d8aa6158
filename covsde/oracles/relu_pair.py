"""Two inputs in a finite unshaped ReLU network: their angle and norms, layer by layer."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Scalar

from .._checks import check_key, count, count_paths, parameter
from ..limits import LeakyReLU
from ._batches import map_networks


class ReLUPairs(eqx.Module):
    """Samples of pairs, layers `l = 0, …, depth` along the second axis.

    A network in which no unit of one of the inputs is active, as can be where a slope is
    0, is frozen at the layer before.

    - `theta`: the angle between the two inputs.
    - `log_growth`: `log(V_l^{aa}/V_0^{aa})` of each of them.
    - `died_at`: the layer without an active unit, inf where there is none.
    """

    theta: Float[Array, "num_networks layers"]
    log_growth: Float[Array, "num_networks layers 2"]
    died_at: Float[Array, " num_networks"]


def sample_relu_pairs(
    theta0: float | Scalar,
    widths: Int[ArrayLike, " depth"],
    *,
    key: PRNGKeyArray,
    num_networks: int,
    slope_plus: float | Scalar = 1.0,
    slope_minus: float | Scalar = 0.0,
) -> ReLUPairs:
    """Samples `h_l = √(c/n_l) φ(W_l h_{l−1})` of two inputs, exactly in law.

    `φ(x) = s₊ max(x, 0) + s₋ min(x, 0)` and `c = 2/(s₊² + s₋²)`: by default, `√2 relu`.

    Given the covariance of a layer, the units of the next are independent draws of
    N(0, V): two normals a unit instead of its weights.

    **Arguments:**

    - `theta0`: the angle between the inputs, in `[0, π]`.
    - `widths`: the number of units of each layer, shape `(depth,)`.
    - `key`: a JAX random key. Network i depends on it and on i alone.
    - `num_networks`: number of independent networks.
    - `slope_plus`, `slope_minus`: slopes s₊ and s₋ of the activation, not both 0.

    **Returns:** a `ReLUPairs`, layer by layer. Angles keep their digits, however small.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning.
    """
    start = parameter(
        "theta0",
        theta0,
        "an angle in [0, π]",
        "Pass `jnp.arccos(rho)`.",
        test=lambda x: 0 <= x <= math.pi,
    )
    way_out = "Pass the number of units of each layer, for example `[100] * 50`."
    if np.ndim(widths) != 1 or np.size(widths) == 0:
        raise ValueError(
            f"`widths` must have shape (depth,); got {np.shape(widths)}. {way_out}"
        )
    units = [count("widths", n, way_out) for n in np.asarray(widths).tolist()]
    key = check_key(key)
    num_networks = count_paths(
        "num_networks", num_networks, "Ask for at least one network."
    )
    relu = LeakyReLU(slope_plus, slope_minus)
    return _sample(relu, start, jnp.asarray(units), key, max(units), num_networks)


class _Pair(eqx.Module):
    """The state of one network."""

    theta: Scalar
    log_growth: Float[Array, "2"]
    alive: Bool[Array, ""]


@eqx.filter_jit
def _sample(
    relu: LeakyReLU,
    theta0: Scalar,
    widths: Array,
    key: PRNGKeyArray,
    widest: int,
    num_networks: int,
) -> ReLUPairs:
    depth = widths.size
    c = 2 / (relu.slope_plus**2 + relu.slope_minus**2)

    def layer(now: _Pair, drawn):
        normals, width = drawn
        theta, squares = _relu_layer(relu, now.theta, normals)
        alive = now.alive & jnp.all(squares > 0)
        growth = jnp.log(jnp.where(alive, squares * c / width, 1.0))
        angle = jnp.where(alive, theta, now.theta)
        now = _Pair(angle, now.log_growth + growth, alive)
        return now, now

    def network(normals):
        # a unit of zeros adds nothing
        units = jnp.arange(widest)[None, None] < widths[:, None, None]
        start = _Pair(theta0, jnp.zeros(2, theta0.dtype), jnp.array(True))
        _, layers = lax.scan(layer, start, (jnp.where(units, normals, 0.0), widths))
        survived = jnp.sum(layers.alive)
        return ReLUPairs(
            jnp.append(start.theta, layers.theta),
            jnp.concatenate([start.log_growth[None], layers.log_growth]),
            jnp.where(survived < depth, survived + 1.0, jnp.inf),
        )

    return map_networks(network, key, num_networks, [(depth, 2, widest)], theta0.dtype)


def _relu_layer(
    relu: LeakyReLU, theta: Scalar, normals: Float[Array, "2 n"]
) -> tuple[Scalar, Array]:
    """The angle after the activation, and both squared norms, from pairs at `theta`.

    The second input is the first plus a difference, which the activation keeps:
    subtracting them would lose the digits of a small angle.
    """
    z, other = normals
    difference = jnp.sin(theta) * other - 2 * jnp.sin(theta / 2) ** 2 * z
    moved = z + difference
    a = relu(z)
    slope = jnp.where(z > 0, relu.slope_plus, relu.slope_minus)
    same_side = (z > 0) == (moved > 0)
    b_minus_a = jnp.where(same_side, slope * difference, relu(moved) - a)
    b = a + b_minus_a
    aa, bb = a @ a, b @ b
    safe = jnp.where(aa > 0, aa, 1.0)
    across = b_minus_a - a * (a @ b_minus_a) / safe
    # of one active unit they are parallel, without the rounding of the line above
    several = jnp.sum((a != 0) | (b != 0)) > 1
    height = jnp.where(several, jnp.linalg.norm(across), 0.0)
    theta = jnp.arctan2(height, a @ b / jnp.sqrt(safe))
    return theta, jnp.stack([aa, bb])
