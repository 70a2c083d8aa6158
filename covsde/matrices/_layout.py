"""Memory layout of batches of symmetric and of lower-triangular matrices.

Up to `UNROLLED_MAX` rows the `m(m+1)/2` entries of the lower triangle are stored
packed, row by row, with the paths as the *last* axis: `(D, *batch)`. Every entry is
then one long vector over the paths. Above it, matrices are stored whole with the paths
first, `(*batch, m, m)`, for LAPACK. `benchmarks/crossover.py` measures where the two meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

UNROLLED_MAX = 8

_T = TypeVar("_T", bound="_Triangle")


def num_entries(m: int) -> int:
    """Number of independent entries of an m×m symmetric or triangular matrix."""
    return m * (m + 1) // 2


def layout_shape(m: int, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the array that stores a `batch` of m×m matrices."""
    return (num_entries(m), *batch) if m <= UNROLLED_MAX else (*batch, m, m)


def entry_indices(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each packed entry."""
    return np.tril_indices(m)


def materialise(x: Array) -> Array:
    """`x`, computed once and kept in memory.

    XLA on CPU recomputes a cheap expression in every consumer it is fused into, which
    makes chains of unrolled products quadratic. It never duplicates a division: dividing
    by a 1 that only the run can know cuts the chain (2–3 times faster from m = 4 on).
    """
    probe = lax.stop_gradient(x.ravel()[0])
    one = 1 - jnp.minimum((probe > 0).astype(x.dtype), 0)
    return x / one


class _Triangle(eqx.Module):
    """A batch of m×m matrices determined by their lower triangle."""

    data: Array
    m: int = eqx.field(static=True)

    @property
    def packed(self) -> bool:
        return self.m <= UNROLLED_MAX

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch: `()` for one matrix, `(num_paths,)` for an ensemble."""
        return self.data.shape[1:] if self.packed else self.data.shape[:-2]

    @property
    def dtype(self):
        return self.data.dtype

    # Elementwise algebra. `other` is of the same kind, or a number, or one per path.

    def _aligned(self, other) -> Array | float:
        if isinstance(other, _Triangle):
            return other.data
        if jnp.ndim(other) == 0:
            return other
        return other[None] if self.packed else other[..., None, None]

    def _with(self: _T, data: Array) -> _T:
        return type(self)(data, self.m)

    def __add__(self: _T, other: _T) -> _T:
        return self._with(self.data + other.data)

    def __sub__(self: _T, other: _T) -> _T:
        return self._with(self.data - other.data)

    def __mul__(self: _T, other) -> _T:
        return self._with(self.data * self._aligned(other))

    __rmul__ = __mul__

    def where(self: _T, condition: Array, otherwise: _T) -> _T:
        """This matrix for the paths where `condition` (batch) holds, else the other."""
        return self._with(
            jnp.where(self._aligned(condition), self.data, otherwise.data)
        )

    def diagonal(self) -> Array:
        """Diagonal entries: a *row vector* per path, `(m, *batch)` or `(*batch, m)`."""
        if self.packed:
            rows, columns = entry_indices(self.m)
            return self.data[np.flatnonzero(rows == columns)]
        return jnp.diagonal(self.data, axis1=-2, axis2=-1)

    def row_axis(self) -> int:
        """The axis of a row vector (as `diagonal` returns it) that counts the rows."""
        return 0 if self.packed else -1

    def trace(self) -> Array:
        """Trace, one per path: `batch`."""
        return jnp.sum(self.diagonal(), axis=self.row_axis())

    def add_diagonal(self: _T, rows: Array | float) -> _T:
        """Adds a row vector, or one number, to the diagonal."""
        return self + type(self).from_diagonal(
            jnp.broadcast_to(rows, jnp.shape(self.diagonal())), self.m
        )

    @classmethod
    def from_diagonal(cls: type[_T], rows: Array, m: int) -> _T:
        """Diagonal matrices from row vectors."""
        if m <= UNROLLED_MAX:
            row, column = entry_indices(m)
            zero = jnp.zeros_like(rows[0])
            entries = [
                rows[i] if i == j else zero for i, j in zip(row, column, strict=True)
            ]
            return cls(jnp.stack(entries), m)
        eye = jnp.eye(m, dtype=rows.dtype).reshape((1,) * (rows.ndim - 1) + (m, m))
        return cls(rows[..., None] * eye, m)

    @classmethod
    def identity(cls: type[_T], m: int, batch: tuple[int, ...] = (), dtype=None) -> _T:
        """Identity matrices."""
        shape = (m, *batch) if m <= UNROLLED_MAX else (*batch, m)
        return cls.from_diagonal(jnp.ones(shape, dtype), m)


class Symmetric(_Triangle):
    """A batch of symmetric m×m matrices."""

    @classmethod
    def from_dense(cls, v: Float[Array, "*batch m m"]) -> Symmetric:
        """Packs symmetric matrices; reads the lower triangle."""
        m = v.shape[-1]
        if m <= UNROLLED_MAX:
            rows, columns = entry_indices(m)
            return cls(jnp.moveaxis(v[..., rows, columns], -1, 0), m)
        return cls(v, m)

    def to_dense(self) -> Float[Array, "*batch m m"]:
        """The matrices as an ordinary array, batch first."""
        if not self.packed:
            return self.data
        rows, columns = entry_indices(self.m)
        index = np.zeros((self.m, self.m), int)
        index[rows, columns] = index[columns, rows] = np.arange(len(rows))
        return jnp.moveaxis(self.data[index], (0, 1), (-2, -1))

    def pairwise(self, fn: Callable[..., Array], *others: Symmetric) -> Symmetric:
        """Entries `fn(v_aa, v_bb, v_ab, *others_ab)`, elementwise over all pairs."""
        diagonal = self.diagonal()
        if self.packed:
            rows, columns = entry_indices(self.m)
            v_aa, v_bb = diagonal[rows], diagonal[columns]
        else:
            v_aa, v_bb = diagonal[..., :, None], diagonal[..., None, :]
            v_aa, v_bb = jnp.broadcast_arrays(v_aa, v_bb)
        return Symmetric(fn(v_aa, v_bb, self.data, *(o.data for o in others)), self.m)

    def scale(self, rows: Array) -> Symmetric:
        """`diag(rows) S diag(rows)`."""
        if self.packed:
            i, j = entry_indices(self.m)
            return Symmetric(self.data * (rows[i] * rows[j]), self.m)
        return Symmetric(self.data * (rows[..., :, None] * rows[..., None, :]), self.m)

    def map_dense(self, fn: Callable[[Array], Array]) -> Symmetric:
        """Applies a function of *one* dense m×m matrix to every matrix of the batch."""
        for _ in self.batch:
            fn = jax.vmap(fn)
        return Symmetric.from_dense(fn(self.to_dense()))


class Lower(_Triangle):
    """A batch of lower-triangular m×m matrices; a factor `L` of `V = L Lᵀ`."""

    @classmethod
    def from_dense(cls, factor: Float[Array, "*batch m m"]) -> Lower:
        """Packs lower-triangular matrices; entries above the diagonal are ignored."""
        m = factor.shape[-1]
        if m <= UNROLLED_MAX:
            rows, columns = entry_indices(m)
            return cls(jnp.moveaxis(factor[..., rows, columns], -1, 0), m)
        return cls(jnp.tril(factor), m)

    def to_dense(self) -> Float[Array, "*batch m m"]:
        """The matrices as an ordinary array, batch first."""
        if not self.packed:
            return self.data
        rows, columns = entry_indices(self.m)
        dense = jnp.zeros((self.m, self.m, *self.batch), self.dtype)
        dense = dense.at[rows, columns].set(self.data)
        return jnp.moveaxis(dense, (0, 1), (-2, -1))

    def scale_rows(self, rows: Array) -> Lower:
        """`diag(rows) L`."""
        if self.packed:
            return Lower(self.data * rows[entry_indices(self.m)[0]], self.m)
        return Lower(self.data * rows[..., :, None], self.m)

    def scale_columns(self, rows: Array) -> Lower:
        """`L diag(rows)`."""
        if self.packed:
            return Lower(self.data * rows[entry_indices(self.m)[1]], self.m)
        return Lower(self.data * rows[..., None, :], self.m)

    def strict(self) -> Lower:
        """The part strictly below the diagonal."""
        return self.scale_diagonal(0.0)

    def scale_diagonal(self, number: float) -> Lower:
        """`L` with its diagonal entries multiplied by `number`."""
        if self.packed:
            rows, columns = entry_indices(self.m)
            weights = np.where(rows == columns, number, 1.0)
            weights = weights.reshape(-1, *(1,) * len(self.batch))
        else:
            weights = np.where(np.eye(self.m), number, np.tri(self.m))
            weights = weights.reshape(*(1,) * len(self.batch), self.m, self.m)
        return Lower(self.data * jnp.asarray(weights, self.dtype), self.m)

    def symmetrise(self, diagonal: float) -> Symmetric:
        """The symmetric matrix of these lower entries, diagonal times `diagonal`."""
        scaled = self.scale_diagonal(diagonal)
        if self.packed:
            return Symmetric(scaled.data, self.m)
        below = self.strict().data
        return Symmetric(scaled.data + jnp.swapaxes(below, -1, -2), self.m)

    def squared_rows(self) -> Array:
        """Squared norm of each row, the diagonal of `L Lᵀ`, as a row vector."""
        if not self.packed:
            return jnp.sum(self.data**2, axis=-1)
        rows, _ = entry_indices(self.m)
        return jnp.stack(
            [jnp.sum(self.data[rows == i] ** 2, axis=0) for i in range(self.m)]
        )

    def log_det(self) -> Array:
        """`log det(L Lᵀ)`, one per path."""
        return 2 * jnp.sum(jnp.log(jnp.abs(self.diagonal())), axis=self.row_axis())

    def is_singular(self) -> Array:
        """Whether a pivot is exactly zero, one per path."""
        return jnp.any(self.diagonal() == 0, axis=self.row_axis())
