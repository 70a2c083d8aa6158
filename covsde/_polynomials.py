"""Polynomials of given coefficients."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def polynomial(
    coefficients: Sequence[float], x: Float[Array, "..."]
) -> Float[Array, "..."]:
    """`Σ c_k x^k` by Horner's rule, in the dtype of `x`; the constant comes first."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
