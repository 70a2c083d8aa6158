"""Matrix kernels on whole matrices, paths first: `(*batch, m, m)`, by BLAS and LAPACK."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array

from ._apart import apart, materialise, recomputed
from ._entries import dot
from ._unrolled import less, less_one

_ROWS = 8  # in one block
_COLUMNS = 16  # in one pass over the entries


def _t(a):
    return jnp.swapaxes(a, -1, -2)


def multiply(m, a, b):
    """Lower × lower."""
    return a @ b


def multiply_symmetric(m, a, b):
    """Product of two commuting symmetric matrices (which is symmetric)."""
    return a @ b


def multiply_square(m, a, b):
    """A B."""
    return a @ b


multiply_lower_square = multiply_square


def multiply_transposed(m, a, b):
    """Aᵀ B."""
    return _t(a) @ b


def gram(m, a):
    """Lower × its transpose."""
    return a @ _t(a)


def _symmetrise(s):
    return 0.5 * (s + _t(s))


def congruence(m, a, s):
    """Lower × symmetric × transpose of lower."""
    return _symmetrise(a @ s @ _t(a))


def whiten(m, a, s):
    """L⁻¹ S L⁻ᵀ by two triangular solves."""
    return _symmetrise(solve(m, a, _t(solve(m, a, s))))


def solve(m, a, b):
    """L⁻¹ B.

    Row after row, of all paths, and what was solved for is taken off by blocks: LAPACK's
    calls, one for each path, take longer than what they do. It has them backwards, for
    these need no more to be compiled.
    """
    return lax.custom_linear_solve(
        lambda x: jnp.tril(a) @ x,
        b,
        lambda _, b: _solved(m, a, b),
        lambda _, b: solve_triangular(a, b, trans=1, lower=True),
    )


def _solved(m, a, b):
    done = b[..., :0, :]
    for rows in _blocks(m):
        right = b[..., rows, :] - a[..., rows, : rows.start] @ done
        solved = _solved_block(a[..., rows, rows], right)
        done = jnp.concatenate([done, solved], axis=-2)
    return done


def _blocks(m: int) -> list[slice]:
    """Rows in blocks of almost the same size."""
    size = -(-m // -(-m // _ROWS))
    return [slice(first, min(first + size, m)) for first in range(0, m, size)]


@apart
def _solved_block(a, b):
    inverse = 1 / jnp.diagonal(a, axis1=-2, axis2=-1)
    y: tuple[Array, ...] = ()
    for i in range(a.shape[-1]):
        y = (*y, _solved_row(i, a, b, inverse, y))
    return jnp.stack(y, axis=-2)


@apart
def _solved_row(i, a, b, inverse, y):
    terms = (a[..., i, k, None] * row for k, row in enumerate(y))
    return less(b[..., i, :], terms) * inverse[..., i, None]


def whiten_fourth_moment(m, a, r):
    """L⁻¹ (vvᵀ + 2 V∘V) L⁻ᵀ for V = R Rᵀ with diagonal v."""
    v = r @ _t(r)
    rows = jnp.diagonal(v, axis1=-2, axis2=-1)
    return whiten(m, a, rows[..., :, None] * rows[..., None, :] + 2 * v**2)


def divide_right(m, a, b):
    """A B⁻¹ for lower A and B."""
    return jnp.tril(_t(solve_triangular(b, _t(a), trans=1, lower=True)))


def cholesky(m, s, pivot: Callable[[Array, Array], tuple[Array, Array]]):
    """Lower factor; `pivot(d, s_jj)` returns the root of pivot `d` and its inverse.

    Column by column, so that a small or zero pivot can be treated: O(m) steps of one
    matrix-vector product each.
    """
    original = jnp.diagonal(s, axis1=-2, axis2=-1)
    rows = jnp.arange(m).reshape((1,) * (s.ndim - 2) + (m,))

    def column(factor, j):
        row = factor[..., j, :]
        value = s[..., :, j] - jnp.sum(factor * row[..., None, :], axis=-1)
        root, inverse = pivot(value[..., j], original[..., j])
        below = jnp.where(rows > j, value * inverse[..., None], 0.0)
        new = jnp.where(rows == j, root[..., None], below)
        return factor.at[..., :, j].set(new), None

    return lax.scan(column, jnp.zeros_like(s), jnp.arange(m))[0]


def cholesky_lapack(s):
    """Lower factor of positive-definite matrices; NaN where they are not."""
    return jnp.linalg.cholesky(s, symmetrize_input=False)


def triangularise(m, a, floor):
    """L of A = L Q, by LAPACK's QR of the transpose."""
    lower = _t(jnp.linalg.qr(_t(a), mode="r"))
    pivots = jnp.diagonal(lower, axis1=-2, axis2=-1)
    sizes = jnp.maximum(jnp.abs(pivots), floor[..., None])
    lower = lower * jnp.where(pivots < 0, -1.0, 1.0)[..., None, :]
    diagonal = jnp.broadcast_to(jnp.eye(m, dtype=bool), lower.shape)
    return jnp.where(diagonal, sizes[..., None, :], lower)


def half_squared_distances(m, a):
    """½ |l_a − l_b|² between unit rows l, the first of which is e₁."""
    first = less_one(a[..., 0], jnp.sum(a[..., 1:] ** 2, axis=-1))
    a = a.at[..., 0].set(first.at[..., 0].set(0))
    # of columns that lie in one piece a kernel is vectorised along the other row
    columns = materialise(_t(a))
    groups = -(-m // _COLUMNS)
    size = -(-m // groups)
    if groups == 1:
        return _squares(columns) * 0.5
    rest = [(0, 0)] * (a.ndim - 2) + [(0, groups * size - m), (0, 0)]
    by_group = jnp.pad(columns, rest).reshape(*a.shape[:-2], groups, size, m)

    def add(total, some):
        return _squares(some, total), None

    total = lax.scan(add, jnp.zeros_like(a), jnp.moveaxis(by_group, -3, 0))[0]
    return total * 0.5


@recomputed
def _squares(columns, total=None):
    """The sum of `(x_a − x_b)²` over columns `x`, and of a total before."""
    each = (columns[..., k, :] for k in range(columns.shape[-2]))
    squares = dot((x[..., :, None] - x[..., None, :]) ** 2 for x in each)
    return squares if total is None else total + squares
