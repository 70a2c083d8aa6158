"""Structure-preserving flows: how a drift moves the factor without leaving the cone.

A flow takes a factor `L` of `V = L Lᵀ` over a time `h` of `dV = b(V) dt` and returns a
factor of the new `V`. It moves `L` by right multiplication, `L ← L chol(I + Y)`, with
`Y = h L⁻¹ b L⁻ᵀ` the *whitened* drift, so `V` stays positive definite and its small
eigenvalues keep their relative accuracy.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from .matrices import (
    Lower,
    Symmetric,
    cholesky,
    gram,
    multiply,
    square,
    whiten,
)


def positive_definite_flow(
    drift: Callable[[Symmetric], Symmetric], factor: Lower, h
) -> Lower:
    """The flow of any drift: second order, and positive definite for every step `h`.

    Heun's method in whitened coordinates, with `I + Y` replaced by
    `I + Y + Y⁴/4 ⪰ ¼ I`, which differs from it by less than the method's own error.
    """
    b0 = whiten(factor, drift(gram(factor))) * h
    predictor = _move(factor, b0)
    b1 = whiten(factor, drift(gram(predictor))) * h
    return _move(factor, (b0 + b1) * 0.5)


def _move(factor: Lower, y: Symmetric) -> Lower:
    positive = (y + square(square(y)) * 0.25).add_diagonal(1.0)
    return multiply(factor, cholesky(positive, floor=0.25))


def where_singular(
    factor: Lower,
    singular_flow: Callable[[Lower], Lower],
    regular_flow: Callable[[Lower], Lower],
) -> Lower:
    """`regular_flow`, except on paths whose factor has a zero pivot.

    Whitening divides by the pivots, so a singular `V` (duplicate inputs, rank-deficient
    starts) needs a flow in `V` itself; it runs only when some path needs it.
    """
    if factor.invertible:
        return regular_flow(factor)
    singular = factor.is_singular()
    harmless = Lower.identity(factor.m, factor.batch, factor.dtype)
    regular = regular_flow(harmless.where(singular, factor))
    return lax.cond(
        jnp.any(singular),
        lambda: singular_flow(factor).where(singular, regular).as_invertible(False),
        lambda: regular.as_invertible(False),
    )
