"""What every simulation is asked for, checked before anything is compiled."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import count, found, is_concrete
from .limits import AbstractLimit

_SYMMETRY_TOLERANCE = 1e-6


class Problem(NamedTuple):
    """A checked problem: start, times to save, level, randomness."""

    v0: jax.Array  # (m, m) or (num_paths, m, m)
    save_times: np.ndarray  # increasing, the last at most t1
    t1: float
    level: float
    key: jax.Array
    num_paths: int


def check_problem(
    limit, v0, t1, *, key, num_paths, saveat, stop_above, paths_name="num_paths"
) -> Problem:
    """Refuses a limit, start, time, key, number of paths or level that has no meaning."""
    if not isinstance(limit, AbstractLimit):
        raise TypeError(
            f"`limit` must be a limit; got {found(limit)}. "
            "For example `covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))`."
        )
    way_out = "It is how many independent covariance paths to simulate."
    num_paths = count(paths_name, num_paths, way_out)
    v0 = check_covariance(v0, num_paths)
    t1 = check_time("t1", t1)
    save_times = check_save_times(saveat, t1)
    return Problem(
        v0, save_times, t1, check_level(stop_above, v0), check_key(key), num_paths
    )


def check_time(name: str, t) -> float:
    """A positive finite time."""
    message = (
        f"`{name}` must be a positive finite time in units of depth/width; got "
        f"{found(t)}. A network of depth d and width n runs to {name} = d/n."
    )
    if isinstance(t, bool | str) or t is None or np.ndim(t) > 0:
        raise TypeError(message)
    if not is_concrete(t):
        raise TypeError(f"`{name}` sets the time grid and cannot be traced by JAX.")
    t = float(t)
    if not (np.isfinite(t) and t > 0):
        raise ValueError(message)
    return t


def check_save_times(saveat, t1: float) -> np.ndarray:
    """The times to save, `(t1,)` if None."""
    if saveat is None:
        return np.array([t1])
    way_out = "Pass e.g. `jnp.linspace(0, t1, 11)`, or None to save `t1` only."
    try:
        times = np.asarray(saveat, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`saveat` must be an array of times; got {found(saveat)}. {way_out}"
        ) from error
    if times.ndim != 1 or times.size == 0:
        raise ValueError(
            f"`saveat` must be a one-dimensional array of times; got shape {times.shape}. "
            f"{way_out}"
        )
    slack = 1e-9 * t1
    if not np.all(np.isfinite(times)) or times[0] < 0 or times[-1] > t1 + slack:
        raise ValueError(
            f"`saveat` must lie in [0, t1] = [0, {t1:g}]; got times from "
            f"{times.min():g} to {times.max():g}. {way_out}"
        )
    if not np.all(np.diff(times) > 0):
        raise ValueError(f"`saveat` must increase; got {times}. Sort it. {way_out}")
    return np.minimum(times, t1)


def check_level(stop_above, v0) -> float:
    """The level at which paths stop, inf if None."""
    if stop_above is None:
        return np.inf
    way_out = "It stops a path once tr V/m exceeds it; None never stops one."
    message = f"`stop_above` must be a positive number; got {found(stop_above)}. {way_out}"
    if isinstance(stop_above, bool | str) or np.ndim(stop_above) > 0:
        raise TypeError(message)
    level = float(stop_above)
    if not level > 0:
        raise ValueError(message)
    if is_concrete(v0):
        start = np.trace(np.asarray(v0), axis1=-2, axis2=-1).max() / v0.shape[-1]
        if start > level:
            raise ValueError(
                f"`stop_above` must exceed tr V0/m = {start:g}; got {level:g}: paths "
                f"would stop before they start. {way_out}"
            )
    return level


def check_key(key) -> jax.Array:
    """A threefry key."""
    way_out = "Pass `jax.random.key(0)`."
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(f"`key` must be a JAX random key; got {found(key)}. {way_out}")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape != (2,) or key.dtype != jnp.uint32:
            raise TypeError(f"`key` must be a JAX random key; got {found(key)}. {way_out}")
        key = jax.random.wrap_key_data(jnp.asarray(key), impl="threefry2x32")
    if key.shape != ():
        raise ValueError(
            f"`key` must be one key; got an array of them, shape {key.shape}. Pass one: "
            "every path draws its own numbers from it."
        )
    if jax.random.key_data(key).shape != (2,):
        raise ValueError(
            f"`key` must be a threefry key; got {key.dtype}. Pass "
            "`jax.random.key(0, impl='threefry2x32')`."
        )
    return key


def check_covariance(v0, num_paths: int | None = None) -> jax.Array:
    """A covariance `(m, m)`, or one per path; its values are checked when they are known."""
    if isinstance(v0, str) or v0 is None:
        raise TypeError(
            f"`v0` must be a covariance matrix (m, m); got {found(v0)}. "
            "Build it from inputs with `covsde.gram(x)`."
        )
    try:
        v0 = jnp.asarray(v0)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`v0` must be an array of real numbers; got {found(v0)}. "
            "Build it from inputs with `covsde.gram(x)`."
        ) from error
    if jnp.issubdtype(v0.dtype, jnp.integer):
        v0 = v0.astype(jnp.result_type(float))
    if v0.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"`v0` must be float32 or float64; got dtype {v0.dtype}. Convert it with "
            "`v0.astype(jnp.float32)`."
        )
    if v0.ndim not in (2, 3) or v0.shape[-1] != v0.shape[-2] or 0 in v0.shape:
        raise ValueError(
            f"`v0` must have shape (m, m) or (num_paths, m, m); got {v0.shape}. "
            "Build it from inputs (m, n_in) with `covsde.gram(x)`."
        )
    if num_paths is not None and v0.ndim == 3 and v0.shape[0] != num_paths:
        raise ValueError(
            f"`v0` has a start for each of {v0.shape[0]} paths, but num_paths = "
            f"{num_paths}. Make them equal, or pass one (m, m) start for all paths."
        )
    if is_concrete(v0):
        _check_values(np.asarray(v0))
    return v0


def _check_values(v0: np.ndarray) -> None:
    if not np.all(np.isfinite(v0)):
        raise ValueError("`v0` must be finite; got NaN or infinity. Check the inputs.")
    diagonal = np.diagonal(v0, axis1=-2, axis2=-1)
    if not np.all(diagonal > 0):
        raise ValueError(
            f"`v0` must have a positive diagonal; got {diagonal.min():g}. Remove inputs "
            "that are zero."
        )
    scale = np.sqrt(diagonal[..., :, None] * diagonal[..., None, :])
    asymmetry = np.max(np.abs(v0 - np.swapaxes(v0, -1, -2)) / scale)
    if asymmetry > _SYMMETRY_TOLERANCE:
        raise ValueError(
            f"`v0` must be symmetric; got entries that differ from their mirror by "
            f"{asymmetry:.2g} (relative). Pass `(v0 + v0.T)/2` if that is meant."
        )
    smallest = np.linalg.eigvalsh(v0 / scale).min()
    tolerance = 8 * v0.shape[-1] * np.finfo(v0.dtype).eps
    if smallest < -tolerance:
        raise ValueError(
            f"`v0` must be positive semi-definite; its correlation matrix has eigenvalue "
            f"{smallest:.3g}. A Gram matrix `covsde.gram(x)` always is."
        )
