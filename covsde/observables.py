"""Observables: what is read off a covariance matrix, on ordinary arrays `(..., m, m)`."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def log_diagonal(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch m"]:
    """`log V^{aa}`, the log squared norm of each input's layer."""
    return jnp.log(jnp.diagonal(v, axis1=-2, axis2=-1))


def correlation(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch m m"]:
    """`ρ^{ab} = V^{ab}/√(V^{aa} V^{bb})`; its diagonal is exactly 1."""
    scale = 1 / jnp.sqrt(jnp.diagonal(v, axis1=-2, axis2=-1))
    rho = v * scale[..., :, None] * scale[..., None, :]
    eye = jnp.eye(v.shape[-1], dtype=bool).reshape((1,) * (v.ndim - 2) + v.shape[-2:])
    return jnp.where(eye, 1.0, jnp.clip(rho, -1.0, 1.0))


def log_det(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
    """`log det V`; −∞ where `V` is singular to rounding."""
    factor = jnp.linalg.cholesky(v)
    value = 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


def mean_variance(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
    """`tr V/m`, what a path is stopped by."""
    return jnp.trace(v, axis1=-2, axis2=-1) / v.shape[-1]
