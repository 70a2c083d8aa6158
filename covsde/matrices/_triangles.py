"""Triangles within whole matrices, paths last: `(m, m, *batch)`."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._apart import apart


def stack_rows(m: int, rows: list[Array]) -> Array:
    """Rows of growing length as a matrix, filled up with zeros."""
    zeros = jnp.zeros((m, *rows[0].shape[1:]), rows[0].dtype)
    full = [jnp.concatenate([row, zeros[row.shape[0] :]]) for row in rows]
    return jnp.stack(full)


@apart
def mirror(m, low):
    """The symmetric matrix of this lower half, from a matrix with zeros above it."""
    strict = jnp.asarray(np.tril(np.ones((m, m)), -1), low.dtype)
    strict = strict.reshape(m, m, *(1,) * (low.ndim - 2))
    return low + jnp.swapaxes(low * strict, 0, 1)


@apart
def pack_pairs(m, s):
    """The entries below the diagonal, row by row: `(m(m−1)/2, *batch)`."""
    return jnp.concatenate([s[i, :i] for i in range(1, m)])


@apart
def _unpack_pairs(m, pairs):
    starts = [i * (i - 1) // 2 for i in range(m + 1)]
    return stack_rows(m, [pairs[starts[i] : starts[i + 1]] for i in range(m)])


def unpack_pairs(m, pairs):
    """The symmetric matrix of these entries below the diagonal, with zeros on it."""
    return mirror(m, _unpack_pairs(m, pairs))


@apart
def pack_lower(m, a):
    """The entries on and below the diagonal, row by row: `(m(m+1)/2, *batch)`."""
    return jnp.concatenate([a[i, : i + 1] for i in range(m)])


@apart
def unpack_lower(m, entries):
    """The lower matrix of its entries, row by row: `(m(m+1)/2, *batch)`."""
    starts = [i * (i + 1) // 2 for i in range(m + 1)]
    return stack_rows(m, [entries[starts[i] : starts[i + 1]] for i in range(m)])
