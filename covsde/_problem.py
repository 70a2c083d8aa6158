"""What every simulation is asked for, checked before anything is compiled."""

import dataclasses
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np

from ._checks import (
    check_finite,
    check_key,
    count_paths,
    found,
    is_concrete,
    is_real,
    number_range,
    real_array,
    wider,
)
from ._times import check_save_times, check_time
from .limits import AbstractLimit, Bounds

_SYMMETRY_TOLERANCE = 1e-6

_Module = TypeVar("_Module", bound=eqx.Module)


class Problem(NamedTuple):
    """A checked problem: the limit, its start, times to save, a level, randomness."""

    limit: AbstractLimit
    v0: jax.Array  # (m, m) or (num_paths, m, m)
    save_times: np.ndarray  # increasing, the last at most t1
    t1: float
    level: float
    key: jax.Array
    num_paths: int

    @property
    def m(self) -> int:
        """The number of inputs."""
        return self.v0.shape[-1]

    def of(self, limit) -> "Problem":
        """The same of another limit; refuses one that does not take its start."""
        check_limit(limit)
        _check_start(limit, self.v0, None if np.isinf(self.level) else self.level)
        return self._replace(limit=limit)

    @property
    def bounds(self) -> Bounds:
        """What the limit promises with these inputs."""
        return dataclasses.replace(self.limit.bounds(self.m), t1=self.t1)

    @property
    def times(self) -> np.ndarray:
        """The times to save, and the end."""
        return np.union1d(self.save_times, self.t1)


def check_problem(
    limit,
    v0,
    t1,
    *,
    key,
    num_paths,
    saveat=None,
    stop_above=None,
    paths_name="num_paths",
) -> Problem:
    """Refuses a limit, start, time, key, number of paths or level that has no meaning."""
    check_limit(limit)
    way_out = f"Pass how many {paths_name.removeprefix('num_')} to simulate, e.g. 1000."
    num_paths = count_paths(paths_name, num_paths, way_out)
    v0 = check_covariance(v0, num_paths, paths_name)
    _check_start(limit, v0, stop_above)
    t1 = check_time("t1", t1)
    save_times = check_save_times(saveat, t1, v0.dtype)
    level = check_level(stop_above, v0)
    return Problem(limit, v0, save_times, t1, level, check_key(key), num_paths)


def check_limit(limit) -> None:
    """Refuses what is no limit."""
    if not isinstance(limit, AbstractLimit):
        raise TypeError(
            f"`limit` must be a limit; got {found(limit)}. "
            "For example `covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))`."
        )


def _check_start(limit: AbstractLimit, v0: jax.Array, stop_above) -> None:
    """Refuses a start that the limit does not take, and a level of what has no norms."""
    limit.initial(v0)
    if limit.is_number and stop_above is not None:
        raise ValueError(
            f"`stop_above` must be None for {type(limit).__name__}; got "
            f"{found(stop_above)}. Leave it out: norms are no part of its state."
        )


def in_dtype(module: _Module, dtype) -> _Module:
    """A limit or network with its parameters in the dtype of `v0`."""
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_array(x) else x, module)


def check_level(stop_above, v0) -> float:
    """The level at which paths stop, inf if None."""
    if stop_above is None:
        return np.inf
    way_out = "It stops a path once tr V/m exceeds it; None never stops one."
    message = f"`stop_above` must be a positive number; got {found(stop_above)}. {way_out}"
    if not is_real(stop_above) or not is_concrete(stop_above):
        raise TypeError(message)
    level = float(stop_above)
    if not level > 0:
        raise ValueError(message)
    if level > float(np.finfo(v0.dtype).max):  # which no float of it exceeds
        return np.inf
    if is_concrete(v0):
        start = np.trace(np.asarray(v0), axis1=-2, axis2=-1).max() / v0.shape[-1]
        if not start < level:
            raise ValueError(
                f"`stop_above` must exceed tr V0/m = {start:g}; got {level:g}: paths "
                f"would stop before they start. {way_out}"
            )
    return level


def check_covariance(
    v0, num_paths: int | None = None, paths_name: str = "num_paths"
) -> jax.Array:
    """A covariance `(m, m)`, or one per path; its values are checked when known."""
    way_out = "Build it from inputs (m, n_in) with `covsde.gram(x)`."
    v0 = real_array("v0", v0, "a covariance matrix", way_out)
    if v0.ndim not in (2, 3) or v0.shape[-1] != v0.shape[-2] or 0 in v0.shape:
        raise ValueError(
            f"`v0` must have shape (m, m) or ({paths_name}, m, m); got {v0.shape}. "
            f"{way_out}"
        )
    if num_paths is not None and v0.ndim == 3 and v0.shape[0] != num_paths:
        raise ValueError(
            f"`v0` must be one start (m, m), or a start for each of {paths_name} = "
            f"{num_paths}; got {v0.shape[0]} starts. Make the numbers equal."
        )
    if is_concrete(v0):
        _check_values(np.asarray(v0))
    return v0


def _check_values(v0: np.ndarray) -> None:
    check_finite("v0", v0, "Check the inputs.")
    diagonal = np.diagonal(v0, axis1=-2, axis2=-1)
    if not np.all(diagonal > 0):
        raise ValueError(
            f"`v0` must have a positive diagonal; got {diagonal.min():g}. Remove inputs "
            "that are zero."
        )
    least, most = number_range(v0.dtype)
    for start in (diagonal.min(), diagonal.max()):
        if not least <= start <= most:
            raise ValueError(
                f"`v0` must have variances between {least:.2g} and {most:.2g}, where "
                f"{v0.dtype} ends; got {start:.3g}. Pass inputs of another scale"
                f"{wider(v0.dtype)}."
            )
    root = np.sqrt(diagonal)
    scale = root[..., :, None] * root[..., None, :]
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
