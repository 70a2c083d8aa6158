"""Square matrices of no special form, in either layout."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._apart import materialise
from ._entries import add_up, dot, largest
from ._layout import (
    Symmetric,
    Triangle,
    entry_indices,
    has_paths_last,
    is_packed,
    layout_to_paths,
    paths_to_layout,
)


class Square(eqx.Module):
    """A batch of m×m matrices of no special form.

    Up to `ROWS_MAX` rows `data` is `(m, m, *batch)`, above it `(*batch, m, m)`.
    """

    data: Array
    m: int = eqx.field(static=True)

    @property
    def paths_last(self) -> bool:
        return has_paths_last(self.m)

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch: `()` for one matrix, `(num_paths,)` for an ensemble."""
        return self.data.shape[2:] if self.paths_last else self.data.shape[:-2]

    @property
    def dtype(self):
        return self.data.dtype

    def __add__(self, other: Square) -> Square:
        return Square(self.data + other.data, self.m)

    def __mul__(self, number) -> Square:
        if jnp.ndim(number) > 0:
            number = number[None, None] if self.paths_last else number[..., None, None]
        return Square(self.data * number, self.m)

    __rmul__ = __mul__

    @property
    def mT(self) -> Square:
        """The transposes."""
        data = self.data
        return Square(jnp.swapaxes(data, 0, 1) if self.paths_last else data.mT, self.m)

    def row_axis(self) -> int:
        """The axis of a row vector that counts the rows."""
        return 0 if self.paths_last else -1

    @classmethod
    def outer(cls, x: Array, y: Array, m: int) -> Square:
        """`x yᵀ` of row vectors."""
        last = has_paths_last(m)
        return cls(x[:, None] * y[None] if last else x[..., :, None] * y[..., None, :], m)

    def kept(self) -> Square:
        """These matrices, computed once and kept: for entries that are read often."""
        return Square(materialise(self.data), self.m) if self.paths_last else self

    def scale_rows(self, rows: Array) -> Square:
        """`diag(rows) A`."""
        spread = rows[:, None] if self.paths_last else rows[..., :, None]
        return Square(self.data * spread, self.m)

    def scale_columns(self, rows: Array) -> Square:
        """`A diag(rows)`."""
        spread = rows[None, :] if self.paths_last else rows[..., None, :]
        return Square(self.data * spread, self.m)

    def centred(self) -> Square:
        """`P A`, `P = I − 11ᵀ/m`: every column less its mean."""
        if self.paths_last:
            means = materialise(add_up(self.data) * (1 / self.m))
            return Square(self.data - means[None], self.m)
        return Square(self.data - jnp.mean(self.data, axis=-2, keepdims=True), self.m)

    def centre_rows(self, rows: Array) -> Array:
        """`P x` of row vectors `x`: less the mean over the rows."""
        if self.paths_last:
            return rows - (add_up(rows) * (1 / self.m))[None]
        return rows - jnp.mean(rows, axis=-1, keepdims=True)

    def trace(self) -> Array:
        """Trace, one per path: `batch`."""
        if self.paths_last:
            return materialise(dot(self.data[i, i] for i in range(self.m)))
        return jnp.trace(self.data, axis1=-2, axis2=-1)

    def largest(self) -> Array:
        """Largest absolute entry, one per path."""
        if not self.paths_last:
            return jnp.max(jnp.abs(self.data), axis=(-2, -1))
        return largest(self.data.reshape(-1, *self.batch))

    def apply_transposed(self, rows: Array) -> Array:
        """`Aᵀ x` for row vectors `x`."""
        if self.paths_last:  # kept, or each entry of a matrix made of it would make its own
            return materialise(dot(self.data[k] * rows[k][None] for k in range(self.m)))
        return jnp.sum(self.data * rows[..., :, None], axis=-2)

    def squared_rows(self) -> Array:
        """Squared norm of each row, as a row vector."""
        if self.paths_last:
            return materialise(dot(self.data[:, k] ** 2 for k in range(self.m)))
        return jnp.sum(self.data**2, axis=-1)

    def squared_norm(self) -> Array:
        """`tr A Aᵀ`, one per path."""
        rows = self.squared_rows()
        return materialise(add_up(rows)) if self.paths_last else jnp.sum(rows, axis=-1)

    @classmethod
    def from_dense(cls, a: Float[Array, "*batch m m"]) -> Square:
        """Takes ordinary arrays, batch first."""
        m = a.shape[-1]
        return cls(paths_to_layout(a), m)

    def to_dense(self) -> Float[Array, "*batch m m"]:
        """The matrices as an ordinary array, batch first."""
        return layout_to_paths(self.data, self.m)

    @classmethod
    def from_triangle(cls, a: Triangle) -> Square:
        """A symmetric or lower-triangular matrix, all of its entries."""
        if not a.packed:
            return cls(a.data, a.m)
        rows, columns = entry_indices(a.m)
        zero = jnp.zeros_like(a.data[0])
        entries = [[zero] * a.m for _ in range(a.m)]
        for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            entries[i][j] = a.data[k]
            if isinstance(a, Symmetric):
                entries[j][i] = a.data[k]
        return cls(jnp.stack([jnp.stack(row) for row in entries]), a.m)

    def symmetric(self) -> Symmetric:
        """The symmetric matrix that has these entries on and below the diagonal."""
        if not is_packed(self.m):
            return Symmetric(self.data, self.m)
        rows, columns = entry_indices(self.m)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return Symmetric(jnp.stack([self.data[i, j] for i, j in pairs]), self.m)

    @classmethod
    def identity(cls, m: int, batch: tuple[int, ...] = (), dtype=None) -> Square:
        """Identity matrices."""
        eye, last = jnp.eye(m, dtype=dtype), has_paths_last(m)
        one = jnp.expand_dims(eye, range(2, 2 + len(batch))) if last else eye
        shape = (m, m, *batch) if last else (*batch, m, m)
        return cls(jnp.broadcast_to(one, shape), m)

    @classmethod
    def from_entries(cls, entries: Float[Array, "entries *batch"], m: int) -> Square:
        """Matrices from their `m²` entries, row by row, paths last."""
        data = entries.reshape(m, m, *entries.shape[1:])
        return cls(data if has_paths_last(m) else jnp.moveaxis(data, (0, 1), (-2, -1)), m)
