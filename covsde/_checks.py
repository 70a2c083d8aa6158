"""Refusing bad input early: what is wrong, what was found, what is accepted, the way out."""

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(x) -> bool:
    """Whether the value of `x` is known now (not traced by `jit`, `grad` or `vmap`)."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x))


def found(x) -> str:
    """How a refused value is shown: numbers as they are, arrays by shape and dtype."""
    if isinstance(x, np.ndarray | jax.Array) and np.ndim(x) > 0:
        return f"an array of shape {np.shape(x)} and dtype {x.dtype}"
    if isinstance(x, jax.Array | np.generic):
        x = x.item()
    return f"{x!r} ({type(x).__name__})"


def parameter(name: str, x, accepted: str, way_out: str, *, test=None) -> jax.Array:
    """A real scalar parameter as an array leaf; refuses what is not finite or fails `test`."""
    message = f"`{name}` must be {accepted}; got {{}}. {way_out}"
    if isinstance(x, bool | str | complex) or x is None:
        raise TypeError(message.format(found(x)))
    try:
        value = jnp.asarray(x, dtype=jnp.result_type(float))
    except (TypeError, ValueError) as error:
        raise TypeError(message.format(found(x))) from error
    if value.ndim > 0 and is_concrete(value):
        raise ValueError(message.format(found(value)) + " Use `jax.vmap` for a sweep.")
    if is_concrete(value):
        number = float(value)
        if not np.isfinite(number) or (test is not None and not test(number)):
            raise ValueError(message.format(found(x)))
    return value


def count(name: str, x, way_out: str, *, least: int = 1) -> int:
    """An integer of at least `least`."""
    accepted = f"an integer of at least {least}"
    message = f"`{name}` must be {accepted}; got {found(x)}. {way_out}"
    if isinstance(x, bool) or not isinstance(x, int | np.integer):
        raise TypeError(message)
    if x < least:
        raise ValueError(message)
    return int(x)
