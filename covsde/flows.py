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
    beyond_span,
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


def where_leaving_span(
    factor: Lower,
    drift: Symmetric,
    within: Lower,
    flow_of_v: Callable[[], Lower],
) -> Lower:
    """`within`, except on paths whose drift leaves the span of a singular `V`.

    Whitening knows only the span of `V`. Equal inputs stay equal, so their drift keeps to
    it; more inputs than features do not, and need `flow_of_v`, a flow of `V` itself. It
    is accurate only absolutely, and runs only when some path needs it.
    """
    if factor.invertible:
        return within
    rows = 1 / jnp.sqrt(factor.squared_rows())
    drift = drift.scale(rows)
    beyond = beyond_span(factor.scale_rows(rows), drift)
    rounding = 1e3 * float(jnp.finfo(factor.dtype).eps) * drift.largest()
    leaves = beyond > rounding
    return lax.cond(
        jnp.any(leaves),
        lambda: flow_of_v().where(leaves, within).as_invertible(False),
        lambda: within.as_invertible(False),
    )
