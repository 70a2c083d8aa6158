"""Refusing bad input early: what was found, what is accepted, the way out."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_Module = TypeVar("_Module")

# of an integer that arrays can hold
_MOST_BITS = 63


def is_concrete(x) -> bool:
    """Whether the value of `x` is known now (not traced by `jit`, `grad` or `vmap`)."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(x))


def in_numpy(module: _Module) -> _Module:
    """The same with NumPy's numbers: JAX compiles each operation on its own."""
    return jax.tree.map(
        lambda x: np.asarray(x)[()] if isinstance(x, jax.Array) else x, module
    )


def is_real(x) -> bool:
    """Whether `x` is one real number, known or traced; a truth value is not.

    Nor is an integer beyond the floats.
    """
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        real = (jnp.integer, jnp.floating)
        return x.ndim == 0 and any(jnp.issubdtype(x.dtype, kind) for kind in real)
    if isinstance(x, int):
        return not isinstance(x, bool) and x.bit_length() < 1024
    return isinstance(x, float)


def found(x) -> str:
    """How a refused value is shown: numbers as they are, arrays by shape and dtype."""
    if isinstance(x, Tracer):
        return f"a value traced by JAX, of shape {x.shape} and dtype {x.dtype}"
    if isinstance(x, np.ndarray | jax.Array):
        if x.ndim > 0 or jnp.issubdtype(x.dtype, jax.dtypes.extended):
            return f"an array of shape {x.shape} and dtype {x.dtype}"
        return f"{x.item()!r} (an array of shape () and dtype {x.dtype})"
    if isinstance(x, type):
        return f"the class {x.__name__}"
    if isinstance(x, np.generic):
        return f"{x.item()!r} ({type(x).__name__})"
    if isinstance(x, int) and x.bit_length() > _MOST_BITS:
        return f"an integer of {x.bit_length()} bits"
    return f"{x!r} ({type(x).__name__})"


def parameter(name: str, x, accepted: str, way_out: str, *, test=None) -> jax.Array:
    """A real scalar as an array leaf; refuses what is not finite or fails `test`."""
    dtype = jax.dtypes.canonicalize_dtype(float)
    if is_concrete(x):
        least = float(jnp.finfo(dtype).tiny)
        value = _known(name, x, accepted, way_out, test, least)
        same = isinstance(x, jax.Array) and x.dtype == dtype and not x.weak_type
        return x if same and np.asarray(x) == value else jnp.asarray(value)
    _check_real(name, x, accepted, way_out)
    return jnp.asarray(x, dtype=dtype)


def _check_real(name: str, x, accepted: str, way_out: str) -> None:
    """Refuses what is no real number."""
    several = isinstance(x, list | tuple) or getattr(x, "ndim", 0) > 0
    if several or not is_real(x):
        message = _refused(name, x, accepted, way_out)
        if several:
            raise ValueError(f"{message} Use `jax.vmap` for a sweep.")
        raise TypeError(message)


def _known(
    name: str, x, accepted: str, way_out: str, test, least: float = 0.0
) -> np.ndarray:
    """A real number that is known now, in the dtype of parameters; 0 below the `least`."""
    _check_real(name, x, accepted, way_out)
    x = float(x) if isinstance(x, int) else x  # which may be beyond NumPy's integers
    with np.errstate(over="ignore"):
        value = np.asarray(x, jax.dtypes.canonicalize_dtype(float))
    known = float(value)
    message = ""
    if 0 < abs(known) < least:
        known, value = 0.0, np.zeros_like(value)
        message = f" Numbers below {least:.2g} are 0 here, as XLA has them."
    if not np.isfinite(known) or (test is not None and not test(known)):
        raise ValueError(_refused(name, x, accepted, way_out) + message)
    return value


def _refused(name: str, x, accepted: str, way_out: str) -> str:
    return f"`{name}` must be {accepted}; got {found(x)}. {way_out}"


def check_slopes(slope_plus, slope_minus) -> tuple[jax.Array, jax.Array]:
    """The slopes of a leaky ReLU, not both 0."""
    way_out = "A ReLU has the slopes 1 and 0."
    accepted = "a finite real number"
    plus = parameter("slope_plus", slope_plus, accepted, way_out)
    minus = parameter("slope_minus", slope_minus, accepted, way_out)
    if is_concrete((plus, minus)) and float(plus) == 0 == float(minus):
        raise ValueError(
            f"`slope_plus` and `slope_minus` must not both be 0; got {slope_plus} and "
            f"{slope_minus}. {way_out}"
        )
    return plus, minus


def number(name: str, x, accepted: str, way_out: str, *, test=None) -> float:
    """A real number that is known now; for what is computed in NumPy."""
    if not is_concrete(x):
        raise TypeError(
            f"`{name}` must be {accepted}, known outside of `jit`, `grad` and `vmap`; got "
            f"{found(x)}. {way_out}"
        )
    return float(_known(name, x, accepted, way_out, test))


def real_array(name: str, x, accepted: str, way_out: str) -> jax.Array:
    """`x` as an array of float32 or float64; integers become floats."""
    message = f"`{name}` must be {accepted}, float32 or float64; got {{}}. {way_out}"
    sequence = isinstance(x, str | list | tuple)
    text = sequence and any(isinstance(leaf, str) for leaf in jax.tree.leaves(x))
    if x is None or text:
        raise TypeError(message.format(found(x)))
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(message.format(found(x))) from error
    if jnp.issubdtype(array.dtype, jnp.integer):
        array = array.astype(jnp.result_type(float))
    if array.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(message.format(f"dtype {array.dtype}"))
    return array


def check_finite(name: str, x: np.ndarray, way_out: str) -> None:
    """Refuses NaN and infinity, and says where."""
    index = np.argwhere(~np.isfinite(x))
    if index.size:
        where = tuple(index[0].tolist())
        raise ValueError(
            f"`{name}` must be finite; got {x[where]} at index {where}. {way_out}"
        )


def number_range(dtype) -> tuple[float, float]:
    """The least number of which a difference in the last digit is a float yet, `tiny/ε`,
    and by symmetry the largest, `ε max`.
    """
    kind = jnp.finfo(dtype)
    return float(kind.tiny / kind.eps), float(kind.max * kind.eps)


def wider(dtype) -> str:
    """The way to a wider dtype, as the end of a sentence."""
    if dtype != jnp.float32:
        return ""
    return ', or float64: `jax.config.update("jax_enable_x64", True)`'


def count(name: str, x, way_out: str, *, least: int = 1) -> int:
    """An integer of at least `least`."""
    accepted = f"an integer of at least {least}"
    message = f"`{name}` must be {accepted}; got {found(x)}. {way_out}"
    if isinstance(x, bool | np.timedelta64) or not isinstance(x, int | np.integer):
        raise TypeError(message)
    if x < least:
        raise ValueError(message)
    if int(x).bit_length() > _MOST_BITS:
        raise ValueError(message.replace(accepted, f"{accepted} and at most 2^63 − 1"))
    return int(x)


# of paths, and of networks, that have normals of their own
MOST_PATHS = 2**32


def count_paths(name: str, x, way_out: str, *, first_path: int = 0) -> int:
    """How many paths, from the first on: as many as have normals of their own."""
    number = count(name, x, way_out)
    why = "for the normals of each are found by 32 bits of its index"
    if number > MOST_PATHS:
        raise ValueError(
            f"`{name}` must be at most 2^32, {why}; got {number}. Run another `key` and "
            "compare, or pool them."
        )
    if first_path + number > MOST_PATHS:
        raise ValueError(
            f"`first_path` must be at most {MOST_PATHS - number}, 2^32 less the number of "
            f"paths, {why}; got {first_path}. Run another `key`, and pool them."
        )
    return number


def check_key(key) -> jax.Array:
    """A threefry key."""
    way_out = "Pass `jax.random.key(0)`."
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(f"`key` must be a JAX random key; got {found(key)}. {way_out}")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape != (2,) or key.dtype != jnp.uint32:
            raise TypeError(f"`key` must be a JAX random key; got {found(key)}. {way_out}")
        key = jax.random.wrap_key_data(jnp.asarray(key), impl="threefry2x32")
    assert isinstance(key, jax.Array)
    if key.shape != ():
        raise ValueError(
            f"`key` must be one key; got an array of them, shape {key.shape}. Pass one: "
            "every path draws its own numbers from it."
        )
    if jax.random.key_impl(key) != "threefry2x32":
        raise ValueError(
            f"`key` must be a threefry key; got {key.dtype}. Pass "
            "`jax.random.key(0, impl='threefry2x32')`."
        )
    return key
