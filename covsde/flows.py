"""Structure-preserving flows: how a drift moves the factor without leaving the cone.

A flow takes a factor `L` of `V = L Lᵀ` over a time `h` of `dV = b(V) dt` and returns a
factor of the new `V`. It moves `L` by right multiplication, `L ← L chol(I + Y)`, with
`Y = h L⁻¹ b L⁻ᵀ` the *whitened* drift, so `V` stays positive definite and its small
eigenvalues keep their relative accuracy.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from .matrices import (
    Lower,
    Symmetric,
    apart,
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


@apart
def _move(factor: Lower, y: Symmetric) -> Lower:
    positive = (y + square(square(y)) * 0.25).add_diagonal(1.0)
    return multiply(factor, cholesky(positive, floor=0.25))


def fourth_order_flow(drift: Callable[[Symmetric], Symmetric], factor: Lower, h) -> Lower:
    """The flow of any drift: fourth order, and positive definite for every step `h`.

    The classical Runge–Kutta method in whitened coordinates, with `I + Y` replaced by
    `I + Y + Y⁸/4 ≻ 0.2 I`.
    """

    def move(y: Symmetric) -> Lower:
        positive = (y + square(square(square(y))) * 0.25).add_diagonal(1.0)
        return multiply(factor, cholesky(positive, floor=0.2))

    def velocity(stage: Lower) -> Symmetric:
        return whiten(factor, drift(gram(stage))) * h

    y1 = velocity(factor)
    y2 = velocity(move(y1 * 0.5))
    y3 = velocity(move(y2 * 0.5))
    y4 = velocity(move(y3))
    return move((y1 + (y2 + y3) * 2.0 + y4) * (1 / 6))


_State = TypeVar("_State")


def ssp_10_4(euler: Callable[[_State], _State], start: _State) -> _State:
    """Ten-stage strong-stability-preserving Runge–Kutta method of order 4.

    `euler` is a step of Euler's method over a sixth of the time. All that is done besides
    is to take convex combinations: what holds a convex set for such a step keeps it.

    Source: Ketcheson (2008), "Highly efficient strong stability-preserving Runge–Kutta
    methods with low-storage implementations".
    """

    def five_steps(now: _State) -> _State:
        return lax.fori_loop(0, 5, lambda _, now: euler(now), now)

    def combine(a: float, x: _State, b: float, y: _State) -> _State:
        return jax.tree.map(lambda x, y: a * x + b * y, x, y)

    middle = five_steps(start)
    kept = combine(1 / 25, start, 9 / 25, middle)
    end = five_steps(combine(3 / 5, start, 2 / 5, middle))
    return combine(1.0, kept, 3 / 5, end)


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
    within = within.as_invertible(False)

    # nothing of it is kept, which where it does not run would all be zeros
    @partial(jax.checkpoint, prevent_cse=False)
    def where_leaving() -> Lower:
        rows = 1 / jnp.sqrt(factor.squared_rows())
        scaled = drift.scale(rows)
        beyond = beyond_span(factor.scale_rows(rows), scaled)
        rounding = 1e3 * float(jnp.finfo(factor.dtype).eps) * scaled.largest()
        leaves = beyond > rounding
        return lax.cond(
            jnp.any(leaves),
            lambda: flow_of_v().where(leaves, within).as_invertible(False),
            lambda: within,
        )

    return lax.cond(jnp.any(factor.is_singular()), where_leaving, lambda: within)
