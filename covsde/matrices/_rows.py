"""Matrix kernels over whole rows, paths last: `(m, m, *batch)`.

A line of arithmetic is over a row or a column of all paths, so there are `m²` of them in a
product, not `m³`. A `Lower` has zeros above its diagonal, a `Symmetric` both halves.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from ._apart import materialise, recomputed
from ._entries import dot, entries_of, unstack
from ._triangles import mirror, stack_rows
from ._unrolled import less, less_one, multiply_square, multiply_transposed

__all__ = ["multiply_square", "multiply_transposed"]  # are the same


@recomputed
def multiply(m, a, b):
    """Lower × lower."""
    a, b = entries_of(a), unstack(b)
    return stack_rows(
        m,
        [dot(a[i][k][None] * b[k][: i + 1] for k in range(i + 1)) for i in range(m)],
    )


@recomputed
def _lower_of_product(m, a, b):
    a, b = entries_of(a), unstack(b)
    return stack_rows(
        m, [dot(a[i][k][None] * b[k][: i + 1] for k in range(m)) for i in range(m)]
    )


def multiply_symmetric(m, a, b):
    """Product of two commuting symmetric matrices (which is symmetric)."""
    return mirror(m, _lower_of_product(m, a, b))


@recomputed
def _lower_of_gram(m, a, b):
    """The lower half of A Bᵀ for lower B."""
    a, b = entries_of(a), unstack(jnp.swapaxes(b, 0, 1))
    return stack_rows(
        m,
        [dot(a[i][k][None] * b[k][: i + 1] for k in range(i + 1)) for i in range(m)],
    )


def gram(m, a):
    """Lower × its transpose."""
    return mirror(m, _lower_of_gram(m, a, a))


@recomputed
def multiply_lower_square(m, a, b):
    """Lower × a matrix of no special form."""
    a, b = entries_of(a), unstack(b)
    return jnp.stack([dot(a[i][k][None] * b[k] for k in range(i + 1)) for i in range(m)])


def congruence(m, a, s):
    """Lower × symmetric × transpose of lower."""
    return mirror(m, _lower_of_gram(m, multiply_lower_square(m, a, s), a))


@recomputed
def _inverse_pivots(m, a):
    return 1 / jnp.stack([a[i, i] for i in range(m)])


@recomputed
def _solved_row(i, a, b, inverse, y):
    return less(b[i], (a[i, k][None] * y[k] for k in range(i))) * inverse[i][None]


def _solved_rows(m, a, b, inverse) -> tuple[Array, ...]:
    """The rows of L⁻¹ B."""
    y: tuple[Array, ...] = ()
    for i in range(m):
        y = (*y, _solved_row(i, a, b, inverse, y))
    return y


def solve(m, a, b):
    """L⁻¹ B for `(m, columns, *batch)` arrays B."""
    return jnp.stack(_solved_rows(m, a, b, _inverse_pivots(m, a)))


@recomputed
def _of_columns(m, columns):
    """The lower matrix of its columns, each from the diagonal on."""
    zeros = jnp.zeros((m, *columns[0].shape[1:]), columns[0].dtype)
    full = [jnp.concatenate([zeros[:j], column]) for j, column in enumerate(columns)]
    return jnp.stack(full, 1)


def whiten(m, a, s):
    """L⁻¹ S L⁻ᵀ by two triangular solves."""
    inverse = _inverse_pivots(m, a)
    y = _solved_rows(m, a, s, inverse)
    # columns of Z = Y L⁻ᵀ, from the diagonal on
    z: tuple[Array, ...] = ()
    for j in range(m):
        z = (*z, _whitened_column(j, a, y[j:], inverse, z))
    return mirror(m, _of_columns(m, z))


@recomputed
def _whitened_column(j, a, y, inverse, z):
    column = jnp.stack([row[j] for row in y])
    return (
        less(column, (z[k][j - k :] * a[j, k][None] for k in range(j))) * inverse[j][None]
    )


def whiten_fourth_moment(m, a, r):
    """L⁻¹ (vvᵀ + 2 V∘V) L⁻ᵀ for V = R Rᵀ with diagonal v, as a sum of squares.

    With columns r_k of R it is wwᵀ + 2 Σ_kl z_kl z_klᵀ, z_kl = L⁻¹(r_k∘r_l), w = Σ_k z_kk.
    """
    products = _products_of_columns(m, r)
    z = jnp.stack(_solved_rows(m, a, products, _inverse_pivots(m, a)))
    return mirror(m, _lower_of_squares(m, materialise(z)))


@recomputed
def _products_of_columns(m, r):
    """`r_k∘r_l` of all pairs `k ≤ l`: `(m, pairs, *batch)`."""
    return jnp.concatenate([r[:, : l + 1] * r[:, l][:, None] for l in range(m)], axis=1)


@recomputed
def _lower_of_squares(m, z):
    """The lower half of `wwᵀ + 2 Σ_kl z_kl z_klᵀ`, from its `z` of pairs `k ≤ l`."""
    equal = [l * (l + 1) // 2 + l for l in range(m)]
    w = dot(z[:, p] for p in equal)
    rows = []
    for i in range(m):
        row = w[i][None] * w[: i + 1]
        for p in range(z.shape[1]):
            times = 2 if p in equal else 4
            row = row + times * z[i, p][None] * z[: i + 1, p]
        rows.append(row)
    return stack_rows(m, rows)


def divide_right(m, a, b):
    """A B⁻¹ for lower A and B."""
    inverse = _inverse_pivots(m, b)
    # columns from the last to the first, with the zeros above their diagonal
    out: tuple[Array, ...] = ()
    for j in reversed(range(m)):
        out = (_divided_column(j, a, b, inverse, out), *out)
    return jnp.stack(out, 1)


@recomputed
def _divided_column(j, a, b, inverse, later):
    terms = (c[j:] * b[j + 1 + k, j][None] for k, c in enumerate(later))
    column = less(a[j:, j], terms) * inverse[j][None]
    return jnp.concatenate([jnp.zeros_like(a[:j, j]), column])


def cholesky(m, s, pivot: Callable[[Array, Array], tuple[Array, Array]]):
    """Lower factor; `pivot(d, s_jj)` returns the root of pivot `d` and its inverse."""
    columns: tuple[Array, ...] = ()
    for j in range(m):
        columns = (*columns, _cholesky_column(j, s, columns, pivot))
    return _of_columns(m, columns)


@recomputed
def _cholesky_column(j, s, columns, pivot):
    """The column from its diagonal on, from those before it."""
    terms = (c[j - k :] * c[j - k][None] for k, c in enumerate(columns))
    value = materialise(less(s[j:, j], terms))
    root, inverse = pivot(value[0], s[j, j])
    return jnp.concatenate([root[None], value[1:] * inverse[None]])


def triangularise(m, a, floor):
    """L of A = L Q: Gram and Schmidt on the rows."""
    columns = []
    for _ in range(m):
        # the rows that are left, less what the directions before have taken
        along = materialise(dot(a[:, k] * a[0, k][None] for k in range(m)))
        root = jnp.maximum(jnp.sqrt(along[0]), floor)
        inverse = materialise(1 / root)
        columns.append(jnp.concatenate([root[None], along[1:] * inverse[None]]))
        share = along[1:] * (inverse**2)[None]
        a = materialise(a[1:] - share[:, None] * a[0][None])
    return _of_columns(m, tuple(columns))


def half_squared_distances(m, a):
    """½ |l_a − l_b|² between unit rows l, the first of which is e₁."""
    return mirror(m, _lower_of_distances(m, a))


@recomputed
def _lower_of_distances(m, a):
    entries, columns = entries_of(a), unstack(jnp.swapaxes(a, 0, 1))
    first = less_one(columns[0][1:], dot(column[1:] ** 2 for column in columns[1:]))
    columns[0] = jnp.concatenate([jnp.zeros_like(first[:1]), first])
    for i, now in enumerate(unstack(columns[0])):
        entries[i][0] = now

    def row(i: int) -> Array:
        apart = (entries[i][k][None] - columns[k][: i + 1] for k in range(i + 1))
        return 0.5 * dot(x**2 for x in apart)

    return stack_rows(m, [row(i) for i in range(m)])
