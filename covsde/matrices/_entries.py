"""Arrays as lists of their entries along the first axis, and back."""

import functools
import operator
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def dot(terms: Iterable[Array]) -> Array:
    """The sum of the terms."""
    return functools.reduce(operator.add, terms)


def add_up(x: Array, axis: int = 0) -> Array:
    """The sum along a short axis, term by term.

    XLA on CPU hands a reduction to a library that is made for long ones.
    """
    return dot(lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis]))


def largest(x: Array) -> Array:
    """The largest absolute value along a short first axis."""
    return functools.reduce(jnp.maximum, map(jnp.abs, unstack(x)))


# as many parts of a concatenation does XLA on CPU fuse
_PARTS = 8


def _group(count: int) -> int:
    """How many of so many entries to concatenate at once."""
    return next(d for d in range(1, count + 1) if count % d == 0 and count <= _PARTS * d)


def stack(entries: list[Array]) -> Array:
    """`jnp.stack`, which XLA fuses with whatever makes the entries into one kernel."""
    count, size = len(entries), _group(len(entries))
    # the reshape keeps XLA from making one concatenation of both
    parts = [jnp.stack(entries[k : k + size]) for k in range(0, count, size)]
    return jnp.stack(parts).reshape(count, *entries[0].shape)


def unstack(x: Array) -> list[Array]:
    """The entries along the first axis. Its transpose is `stack`, not a sum of padding."""
    count, size = x.shape[0], _group(x.shape[0])
    groups = _split(x.reshape(count // size, size, *x.shape[1:]))
    return [entry for group in groups for entry in _split(group)]


def _split(x: Array) -> list[Array]:
    return [jnp.squeeze(part, 0) for part in lax.split(x, [1] * x.shape[0])]


def entries_of(x: Array) -> list[list[Array]]:
    """The entries of a matrix, row by row."""
    return [unstack(row) for row in unstack(x)]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def repeat(x: Array, count: int, axis: int) -> Array:
    """`x` so many times along a new axis. Its transpose is `add_up`, not a reduction."""
    shape = (*x.shape[:axis], count, *x.shape[axis:])
    return jnp.broadcast_to(jnp.expand_dims(x, axis), shape)


@repeat.defjvp
def _repeat_jvp(count, axis, primals, tangents):
    (x,), (dx,) = primals, tangents
    return repeat(x, count, axis), jnp.stack([dx] * count, axis)
