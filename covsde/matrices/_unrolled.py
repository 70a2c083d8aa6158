"""Matrix kernels unrolled over the entries of packed triangles, paths last.

A kernel takes and returns `(D, *batch)` arrays. Each line of arithmetic is over all paths.
"""

import functools
import operator
from collections.abc import Callable, Iterable

import jax.numpy as jnp
from jaxtyping import Array

from ._apart import recomputed
from ._entries import add_up, dot, stack, unstack
from ._layout import entry_indices


def _at(i: int, j: int) -> int:
    return i * (i + 1) // 2 + j


def _sym(a, i: int, j: int) -> Array:
    return a[_at(max(i, j), min(i, j))]


def _build(m: int, entry: Callable[[int, int], Array]) -> Array:
    rows, columns = entry_indices(m)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return stack([entry(i, j) for i, j in pairs])


def less(value: Array, terms: Iterable[Array]) -> Array:
    """The value less the terms."""
    return functools.reduce(operator.sub, terms, value)


def less_one(x: Array, beyond: Array) -> Array:
    """`x − 1` for `x² + beyond = 1`, to full relative accuracy."""
    return jnp.where(x > 0, -beyond / (1 + jnp.maximum(x, 0)), x - 1)


def _inverse_pivots(m, a) -> list[Array]:
    """`1/L_ii`: a division takes as long as ten products."""
    return [1 / a[_at(i, i)] for i in range(m)]


@recomputed
def multiply(m, a, b):
    """Lower × lower."""
    a, b = unstack(a), unstack(b)
    return _build(m, lambda i, j: dot(a[_at(i, k)] * b[_at(k, j)] for k in range(j, i + 1)))


@recomputed
def multiply_symmetric(m, a, b):
    """Product of two commuting symmetric matrices (which is symmetric)."""
    a, b = unstack(a), unstack(b)
    return _build(m, lambda i, j: dot(_sym(a, i, k) * _sym(b, k, j) for k in range(m)))


@recomputed
def multiply_square(m, a, b):
    """A B for `(m, m, *batch)` arrays: a sum of outer products, one line each."""
    return dot(a[:, k][:, None] * b[k][None] for k in range(m))


@recomputed
def multiply_transposed(m, a, b):
    """Aᵀ B for `(m, m, *batch)` arrays A and B."""
    return dot(a[k][:, None] * b[k][None] for k in range(m))


@recomputed
def multiply_lower_square(m, a, b):
    """L B for `(m, m, *batch)` arrays B."""
    a = unstack(a)
    rows = [dot(a[_at(i, k)][None] * b[k] for k in range(i + 1)) for i in range(m)]
    return jnp.stack(rows)


@recomputed
def gram(m, a):
    """Lower × its transpose."""
    a = unstack(a)
    return _build(m, lambda i, j: dot(a[_at(i, k)] * a[_at(j, k)] for k in range(j + 1)))


@recomputed
def congruence(m, a, s):
    """Lower × symmetric × transpose of lower."""
    a, s = unstack(a), unstack(s)
    # rows of (L S), kept whole: they are used in every entry of the product
    left = unstack(
        _build(m, lambda i, j: dot(a[_at(i, k)] * _sym(s, k, j) for k in range(i + 1)))
    )
    # (L S Lᵀ)_ij needs (L S)_il for l ≤ j ≤ i only
    return _build(m, lambda i, j: dot(left[_at(i, k)] * a[_at(j, k)] for k in range(j + 1)))


@recomputed
def whiten(m, a, s):
    """L⁻¹ S L⁻ᵀ by two triangular solves."""
    a, s = unstack(a), unstack(s)
    inverse = _inverse_pivots(m, a)
    # Y = L⁻¹ S has columns; the lower triangle of Z = Y L⁻ᵀ needs all of Y's lower part.
    y: dict[tuple[int, int], Array] = {}
    for j in range(m):
        for i in range(m):
            value = _sym(s, i, j)
            for k in range(i):
                value = value - a[_at(i, k)] * y[k, j]
            y[i, j] = value * inverse[i]
    # Z Lᵀ = Y: Z_ij = (Y_ij − Σ_{k<j} Z_ik L_jk) / L_jj
    z: dict[tuple[int, int], Array] = {}
    for i in range(m):
        for j in range(i + 1):
            value = y[i, j]
            for k in range(j):
                value = value - z[i, k] * a[_at(j, k)]
            z[i, j] = value * inverse[j]
    return _build(m, lambda i, j: z[i, j])


def solve(m, a, b):
    """L⁻¹ B for `(m, columns, *batch)` arrays B."""
    a, y = unstack(a), []
    inverse = _inverse_pivots(m, a)
    for i in range(m):
        value = b[i]
        for k in range(i):
            value = value - a[_at(i, k)][None] * y[k]
        y.append(value * inverse[i][None])
    return jnp.stack(y)


@recomputed
def whiten_fourth_moment(m, a, r):
    """L⁻¹ (vvᵀ + 2 V∘V) L⁻ᵀ for V = R Rᵀ with diagonal v, as a sum of squares.

    With columns r_k of R it is wwᵀ + 2 Σ_kl z_kl z_klᵀ, z_kl = L⁻¹(r_k∘r_l), w = Σ_k z_kk.
    """
    a, r = unstack(a), unstack(r)
    inverse = _inverse_pivots(m, a)
    z: dict[tuple[int, int, int], Array] = {}
    for l in range(m):
        for k in range(l + 1):
            for i in range(l, m):
                value = r[_at(i, k)] * r[_at(i, l)]
                for j in range(l, i):
                    value = value - a[_at(i, j)] * z[k, l, j]
                z[k, l, i] = value * inverse[i]
    w = [dot(z[k, k, i] for k in range(i + 1)) for i in range(m)]

    def entry(i: int, j: int) -> Array:
        equal = dot(z[k, k, i] * z[k, k, j] for k in range(j + 1))
        total = w[i] * w[j] + 2 * equal
        pairs = [(k, l) for l in range(j + 1) for k in range(l)]
        if pairs:
            total = total + 4 * dot(z[k, l, i] * z[k, l, j] for k, l in pairs)
        return total

    return _build(m, entry)


@recomputed
def divide_right(m, a, b):
    """A B⁻¹ for lower A and B."""
    a, b = unstack(a), unstack(b)
    inverse = _inverse_pivots(m, b)
    out: dict[tuple[int, int], Array] = {}
    for i in range(m):
        for j in reversed(range(i + 1)):
            value = a[_at(i, j)]
            for k in range(j + 1, i + 1):
                value = value - out[i, k] * b[_at(k, j)]
            out[i, j] = value * inverse[j]
    return _build(m, lambda i, j: out[i, j])


@recomputed
def cholesky(m, s, pivot: Callable[[Array, Array], tuple[Array, Array]]):
    """Lower factor; `pivot(d, s_jj)` returns the root of pivot `d` and its inverse."""
    s = unstack(s)
    out: dict[tuple[int, int], Array] = {}
    for j in range(m):
        d = s[_at(j, j)]
        for k in range(j):
            d = d - out[j, k] ** 2
        out[j, j], inverse = pivot(d, s[_at(j, j)])
        for i in range(j + 1, m):
            value = s[_at(i, j)]
            for k in range(j):
                value = value - out[i, k] * out[j, k]
            out[i, j] = value * inverse
    return _build(m, lambda i, j: out[i, j])


def triangularise(m, a, floor):
    """L of A = L Q, for `(m, m, *batch)` arrays: Gram and Schmidt on the rows."""
    out: dict[tuple[int, int], Array] = {}
    for j in range(m):
        # the rows from j on, less what the directions before have taken
        root = jnp.maximum(jnp.sqrt(add_up(a[0] ** 2)), floor)
        direction = (a[0] * (1 / root)[None])[None]
        out[j, j] = root
        along = add_up(a[1:] * direction, axis=1)
        for i in range(j + 1, m):
            out[i, j] = along[i - j - 1]
        a = a[1:] - along[:, None] * direction
    return _build(m, lambda i, j: out[i, j])


@recomputed
def half_squared_distances(m, a):
    """½ |l_a − l_b|² between unit rows l, the first of which is e₁."""
    a = unstack(a)
    for i in range(1, m):
        beyond = dot(a[_at(i, k)] ** 2 for k in range(1, i + 1))
        a[_at(i, 0)] = less_one(a[_at(i, 0)], beyond)
    a[0] = jnp.zeros_like(a[0])

    def entry(i: int, j: int) -> Array:
        if i == j:
            return jnp.zeros_like(a[0])
        below = dot((a[_at(i, k)] - a[_at(j, k)]) ** 2 for k in range(j + 1))
        beyond = dot(a[_at(i, k)] ** 2 for k in range(j + 1, i + 1))
        return 0.5 * (below + beyond)

    return _build(m, entry)
