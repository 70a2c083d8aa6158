"""Times, in units of depth/width, checked before anything is compiled."""

import numpy as np

from ._checks import check_finite, found, is_concrete, is_real

_WAYS_OUT = {
    "t1": "Pass a plain number: a network of depth d and width n runs to t1 = d/n.",
    "dt0": "Pass a plain number, the longest step, or None to have one chosen.",
}


def check_time(name: str, t) -> float:
    """A positive finite time."""
    message = (
        f"`{name}` must be a positive finite time in units of depth/width; got "
        f"{found(t)}. {_WAYS_OUT[name]}"
    )
    if not is_real(t) or not is_concrete(t):
        raise TypeError(message)
    t = float(t)
    if not (np.isfinite(t) and t > 0):
        raise ValueError(message)
    return t


def check_save_times(saveat, t1: float, dtype) -> np.ndarray:
    """The times to save, `(t1,)` if None; they stay distinct in `dtype`."""
    if saveat is None:
        return np.array([t1])
    way_out = "Pass e.g. `jnp.linspace(0, t1, 11)`, or None to save `t1` only."
    message = f"`saveat` must be an array of times; got {found(saveat)}. {way_out}"
    try:
        times = np.asarray(saveat)
    except (TypeError, ValueError) as error:
        raise TypeError(message) from error
    if times.dtype.kind not in "iuf":
        raise TypeError(message)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(
            f"`saveat` must be a one-dimensional array of times; got shape {times.shape}. "
            f"{way_out}"
        )
    # a float32 time may be t1 rounded
    digits = times.dtype if times.dtype.kind == "f" else dtype
    slack = t1 * max(1e-9, 2 * np.finfo(digits).eps, 2 * np.finfo(dtype).eps)
    times = times.astype(float)
    check_finite("saveat", times, way_out)
    if times.min() < 0 or times.max() > t1 + slack:
        raise ValueError(
            f"`saveat` must lie in [0, t1] = [0, {t1:.9g}]; got times from "
            f"{times.min():.9g} to {times.max():.9g}. {way_out}"
        )
    times = np.where(np.abs(times - t1) <= slack, t1, times)
    wrong = np.flatnonzero(np.diff(times.astype(dtype).astype(float)) <= 0)
    if wrong.size:
        first, second = times[wrong[0] : wrong[0] + 2]
        raise ValueError(
            f"`saveat` must increase, without duplicates; got {first:.9g} and then "
            f"{second:.9g} ({np.dtype(dtype)}). Pass `np.unique(saveat)`."
        )
    return times
