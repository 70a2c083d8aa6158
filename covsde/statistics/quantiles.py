"""Quantiles, by counts in bins that are read off the bits of a number."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from .._checks import count, found
from ._base import (
    AbstractStatistic,
    Part,
    State,
    add_at,
    countable,
    increasing,
    real,
    whole,
)

# of float32, which the bins must be read off as well
_MANTISSA, _LEAST, _MOST = 23, -126, 127


class Quantiles(AbstractStatistic):
    """`quantile` at some levels, to a relative accuracy that is guaranteed.

    The bin of a number is its sign, its exponent and the leading `bits` of its mantissa:
    a shift of its bits, without a logarithm. A bin `[a, b)` has `b − a ≤ 2^{−bits} a`, and
    a quantile is found within the bin of the sample's own quantile (the least value that a
    share `q` of them does not exceed), so their distance is at most `2^{−bits}` of the
    latter. Within a bin values are taken to be spread evenly, and of a smooth law it is
    far less.

    From `2^low` to `2^high` in size, where `exponents = (low, high)`. What is smaller is
    in one bin around 0, to the absolute accuracy `2^low`; what is as large or larger is
    counted in a bin at each end, where a quantile is `±∞`. Counts are exact integers, and
    so depend on no order: states merge exactly.

    Source: Tene (2012), HdrHistogram; Masson, Rim, Lee (2019), "DDSketch: a fast and
    fully-mergeable quantile sketch with relative-error guarantees".
    """

    levels: tuple[float, ...] = eqx.field(static=True)
    bits: int = eqx.field(static=True)
    exponents: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        levels: tuple[float, ...] | Float[ArrayLike, " levels"] = (
            0.05,
            0.25,
            0.5,
            0.75,
            0.95,
        ),
        bits: int = 7,
        exponents: tuple[int, int] = (-32, 32),
    ):
        """**Arguments:**

        - `levels`: increasing, in `[0, 1]`; others can be asked for later, too.
        - `bits`: of the mantissa. There are `2^{bits+1}` bins for each power of two.
        - `exponents`: the powers of two that bound the range.

        **Raises:** `ValueError` or `TypeError` for what has no meaning.
        """
        way_out = "Pass e.g. (0.05, 0.5, 0.95)."
        accepted = "shares in [0, 1] that increase"
        values = increasing("levels", levels, 1, accepted, way_out)
        if values[0] < 0 or values[-1] > 1:
            raise ValueError(f"`levels` must be {accepted}; got {levels}. {way_out}")
        way_out = "The relative error is 2^-bits; 7 is usual."
        bits = count("bits", bits, way_out, least=0)
        if bits > 16:
            raise ValueError(f"`bits` must be at most 16; got {bits}. {way_out}")
        accepted = f"two integers, increasing, from {_LEAST} to {_MOST}"
        message = (
            f"`exponents` must be {accepted}; got {found(exponents)}. (-32, 32) serves."
        )
        pair = isinstance(exponents, tuple | list) and len(exponents) == 2
        if not pair or not all(isinstance(e, int | np.integer) for e in exponents):
            raise TypeError(message)
        low, high = (int(e) for e in exponents)
        if not _LEAST <= low < high <= _MOST:
            raise ValueError(message)
        self.levels, self.bits = tuple(values.tolist()), bits
        self.exponents = (low, high)

    @property
    def _side(self) -> int:
        """Bins of positive numbers within the range."""
        low, high = self.exponents
        return (high - low) << self.bits

    def edges(self) -> Float[np.ndarray, " bins+1"]:
        """The edges of all bins, from `−∞` to `∞`; the middle one holds 0."""
        return _edges(self.bits, *self.exponents).copy()

    def start(self, shape):
        """No value."""
        return {"counts": jnp.zeros((*shape, 2 * self._side + 3), whole())}

    def update(self, state, values, where=None):
        """Each value into its bin."""
        where = countable(values, where)
        return {"counts": add_at(state["counts"], self._bins(values), where)}

    def _bins(self, values: Array) -> Array:
        """The leading bits of the size, from `2^low` on, to both sides of the middle."""
        if values.dtype not in (jnp.float32, jnp.float64):
            values = values.astype(real())
        wide = values.dtype == jnp.float64
        mantissa, bias = (52, 1023) if wide else (_MANTISSA, 127)
        bits = lax.bitcast_convert_type(jnp.abs(values), jnp.int64 if wide else jnp.int32)
        first = (bias + self.exponents[0]) << self.bits
        size = (bits >> (mantissa - self.bits)) - (first - 1)
        size = jnp.clip(size, 0, self._side + 1).astype(jnp.int32)
        return self._side + 1 + jnp.where(values < 0, -size, size)

    def merge(self, one: State, other: State) -> State:
        """Counts add up."""
        return {"counts": one["counts"] + other["counts"]}

    def quantile(
        self, state: State, levels: Float[ArrayLike, " levels"]
    ) -> Float[np.ndarray, "*shape levels"]:
        """Quantiles at these levels; NaN without a value, `±∞` beyond the range."""
        counts = np.asarray(state["counts"])
        edges = _edges(self.bits, *self.exponents)
        levels = np.asarray(levels, np.float64)
        rows = counts.reshape(-1, counts.shape[-1])
        up_to = np.cumsum(rows, axis=-1)
        total = up_to[:, -1:]
        rank = np.clip(np.ceil(levels * total), 1, np.maximum(total, 1))
        bins = np.array([np.searchsorted(*row) for row in zip(up_to, rank, strict=True)])
        bins = np.where(total > 0, bins, 0).reshape(rank.shape)
        left, right = edges[bins], edges[bins + 1]
        held = np.take_along_axis(rows, bins, axis=-1)
        before = np.take_along_axis(up_to, bins, axis=-1) - held
        share = (rank - before - 0.5) / np.maximum(held, 1)
        infinite = np.isinf(left) | np.isinf(right)
        inner = np.where(infinite, 0.0, left) * (1 - share)
        inner += np.where(infinite, 0.0, right) * share
        out = np.where(infinite, np.where(np.isinf(left), left, right), inner)
        out = np.where(total > 0, out, np.nan)
        return out.reshape(*counts.shape[:-1], levels.size)

    def result(self, state: State) -> dict[str, Part]:
        """Along the axis `level` stand the levels."""
        levels = np.array(self.levels)
        return {"quantile": Part(self.quantile(state, levels), "level", levels)}


@functools.lru_cache(maxsize=8)
def _edges(bits: int, low: int, high: int) -> np.ndarray:
    """The edges of all bins."""
    within = 1 + np.arange(2**bits) / 2**bits
    powers = np.ldexp(1.0, np.arange(low, high))
    positive = np.append((powers[:, None] * within).ravel(), [np.ldexp(1.0, high), np.inf])
    return np.concatenate([-positive[::-1], positive])
