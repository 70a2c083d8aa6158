"""Norms and determinants that are log-normal: linear networks and shaped ReLUs.

`dV = b dt + √Γ F dS Fᵀ`, where the shaped ReLU has `b^{aa} = 0` and a linear network
`b = 0`. Γ is `limit.diffusion.strength`: 1 for an MLP, `γ²(2−γ²)` for a ResNet.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import count, is_concrete, parameter
from .._problem import check_covariance
from ..observables import log_det
from ._base import LogGaussian
from ._checks import gain_times


def log_norm_law(
    v0: float | Scalar, t1: float | Scalar, gain: float | Scalar = 1.0
) -> LogGaussian:
    """`log V^{aa}_T ~ N(log V^{aa}_0 − Γ T, 2 Γ T)`, of a linear network or a shaped ReLU.

    **Arguments:**

    - `v0`: the variance `V^{aa}_0` of one input, positive.
    - `t1`: T, in units of depth/width.
    - `gain`: Γ, `limit.diffusion.strength`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2.
    """
    way_out = "It is a diagonal entry of V."
    start = parameter("v0", v0, "a positive number", way_out, test=lambda x: x > 0)
    spread = gain_times(t1, gain)
    return LogGaussian(jnp.log(start) - spread, 2 * spread)


def log_det_law(v0: Float[ArrayLike, "m m"], t1: float, gain: float = 1.0) -> LogGaussian:
    """`log det V_T ~ N(log det V_0 − Γ m(m+1) T/2, 2 m Γ T)`, of a linear network.

    **Arguments:**

    - `v0`: the covariance at the start, `(m, m)`, not singular.
    - `t1`: T, in units of depth/width.
    - `gain`: Γ, `limit.diffusion.strength`.

    Source: Itô's formula for "The Neural Covariance SDE" (Li, Nica, Roy 2022).
    """
    v0, spread = one_covariance(v0), gain_times(t1, gain)
    m, start = v0.shape[-1], _not_singular(log_det(v0))
    return LogGaussian(start - m * (m + 1) / 2 * spread, 2 * m * spread)


def log_pivot_law(
    v0: Float[ArrayLike, "m m"], index: int, t1: float, gain: float = 1.0
) -> LogGaussian:
    """`log L_ii(T) ~ N(log L_ii(0) − i Γ T/2, Γ T/2)`, `V = L Lᵀ`, of a linear network.

    Different pivots are independent: `i = index + 1` is the number of the input within
    the first i, of which it is the residual norm.

    **Arguments:**

    - `v0`: the covariance at the start, `(m, m)`, not singular.
    - `index`: the pivot, counted from 0.
    - `t1`: T, in units of depth/width.
    - `gain`: Γ, `limit.diffusion.strength`.

    Source: Itô's formula for "The Neural Covariance SDE" (Li, Nica, Roy 2022).
    """
    v0, spread = one_covariance(v0), gain_times(t1, gain)
    index = count("index", index, "Pivots are counted from 0.", least=0)
    if index >= len(v0):
        raise ValueError(
            f"`index` must be less than m = {len(v0)}; got {index}. Pivots are counted "
            "from 0."
        )
    _not_singular(log_det(v0))
    start = jnp.log(jnp.linalg.cholesky(v0)[index, index])
    return LogGaussian(start - (index + 1) / 2 * spread, spread / 2)


def one_covariance(v0) -> Array:
    """One covariance matrix `(m, m)`."""
    v0 = check_covariance(v0)
    if v0.ndim != 2:
        raise ValueError(
            f"`v0` must be one covariance (m, m); got shape {v0.shape}. Ask for the law "
            "from one start at a time."
        )
    return v0


def _not_singular(log_det: Scalar) -> Scalar:
    """Of the covariance at the start."""
    if is_concrete(log_det) and jnp.isneginf(log_det):
        raise ValueError(
            "`v0` must be positive definite; got a singular covariance, whose determinant "
            "stays 0. Remove inputs that are combinations of others."
        )
    return log_det
