"""Polynomials of given coefficients."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def polynomial(
    coefficients: Sequence[float], x: Float[Array, "..."]
) -> Float[Array, "..."]:
    """`Σ c_k x^k`, in the dtype of `x`; the constant comes first.

    Even and odd powers by Horner's rule: the one need not wait for the other.
    """
    if len(coefficients) < 4:
        return _horner(coefficients, x)
    even, odd = coefficients[::2], coefficients[1::2]
    return _horner(even, x * x) + x * _horner(odd, x * x)


def _horner(coefficients: Sequence[float], x: Array) -> Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
