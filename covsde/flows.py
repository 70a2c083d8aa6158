"""Structure-preserving flows: how a drift moves the factor without leaving the cone.

A flow takes a factor `L` of `V = L Lᵀ` over a time `h` of `dV = b(V) dt` and returns a
factor of the new `V`. It moves `L` by right multiplication, `L ← L chol(I + Y)`, with
`Y = h L⁻¹ b L⁻ᵀ` the *whitened* drift, so that small eigenvalues of `V` keep their
relative accuracy. Where `V + hb` is no covariance, or `V` so close to singular that
whitening loses it, `V` itself is moved, to the nearest covariance.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .matrices import (
    SINGULAR_PIVOT,
    Lower,
    Symmetric,
    apart,
    beyond_span,
    cholesky,
    gram,
    materialise,
    multiply,
    positive_part,
    semidefinite_cholesky,
    whiten_within,
)

# Share of `V` that a flow leaves, in every direction, where its step is too long for it.
_LEAST = 1 / 16

# Growth of V within one flow that counts as an explosion
EXPLOSION = 1e6


def positive_definite_flow(
    drift: Callable[[Symmetric], Symmetric], factor: Lower, h
) -> Lower:
    """The flow of any drift: second order, and positive definite for every step `h`.

    Heun's method for `V`: where its stage and its end are covariances nothing is added to
    them, so the mean of `V` under a drift linear in it is Heun's. Elsewhere they are
    replaced by the nearest, to which it is no farther than the method's own error: at a
    boundary along which the drift moves `V`, `V + hb` is O(h²) outside.

    A drift that points out of the cone, where the stage has reached its boundary, has no
    flow: those paths become NaN.
    """
    v = gram(factor)
    k1 = drift(v)
    k2, lost = _ahead(drift, factor, v, k1, h)
    return _moved(factor, v, (k1 + k2) * (0.5 * h), lost)


def fourth_order_flow(drift: Callable[[Symmetric], Symmetric], factor: Lower, h) -> Lower:
    """The flow of any drift: fourth order, and positive definite for every step `h`.

    The classical Runge–Kutta method for `V`, with the stages and the end of
    `positive_definite_flow`.
    """
    v = gram(factor)
    k1 = drift(v)
    k2, lost2 = _ahead(drift, factor, v, k1, 0.5 * h)
    k3, lost3 = _ahead(drift, factor, v, k2, 0.5 * h)
    k4, lost4 = _ahead(drift, factor, v, k3, h)
    mean = (k1 + (k2 + k3) * 2.0 + k4) * (1 / 6)
    return _moved(factor, v, mean * h, lost2 | lost3 | lost4)


def _ahead(
    drift: Callable[[Symmetric], Symmetric], factor: Lower, v: Symmetric, k: Symmetric, h
) -> tuple[Symmetric, Array]:
    """`b` at `V + hk`, or at the nearest covariance, and whether it points out there.

    What was added is normal to the cone's boundary, so that `tr(bN)` is not negative for a
    drift that keeps to the cone.
    """
    change = k * h
    within, leaves = _within(factor, change)
    stage, rows = gram(within), _unit_rows(v, change)

    @_not_kept
    def nearest() -> tuple[Symmetric, Symmetric]:
        near, added = _nearest(factor, v, change, rows, 0.0)
        return near.scale(1 / rows).where(leaves, stage), added.where(leaves, added * 0.0)

    stage, added = lax.cond(jnp.any(leaves), nearest, lambda: (stage, stage * 0.0))
    b = drift(stage)
    inwards = b.scale(rows).inner(added)
    size = jnp.maximum(b.scale(rows).largest(), k.scale(rows).largest())
    rounding = float(jnp.finfo(v.dtype).eps) ** 0.5
    return b, inwards < -rounding * size * added.largest()


def _moved(factor: Lower, v: Symmetric, change: Symmetric, lost: Array) -> Lower:
    """The factor of `V + change`, or of the nearest covariance; NaN where it is lost."""
    within, leaves = _within(factor, change)

    @_not_kept
    def nearest() -> Lower:
        rows = _unit_rows(v, change)
        near, _ = _nearest(factor, v, change, rows, _LEAST)
        regular = factor.invertible
        root = (
            cholesky(near, floor=_rounding(v)) if regular else semidefinite_cholesky(near)
        )
        return root.as_invertible(regular).scale_rows(1 / rows).where(leaves, within)

    moved = lax.cond(jnp.any(leaves), nearest, lambda: within)
    nothing = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), moved)
    return nothing.where(lost, moved)


# nothing of it is kept, which where it does not run would all be zeros
_not_kept = partial(jax.checkpoint, prevent_cse=False)


@apart
def _within(factor: Lower, change: Symmetric) -> tuple[Lower, Array]:
    """The factor of `V + change`, and the paths where this, whitened, is not one.

    It may be no covariance, or next to none; leave the span of a singular `V`; or leave
    that of an almost singular one so far that rounding decides.
    """
    y = whiten_within(factor, change)
    root = cholesky(y.add_diagonal(1.0), floor=_LEAST)
    held = factor.any_row(root.diagonal() ** 2 <= _LEAST * (1 + 1e-6))
    far = y.largest() > float(jnp.finfo(factor.dtype).eps) ** -0.5
    return multiply(factor, root), held | far | leaves_span(factor, change)


def _unit_rows(v: Symmetric, change: Symmetric) -> Array:
    """What scales `V`, and `V + change`, to variances of about 1."""
    return 1 / jnp.sqrt(v.diagonal() + jnp.abs(change.diagonal()))


@apart
def _nearest(
    factor: Lower, v: Symmetric, change: Symmetric, rows: Array, least: float
) -> tuple[Symmetric, Symmetric]:
    """The nearest to `V + change` of all that is at least `least V`, and what it adds.

    Both with their rows scaled, in which it is the nearest. Nothing is said to be added
    where that is rounding.
    """
    bound = (v * least).scale(rows)
    if factor.invertible:
        bound = bound.add_diagonal(2 * _rounding(v))
    beyond = (v + change).scale(rows) - bound
    above = positive_part(beyond)
    added = above - beyond
    added = added.where(added.largest() > 8 * _rounding(v), added * 0.0)
    return above + bound, added


def _rounding(v: Symmetric) -> float:
    """A pivot of a correlation matrix that is as good as zero."""
    return SINGULAR_PIVOT * v.m * float(jnp.finfo(v.dtype).eps)


def unexploded(moved: Lower, factor: Lower) -> Lower:
    """`moved`, NaN where `tr V` has grown beyond the scale of all that is known.

    What acts after it would make of a number without meaning one that looks sound.
    """

    def trace(factor: Lower) -> Array:
        return factor.sum_rows(factor.squared_rows())

    bounded = trace(moved) < EXPLOSION * trace(factor)
    return moved * materialise(jnp.where(bounded, 1.0, jnp.nan))


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


def leaves_span(factor: Lower, drift: Symmetric) -> Array:
    """The paths whose drift leaves the span of a singular `V`.

    Equal inputs stay equal, so their drift keeps to it; more inputs than features do not.
    """
    nowhere = jnp.zeros(factor.batch, bool)
    if factor.invertible:
        return nowhere

    @_not_kept
    def leaves() -> Array:
        rows = 1 / jnp.sqrt(factor.squared_rows())
        scaled = drift.scale(rows)
        beyond = beyond_span(factor.scale_rows(rows), scaled)
        rounding = 1e3 * float(jnp.finfo(factor.dtype).eps) * scaled.largest()
        return beyond > rounding

    return lax.cond(jnp.any(factor.is_singular()), leaves, lambda: nowhere)


def where_leaving_span(
    factor: Lower,
    drift: Symmetric,
    within: Lower,
    flow_of_v: Callable[[], Lower],
) -> Lower:
    """`within`, except on paths whose drift leaves the span of a singular `V`.

    Whitening knows only the span. Beyond it `flow_of_v` is needed, a flow of `V` itself.
    It is accurate only absolutely, and runs only when some path needs it.
    """
    if factor.invertible:
        return within
    within = within.as_invertible(False)
    leaves = leaves_span(factor, drift)

    @_not_kept
    def moved() -> Lower:
        return flow_of_v().where(leaves, within).as_invertible(False)

    return lax.cond(jnp.any(leaves), moved, lambda: within)
