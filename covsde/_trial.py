"""Observables tried on shapes, before anything runs."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

# a number of paths that no shape of an observable's own is likely to have
_TRIAL = 7


def try_observable(
    argument: str,
    observable: Callable,
    state: tuple[int, ...],
    dtype,
    name: str,
    example: str = "lambda v: v[:, 0, 1]",
) -> None:
    """Refuses a function that does not return a real number for each path's state."""
    trial = jax.ShapeDtypeStruct((_TRIAL, *state), dtype)
    try:
        out = eqx.filter_eval_shape(observable, trial)
    except (IndexError, TypeError, ValueError) as error:
        if state:
            raise
        raise TypeError(
            f"`{argument}` must read a number u here, (num_paths,), and no covariance; "
            f"{name!r} does not: {error}. For example `{example}`."
        ) from error
    fits = isinstance(out, jax.ShapeDtypeStruct) and out.shape == (_TRIAL,)
    if not fits or jnp.issubdtype(out.dtype, jnp.complexfloating):
        shape = getattr(out, "shape", type(out).__name__)
        kind = getattr(out, "dtype", None)
        raise ValueError(
            f"`{argument}` must return one real number for each path, (num_paths,); got "
            f"{shape} of dtype {kind} for {_TRIAL} paths from {name!r}. For example "
            f"`{example}`."
        )
