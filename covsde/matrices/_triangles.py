"""Triangles within whole matrices, paths last: `(m, m, *batch)`."""

import jax.numpy as jnp
from jaxtyping import Array

from ._apart import recomputed


def stack_rows(m: int, rows: list[Array]) -> Array:
    """Rows of growing length as a matrix, filled up with zeros."""
    zeros = jnp.zeros((m, *rows[0].shape[1:]), rows[0].dtype)
    full = [jnp.concatenate([row, zeros[row.shape[0] :]]) for row in rows]
    return jnp.stack(full)


@recomputed
def mirror(m, low):
    """The symmetric matrix of this lower half."""
    return jnp.stack(
        [jnp.concatenate([low[i, : i + 1], low[i + 1 :, i]]) for i in range(m)]
    )


@recomputed
def pack_pairs(m, s):
    """The entries below the diagonal, row by row: `(m(m−1)/2, *batch)`."""
    return jnp.concatenate([s[i, :i] for i in range(1, m)])


@recomputed
def multiply_pairs(m, rows):
    """`r_a r_b` of the pairs of a row vector: `(m(m−1)/2, *batch)`."""
    return jnp.concatenate([rows[i][None] * rows[:i] for i in range(1, m)])


@recomputed
def unpack_pairs(m, pairs):
    """The symmetric matrix of these entries below the diagonal, with zeros on it."""
    zero = jnp.zeros_like(pairs[:1])

    def row(i: int) -> Array:
        first = i * (i - 1) // 2
        beyond = (pairs[k * (k - 1) // 2 + i][None] for k in range(i + 1, m))
        return jnp.concatenate([pairs[first : first + i], zero, *beyond])

    return jnp.stack([row(i) for i in range(m)])


@recomputed
def pack_lower(m, a):
    """The entries on and below the diagonal, row by row: `(m(m+1)/2, *batch)`."""
    return jnp.concatenate([a[i, : i + 1] for i in range(m)])


@recomputed
def unpack_lower(m, entries):
    """The lower matrix of its entries, row by row: `(m(m+1)/2, *batch)`."""
    starts = [i * (i + 1) // 2 for i in range(m + 1)]
    return stack_rows(m, [entries[starts[i] : starts[i + 1]] for i in range(m)])
