"""Triangles within whole matrices, paths last: `(m, m, *batch)`."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ._apart import recomputed
from ._entries import unstack


def stack_rows(m: int, rows: list[Array]) -> Array:
    """Rows of growing length as a matrix, filled up with zeros."""
    zeros = jnp.zeros((m, *rows[0].shape[1:]), rows[0].dtype)
    full = [jnp.concatenate([row, zeros[row.shape[0] :]]) for row in rows]
    return jnp.stack(full)


@recomputed
def mirror(m, low):
    """The symmetric matrix of this lower half."""
    rows = unstack(low)
    entries = [unstack(row) for row in rows]

    def row(i: int) -> Array:
        return jnp.concatenate([rows[i][: i + 1], *_below(entries, i)])

    return jnp.stack([row(i) for i in range(m)])


def _below(entries: list[list[Array]], i: int) -> list[Array]:
    """The column of an entry of the diagonal, below it, as rows of length one."""
    return [row[i][None] for row in entries[i + 1 :]]


@recomputed
def pack_pairs(m, s):
    """The entries below the diagonal, row by row: `(m(m−1)/2, *batch)`."""
    return jnp.concatenate([row[:i] for i, row in enumerate(unstack(s)) if i])


@recomputed
def multiply_pairs(m, rows):
    """`r_a r_b` of the pairs of a row vector: `(m(m−1)/2, *batch)`."""
    row = unstack(rows)
    return jnp.concatenate([row[i][None] * rows[:i] for i in range(1, m)])


@recomputed
def unpack_pairs(m, pairs):
    """The symmetric matrix of these entries below the diagonal, with zeros on it."""
    zero = jnp.zeros_like(pairs[:1])
    rows = [zero[:0], *lax.split(pairs, list(range(1, m)))]
    entries = [[], *(unstack(row) for row in rows[1:])]

    def row(i: int) -> Array:
        return jnp.concatenate([rows[i], zero, *_below(entries, i)])

    return jnp.stack([row(i) for i in range(m)])


@recomputed
def pack_lower(m, a):
    """The entries on and below the diagonal, row by row: `(m(m+1)/2, *batch)`."""
    return jnp.concatenate([row[: i + 1] for i, row in enumerate(unstack(a))])


@recomputed
def unpack_lower(m, entries):
    """The lower matrix of its entries, row by row: `(m(m+1)/2, *batch)`."""
    return stack_rows(m, list(lax.split(entries, list(range(1, m + 1)))))
