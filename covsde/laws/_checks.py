"""The arguments of laws, checked: levels, probabilities, starts and times.

What is known now is checked; what JAX traces passes, unless the law is computed by NumPy.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Array, ArrayLike, Scalar

from .._checks import found, is_concrete, number, parameter, real_array

_TIME = "a positive finite time", "It is depth over width, d/n."
_GAIN = "a positive number", "It is Γ, 1 for an MLP; a `KernelODE` has no noise."


def numbers(name: str, x, accepted: str, way_out: str, *, test) -> Array:
    """Real numbers that pass a test, elementwise on arrays; NaN passes none."""
    array = real_array(name, x, accepted, way_out)
    if is_concrete(array):
        values = np.asarray(array)
        refused = values[~(test(values) & ~np.isnan(values))]
        if refused.size:
            raise ValueError(f"`{name}` must be {accepted}; got {refused[0]}. {way_out}")
    return array


def levels(name: str, x, way_out: str = "Every law has 0 ≤ P(X ≤ x) ≤ 1.") -> Array:
    """Where a distribution function is asked for, from −∞ to ∞."""
    return numbers(name, x, "numbers that are not NaN", way_out, test=np.isreal)


def probabilities(name: str, p) -> Array:
    """Of quantiles, with the ends of the law."""
    accepted, way_out = "numbers in [0, 1]", "The median is the quantile of 0.5."
    return numbers(name, p, accepted, way_out, test=lambda p: (p >= 0) & (p <= 1))


def correlations(name: str, r) -> Array:
    """Correlations, with their ends."""
    accepted, way_out = "numbers in [-1, 1]", "It is a correlation."
    return numbers(name, r, accepted, way_out, test=lambda r: np.abs(r) <= 1)


def starts(name: str, x, level: ArrayLike = math.inf, *, way_out: str) -> Array:
    """Variances or squared distances at the start, none above the level."""
    accepted = "not negative and finite"
    x = numbers(name, x, accepted, way_out, test=lambda x: (x >= 0) & np.isfinite(x))
    if is_concrete((x, level)) and not np.all(np.asarray(x) <= np.asarray(level)):
        high = np.broadcast_to(x, np.broadcast_shapes(np.shape(x), np.shape(level)))
        first = high[~(high <= np.asarray(level))][0]
        raise ValueError(
            f"`{name}` must be at most `level`; got {first} above it. From there the level "
            "has been reached."
        )
    return x


def flag(name: str, x) -> bool:
    """A truth value."""
    if not isinstance(x, bool):
        raise TypeError(f"`{name}` must be True or False; got {found(x)}.")
    return x


def values(f: Callable, x: np.ndarray) -> np.ndarray:
    """`f` of numbers, one for each."""
    way_out = "Write it of NumPy arrays, for example `np.tanh` or `lambda x: x**2`."
    if isinstance(f, type) or not callable(f):
        raise TypeError(f"`f` must be a function of arrays; got {found(f)}. {way_out}")
    y = np.asarray(f(x))
    if y.shape != x.shape or y.dtype.kind not in "fiu":
        raise ValueError(
            f"`f` must give one real number for each; got shape {y.shape} and dtype "
            f"{y.dtype} of {len(x)} numbers. {way_out}"
        )
    return y


def gain_times(t1, gain) -> Scalar:
    """`Γ T`."""
    t1 = parameter("t1", t1, *_TIME, test=_positive)
    return t1 * parameter("gain", gain, *_GAIN, test=_positive)


def known_gain(gain) -> float:
    """Γ, for what is computed by NumPy."""
    return number("gain", gain, *_GAIN, test=_positive)


def known_time(t1) -> float:
    """T, for what is computed by NumPy."""
    return number("t1", t1, *_TIME, test=_positive)


def known_start(name: str, x, way_out: str) -> float:
    """A positive start, for what is computed by NumPy."""
    return number(name, x, "a positive number", way_out, test=_positive)


def known_level(level, name: str, start: float) -> float:
    """A level above the start, for what is computed by NumPy."""
    way_out = "At the level itself it has been reached."
    accepted = f"a number above {name} = {start:g}"
    return number("level", level, accepted, way_out, test=lambda x: x > start)


def _positive(x: float) -> bool:
    return x > 0
