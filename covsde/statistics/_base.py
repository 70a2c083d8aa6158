"""What a statistic is: a start, what a batch adds, the merge of two states, a result."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import check_finite, found, is_concrete

# what a statistic knows of the values so far: arrays by name, each of the shape that it
# was started with, and of axes of its own
State = dict[str, Any]


class Part(NamedTuple):
    """One array of a result.

    - `values`: of shape `(*shape, ...)`, where `shape` is that of the observables.
    - `axis`: the name of the last axis, if there is one more than in `shape`.
    - `at`: what stands along that axis.
    """

    values: np.ndarray
    axis: str | None = None
    at: np.ndarray | None = None


class AbstractStatistic(eqx.Module):
    """A statistic of many observables, of any number of paths, in memory that is bounded.

    An observable is a row: values have the shape `(*shape, num_paths)`, paths last. A
    statistic holds only what it was configured with; what it knows of the values is a
    `State`, a dictionary of arrays. States are JAX arrays where batches are added, which
    may be compiled, and NumPy arrays ([`covsde.statistics.on_host`][]) where they are
    merged for long. Sums are of float64 where JAX has it switched on; counts are integers.

    Values that are not finite are left out and not counted.
    """

    @abc.abstractmethod
    def start(self, shape: tuple[int, ...]) -> State:
        """The state before the first value."""

    @abc.abstractmethod
    def update(
        self,
        state: State,
        values: Float[Array, "*shape num_paths"],
        where: Bool[Array, "*shape num_paths"] | None = None,
    ) -> State:
        """The state after a batch of values; those outside of `where` are left out."""

    @abc.abstractmethod
    def merge(self, one: State, other: State) -> State:
        """The state of the values of both; of JAX or of NumPy arrays."""

    @abc.abstractmethod
    def result(self, state: State) -> dict[str, Part]:
        """What is to be known of the values, by name."""


def increasing(name: str, x, least: int, accepted: str, way_out: str) -> np.ndarray:
    """At least so many finite numbers that increase, in float64; refuses others."""
    message = f"`{name}` must be {accepted}; got {{}}. {way_out}"
    try:
        values = np.asarray(x) if is_concrete(x) else np.asarray("")
    except (TypeError, ValueError) as error:
        raise TypeError(message.format(found(x))) from error
    if values.dtype.kind not in "iuf":
        raise TypeError(message.format(found(x)))
    if values.ndim != 1 or values.size < least:
        raise ValueError(message.format(f"shape {values.shape}"))
    values = values.astype(np.float64)
    check_finite(name, values, way_out)
    wrong = np.flatnonzero(values[1:] <= values[:-1])
    if wrong.size:
        first, second = values[wrong[0] : wrong[0] + 2]
        raise ValueError(message.format(f"{first:g} and then {second:g}"))
    return values


def countable(values: Array, where: Array | None) -> Array:
    """Which values count: finite ones that are wanted."""
    finite = jnp.isfinite(values)
    return finite if where is None else finite & where


def real() -> Any:
    """The dtype of sums: float64 where JAX has it switched on."""
    return jnp.result_type(float)


def whole() -> Any:
    """The dtype of counts: int64 where JAX has it switched on."""
    return jnp.result_type(int)


def numpy_of(x) -> Any:
    """The functions of NumPy, or of `jax.numpy`, that fit an array."""
    return jnp if isinstance(x, jax.Array) else np


def on_host(state: State) -> State:
    """A state as NumPy arrays, float64 and int64 whatever the device computed with."""

    def leaf(x):
        x = np.asarray(x)
        return x.astype(np.float64 if x.dtype.kind == "f" else np.int64)

    return {name: leaf(x) for name, x in state.items()}


def add_at(counts: Array, bins: Array, where: Array) -> Array:
    """Counts `(*shape, size)` and one more in the bin of each value `(*shape, n)`.

    One scatter for all rows: on CPUs it takes 5 ns a value, sorting them 40.
    """
    size = counts.shape[-1]
    rows = counts.size // size
    first = size * jnp.arange(rows, dtype=whole())[:, None]
    index = first + bins.reshape(rows, -1)
    flat = counts.ravel().at[index.ravel()]
    more = where.astype(counts.dtype).ravel()
    return flat.add(more, mode="promise_in_bounds").reshape(counts.shape)
