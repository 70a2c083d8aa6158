"""Memory layout of batches of symmetric and of lower-triangular matrices.

Up to `PACKED_MAX` rows the `m(m+1)/2` entries of the lower triangle are stored packed, row
by row, with the paths as the *last* axis: `(D, *batch)`. Every entry is then one long
vector over the paths. Up to `ROWS_MAX` rows matrices are stored whole, the paths still
last, `(m, m, *batch)`; above, with the paths first, `(*batch, m, m)`, for LAPACK.
`benchmarks/crossover.py` measures where they meet.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._apart import materialise
from ._entries import add_up, dot, largest, repeat, stack, unstack
from ._triangles import (
    mirror,
    multiply_pairs,
    pack_lower,
    pack_pairs,
    unpack_lower,
    unpack_pairs,
)

PACKED_MAX, ROWS_MAX = 5, 8


def is_packed(m: int) -> bool:
    """Whether triangles of so many rows are stored packed."""
    return m <= PACKED_MAX


def has_paths_last(m: int) -> bool:
    """Whether the paths of matrices of so many rows are the last axis."""
    return m <= ROWS_MAX


def asks_lapack(m: int) -> bool:
    """Whether LAPACK factorises matrices of so many rows."""
    return not has_paths_last(m)


_T = TypeVar("_T", bound="Triangle")


def num_entries(m: int) -> int:
    """Number of independent entries of an m×m symmetric or triangular matrix."""
    return m * (m + 1) // 2


def num_stored(m: int) -> int:
    """Number of entries of a symmetric or triangular matrix in memory."""
    return num_entries(m) if is_packed(m) else m * m


def entry_indices(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each packed entry."""
    return np.tril_indices(m)


def _whole(m: int, batch: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of matrices that are stored whole."""
    return (m, m, *batch) if has_paths_last(m) else (*batch, m, m)


def _rows(m: int, batch: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of row vectors."""
    return (m, *batch) if has_paths_last(m) else (*batch, m)


def paths_to_layout(a: Float[Array, "*batch m m"]) -> Array:
    """Whole matrices, batch first, as they are stored."""
    return jnp.moveaxis(a, (-2, -1), (0, 1)) if has_paths_last(a.shape[-1]) else a


def layout_to_paths(data: Array, m: int) -> Float[Array, "*batch m m"]:
    """Whole matrices as they are stored, batch first."""
    return jnp.moveaxis(data, (0, 1), (-2, -1)) if has_paths_last(m) else data


def _take(x: Array, index: np.ndarray) -> Array:
    """`x[index]` by slices, which XLA fuses (a gather it does not)."""
    entries = unstack(x)
    return stack([entries[i] for i in index.tolist()])


class Triangle(eqx.Module):
    """A batch of m×m matrices determined by their lower triangle."""

    data: Array
    m: int = eqx.field(static=True)

    @property
    def packed(self) -> bool:
        return is_packed(self.m)

    @property
    def paths_last(self) -> bool:
        return has_paths_last(self.m)

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch: `()` for one matrix, `(num_paths,)` for an ensemble."""
        if not self.paths_last:
            return self.data.shape[:-2]
        return self.data.shape[1 if self.packed else 2 :]

    @property
    def dtype(self):
        return self.data.dtype

    def kept(self: _T) -> _T:
        """These matrices, computed once and kept: for entries that are read often.

        Kernels on whole matrices keep what they are given in any case.
        """
        return self._with(materialise(self.data)) if self.packed else self

    def repeat(self: _T, num_paths: int) -> _T:
        """One matrix, for each of so many paths."""
        tail = self.data.shape
        shape = (*tail, num_paths) if self.paths_last else (num_paths, *tail)
        data = self.data[..., None] if self.paths_last else self.data
        return self._with(jnp.broadcast_to(data, shape))

    def take(self: _T, paths: Array) -> _T:
        """These paths of the batch, by their places in it."""
        return self._with(jnp.take(self.data, paths, axis=-1 if self.paths_last else 0))

    def joined(self: _T) -> _T:
        """One batch of batches that are stacked along a first axis."""
        if not self.paths_last:
            return self._with(self.data.reshape(-1, *self.data.shape[2:]))
        moved = jnp.moveaxis(self.data, 0, -2)
        return self._with(moved.reshape(*moved.shape[:-2], -1))

    # Elementwise algebra. `other` is of the same kind, or a number, or one per path.

    def _aligned(self, other) -> Array | float:
        if isinstance(other, Triangle):
            return other.data
        if jnp.ndim(other) == 0:
            return other
        if self.packed:
            return other[None]
        return other[None, None] if self.paths_last else other[..., None, None]

    def _with(self: _T, data: Array) -> _T:
        return dataclasses.replace(self, data=data)

    def __add__(self: _T, other: _T) -> _T:
        return self._with(self.data + other.data)

    def __sub__(self: _T, other: _T) -> _T:
        return self._with(self.data - other.data)

    def __mul__(self: _T, other) -> _T:
        return self._with(self.data * self._aligned(other))

    __rmul__ = __mul__

    def where(self: _T, condition: Array, otherwise: _T) -> _T:
        """This matrix for the paths where `condition` (batch) holds, else the other."""
        return self._with(jnp.where(self._aligned(condition), self.data, otherwise.data))

    def diagonal(self) -> Array:
        """Diagonal entries: a *row vector* per path, `(m, *batch)` or `(*batch, m)`."""
        if self.packed:
            rows, columns = entry_indices(self.m)
            return _take(self.data, np.flatnonzero(rows == columns))
        if self.paths_last:
            return jnp.stack([self.data[i, i] for i in range(self.m)])
        return jnp.diagonal(self.data, axis1=-2, axis2=-1)

    def entries(self) -> Float[Array, "entries *batch"]:
        """The entries of the lower triangle, row by row, paths last."""
        if self.packed:
            return self.data
        if self.paths_last:
            return pack_lower(self.m, self.data)
        return jnp.moveaxis(self.data[..., *entry_indices(self.m)], -1, 0)

    def row_axis(self) -> int:
        """The axis of a row vector (as `diagonal` returns it) that counts the rows."""
        return 0 if self.paths_last else -1

    def largest(self) -> Array:
        """Largest absolute entry, one per path."""
        if not self.paths_last:
            return jnp.max(jnp.abs(self.data), axis=(-2, -1))
        return largest(self.data.reshape(-1, *self.batch))

    def sum_rows(self, rows: Array) -> Array:
        """The sum of a row vector, one per path."""
        return add_up(rows) if self.paths_last else jnp.sum(rows, axis=-1)

    def any_row(self, rows: Array) -> Array:
        """Whether a row vector is true in any row, one per path."""
        return jnp.any(rows, axis=self.row_axis())

    def trace(self) -> Array:
        """Trace, one per path: `batch`."""
        return self.sum_rows(self.diagonal())

    def per_row(self, number: Array) -> Array:
        """One number per path as a row vector, the same in every row."""
        rows = jnp.expand_dims(number, self.row_axis())
        return jnp.repeat(rows, self.m, axis=self.row_axis())

    def against_rows(self, number: Array | float) -> Array | float:
        """A number, or one per path, so that a row vector can be multiplied by it."""
        return jnp.expand_dims(number, self.row_axis()) if jnp.ndim(number) else number

    def by_row(self, rows: Array) -> Array:
        """A row vector spread over the entries `(a, b)` by their row `a`."""
        if self.packed:
            return _take(rows, entry_indices(self.m)[0])
        return repeat(rows, self.m, 1) if self.paths_last else rows[..., :, None]

    def by_column(self, rows: Array) -> Array:
        """A row vector spread over the entries `(a, b)` by their column `b`."""
        if self.packed:
            return _take(rows, entry_indices(self.m)[1])
        return repeat(rows, self.m, 0) if self.paths_last else rows[..., None, :]

    def weights(self, on: float, off: float, above: float | None = None) -> Array:
        """A constant for every entry: `on` on the diagonal, `off` elsewhere.

        Where the half above it is stored, the constant there may be another.
        """
        ones = (1,) * len(self.batch)
        if self.packed:
            rows, columns = entry_indices(self.m)
            weights = np.where(rows == columns, on, off).reshape(-1, *ones)
        else:
            upper = np.triu(np.ones((self.m, self.m)), 1)
            weights = np.where(np.eye(self.m), on, off)
            weights = np.where(upper, off if above is None else above, weights)
            weights = weights.reshape(_whole(self.m, ones))
        return jnp.asarray(weights, self.dtype)

    def scale_diagonal(self: _T, number: float) -> _T:
        """These matrices with their diagonal entries multiplied by `number`."""
        return self._with(self.data * self.weights(number, 1.0))

    def add_diagonal(self: _T, rows: Array | float) -> _T:
        """Adds a row vector, or one number, to the diagonal."""
        if isinstance(rows, Array) and rows.ndim > 0:
            rows = self.by_row(rows)
        return self._with(self.data + self.weights(1.0, 0.0) * rows)

    @classmethod
    def from_diagonal(cls: type[_T], rows: Array, m: int) -> _T:
        """Diagonal matrices from row vectors."""
        if is_packed(m):
            row, column = entry_indices(m)
            zero = jnp.zeros_like(rows[0])
            entries = [
                rows[i] if i == j else zero for i, j in zip(row, column, strict=True)
            ]
            return cls(jnp.stack(entries), m)
        eye = jnp.eye(m, dtype=rows.dtype).reshape(_whole(m, (1,) * (rows.ndim - 1)))
        return cls((rows[:, None] if has_paths_last(m) else rows[..., None]) * eye, m)

    @classmethod
    def identity(cls: type[_T], m: int, batch: tuple[int, ...] = (), dtype=None) -> _T:
        """Identity matrices."""
        return cls.from_diagonal(jnp.ones(_rows(m, batch), dtype), m)


class Symmetric(Triangle):
    """A batch of symmetric m×m matrices."""

    @classmethod
    def from_dense(cls, v: Float[Array, "*batch m m"]) -> Symmetric:
        """Packs symmetric matrices; reads the lower triangle."""
        m = v.shape[-1]
        if is_packed(m):
            rows, columns = entry_indices(m)
            return cls(jnp.moveaxis(v[..., rows, columns], -1, 0), m)
        return cls(paths_to_layout(v), m)

    def to_dense(self) -> Float[Array, "*batch m m"]:
        """The matrices as an ordinary array, batch first."""
        if not self.packed:
            return layout_to_paths(self.data, self.m)
        rows, columns = entry_indices(self.m)
        index = np.zeros((self.m, self.m), int)
        index[rows, columns] = index[columns, rows] = np.arange(len(rows))
        return jnp.moveaxis(self.data[index], (0, 1), (-2, -1))

    def map(self, fn: Callable[[Array], Array]) -> Symmetric:
        """`fn` of every entry, elementwise."""
        return self._with(fn(self.data))

    def pairwise(self, fn: Callable[[Array, Array, Array], Array]) -> Symmetric:
        """Entries `fn(v_aa, v_bb, v_ab)`, elementwise over all pairs."""
        diagonal = self.diagonal()
        if self.packed or not self.paths_last:
            rows, columns = self.by_row(diagonal), self.by_column(diagonal)
            return self._with(fn(*jnp.broadcast_arrays(rows, columns, self.data)))
        rows, columns = (_take(diagonal, index) for index in entry_indices(self.m))
        entries = fn(rows, columns, pack_lower(self.m, self.data))
        return self._with(mirror(self.m, unpack_lower(self.m, entries)))

    def map_pairs(self, fn: Callable[..., Array], *numbers: Array) -> Symmetric:
        """`fn` of the entries off the diagonal, elementwise; 0 on it.

        `fn` is handed the `numbers`, too, each one number or one for each path.
        """
        if not self.paths_last:
            values = fn(self.data, *(self._aligned(number) for number in numbers))
            return self._with(values).scale_diagonal(0.0)
        if self.m == 1:
            return self * 0.0
        pairs = self._pairs()
        spread = (repeat(x, len(pairs), 0) if jnp.ndim(x) else x for x in numbers)
        return self._from_pairs(fn(pairs, *spread))

    def map_pairs_of(self, rows: Array, fn: Callable[[Array, Array], Array]) -> Symmetric:
        """`fn(r_a r_b, s_ab)` off the diagonal for a row vector `r`; 0 on it."""
        if not self.paths_last:
            values = fn(self.by_row(rows) * self.by_column(rows), self.data)
            return self._with(values).scale_diagonal(0.0)
        if self.m == 1:
            return self * 0.0
        return self._from_pairs(fn(self._products(rows), self._pairs()))

    def _products(self, rows: Array) -> Array:
        """`r_a r_b` of the pairs of a row vector, as `_pairs` has them."""
        if not self.packed:
            return multiply_pairs(self.m, rows)
        pairs = zip(*np.tril_indices(self.m, -1), strict=True)
        return stack([rows[i] * rows[j] for i, j in pairs])

    def _pairs(self) -> Array:
        """The entries below the diagonal, row by row: `(m(m−1)/2, *batch)`."""
        if not self.packed:
            return pack_pairs(self.m, self.data)
        rows, columns = entry_indices(self.m)
        return _take(self.data, np.flatnonzero(rows != columns))

    def _from_pairs(self, values: Array) -> Symmetric:
        """The matrices with these entries below the diagonal, and zeros on it."""
        if not self.packed:
            return self._with(unpack_pairs(self.m, values))
        zero = jnp.zeros(self.batch, self.dtype)
        rows, columns = entry_indices(self.m)
        strict = iter(values)
        entries = [
            zero if i == j else next(strict) for i, j in zip(rows, columns, strict=True)
        ]
        return self._with(stack(entries))

    def scale(self, rows: Array) -> Symmetric:
        """`diag(rows) S diag(rows)`."""
        if self.packed:
            pairs = zip(*entry_indices(self.m), strict=True)
            spread = stack([rows[i] * rows[j] for i, j in pairs])
            return self._with(self.data * spread)
        return self._with(self.data * (self.by_row(rows) * self.by_column(rows)))

    def inner(self, other: Symmetric) -> Array:
        """`tr(A B)`, one per path."""
        if self.packed:
            return dot(unstack(self.data * other.data * self.weights(1.0, 2.0)))
        axes = (0, 1) if self.paths_last else (-2, -1)
        return jnp.sum(self.data * other.data, axis=axes)

    def map_dense(self, fn: Callable[[Array], Array]) -> Symmetric:
        """Applies a function of *one* dense m×m matrix to every matrix of the batch."""
        for _ in self.batch:
            fn = jax.vmap(fn)
        return Symmetric.from_dense(fn(self.to_dense()))


class Lower(Triangle):
    """A batch of lower-triangular m×m matrices; a factor `L` of `V = L Lᵀ`.

    A factor of a singular `V` is in echelon form: under a zero pivot its column is zero.
    `invertible` says that no pivot can be zero, so that this needs no care; right
    multiplication preserves it.
    """

    invertible: bool = eqx.field(static=True, default=False)

    def as_invertible(self, invertible: bool = True) -> Lower:
        """The same matrices, known (or not) to have no zero pivot."""
        return Lower(self.data, self.m, invertible)

    @classmethod
    def from_dense(cls, factor: Float[Array, "*batch m m"]) -> Lower:
        """Packs lower-triangular matrices; entries above the diagonal are ignored."""
        m = factor.shape[-1]
        if is_packed(m):
            rows, columns = entry_indices(m)
            return cls(jnp.moveaxis(factor[..., rows, columns], -1, 0), m)
        return cls(paths_to_layout(jnp.tril(factor)), m)

    def to_dense(self) -> Float[Array, "*batch m m"]:
        """The matrices as an ordinary array, batch first."""
        if not self.packed:
            return layout_to_paths(self.data, self.m)
        rows, columns = entry_indices(self.m)
        dense = jnp.zeros((self.m, self.m, *self.batch), self.dtype)
        dense = dense.at[rows, columns].set(self.data)
        return jnp.moveaxis(dense, (0, 1), (-2, -1))

    @classmethod
    def from_entries(cls, entries: Float[Array, "entries *batch"], m: int) -> Lower:
        """Lower-triangular matrices from their entries, row by row, paths last."""
        if is_packed(m):
            return cls(entries, m)
        if has_paths_last(m):
            return cls(unpack_lower(m, entries), m)
        with_zero = jnp.concatenate([entries, jnp.zeros_like(entries[:1])])
        places = np.full((m, m), len(entries))
        places[entry_indices(m)] = np.arange(len(entries))
        # whole vectors over the paths, and then their transpose: a scatter goes one by one
        by_entry = with_zero[places.ravel()]
        return cls(jnp.moveaxis(by_entry, 0, -1).reshape(*entries.shape[1:], m, m), m)

    def scale_rows(self, rows: Array) -> Lower:
        """`diag(rows) L`."""
        return self._with(self.data * self.by_row(rows))

    def scale_columns(self, rows: Array) -> Lower:
        """`L diag(rows)`."""
        return self._with(self.data * self.by_column(rows))

    def strict(self) -> Lower:
        """The part strictly below the diagonal."""
        return self.scale_diagonal(0.0)

    def symmetrise(self, diagonal: float) -> Symmetric:
        """The symmetric matrix of these lower entries, diagonal times `diagonal`."""
        scaled = self.scale_diagonal(diagonal)
        if self.packed:
            return Symmetric(scaled.data, self.m)
        axes = (0, 1) if self.paths_last else (-2, -1)
        below = self.strict().data
        return Symmetric(scaled.data + jnp.swapaxes(below, *axes), self.m)

    def squared_rows(self) -> Array:
        """Squared norm of each row, the diagonal of `L Lᵀ`, as a row vector."""
        if not self.paths_last:
            return jnp.sum(self.data**2, axis=-1)
        if not self.packed:
            return dot(self.data[:, k] ** 2 for k in range(self.m))
        squares = unstack(self.data**2)
        starts = [num_entries(i) for i in range(self.m + 1)]
        rows = (squares[start:end] for start, end in itertools.pairwise(starts))
        return jnp.stack([dot(row) for row in rows])

    def largest_row(self) -> Array:
        """The largest squared norm of a row, one per path."""
        return jnp.max(self.squared_rows(), axis=self.row_axis())

    def log_det(self) -> Array:
        """`log det(L Lᵀ)`, one per path."""
        return 2 * self.sum_rows(jnp.log(jnp.abs(self.diagonal())))

    def is_singular(self) -> Array:
        """Whether a pivot is exactly zero, one per path."""
        return self.any_row(self.diagonal() == 0)

    def nonzero_pivots(self) -> Array:
        """1 where a pivot is not zero and 0 where it is, as a row vector."""
        diagonal = self.diagonal()
        if self.invertible:
            return jnp.ones_like(diagonal)
        return (diagonal != 0).astype(self.dtype)

    def rank(self) -> int | Array:
        """The rank of `L Lᵀ`: `m`, or one number per path if it may be singular."""
        return self.m if self.invertible else self.sum_rows(self.nonzero_pivots())

    def pivot_numbers(self) -> Array:
        """`1, …, r` down the nonzero pivots, as a row vector."""
        if not self.invertible:
            return jnp.cumsum(self.nonzero_pivots(), axis=self.row_axis())
        numbers = jnp.arange(1, self.m + 1, dtype=self.dtype)
        one_path = _rows(self.m, (1,) * len(self.batch))
        return jnp.ones_like(self.diagonal()) * numbers.reshape(one_path)
