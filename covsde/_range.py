"""Norms that leave the numbers of a dtype, where a limit says when they do."""

import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._checks import is_concrete, number_range, wider
from .limits import AbstractLimit

# The probability that any of the paths leaves what is accepted.
RISK = 1e-6
# As many times as the norms are looked at.
TIMES = 1025


def check_norms(
    limit: AbstractLimit,
    v0: Array,
    t1: float,
    level: float,
    num_paths: int,
    kind: str = "paths",
) -> None:
    """Refuses norms `V^{aa}` that would leave the numbers of the dtype before `t1`.

    Where they are geometric Brownian motions, `log V^{aa}` is a normal of mean
    `(β − Γ) t` and variance `2Γt`, β the drift's growth; they never explode, but their
    floats do. Paths that stop at a level never get there. Of networks, the `kind`, it is
    the law at large widths.
    """
    if not is_concrete((limit, v0)):
        return
    with jax.ensure_compile_time_eval():
        growth = limit.drift.growth
    if growth is None or not limit.diffusion.is_congruence:
        return
    least, most = number_range(v0.dtype)
    starts = np.diagonal(np.asarray(v0, np.float64), axis1=-2, axis2=-1)
    count = num_paths * v0.shape[-1]
    room = min(math.log(starts.min() / least), math.log(most / starts.max()))
    if _farthest(limit, float(growth), t1, count) <= room:
        return
    times = np.linspace(0.0, t1, TIMES)
    with np.errstate(over="ignore"):
        fallen, risen = _spread(limit, float(growth), times, count)
    fallen, risen = np.log(starts.min()) + fallen, np.log(starts.max()) + risen
    outside = fallen < np.log(least)
    if np.isinf(level):
        outside |= risen > np.log(most)
    if np.any(outside):
        low, high = (f"10^{np.round(x / np.log(10)):.6g}" for x in (fallen[-1], risen[-1]))
        raise ValueError(
            f"`t1` must leave norms between {least:.2g} and {most:.2g}, where {v0.dtype} "
            f"ends; got {t1:g}, until which those of {num_paths} {kind} reach from {low} "
            f"to {high}. Pass a shorter one, here at most "
            f"{times[np.argmax(outside) - 1]:.3g}{wider(v0.dtype)}."
        )


def _farthest(limit: AbstractLimit, growth: float, t1: float, count: int) -> float:
    """As far as no `log V/V_0` of so many norms gets, at the largest gain all the time.

    Few runs come near the numbers' ends, of which `_spread` knows when.
    """
    with jax.ensure_compile_time_eval():
        gain = limit.diffusion.largest_gain(t1)
    assert gain is not None
    return (abs(growth) + gain) * t1 + _deviations(count) * math.sqrt(2 * gain * t1)


def _deviations(count: int) -> float:
    """What none of so many norms exceeds."""
    # twice, for the extreme of a path before its end, and twice, for two sides
    return -statistics.NormalDist().inv_cdf(RISK / (4 * count))


def _spread(
    limit: AbstractLimit, growth: float, times: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest `log V/V_0` of so many norms, up to each time."""
    diffusion = limit.diffusion
    with jax.ensure_compile_time_eval():
        if diffusion.autonomous:
            gains = diffusion.gain(0.0)
        else:
            gains = jax.vmap(diffusion.gain)(jnp.asarray(times))
    gains = np.broadcast_to(np.asarray(gains, np.float64), times.shape)
    middle = (gains[1:] + gains[:-1]) / 2 * np.diff(times)
    acted = np.concatenate([[0.0], np.cumsum(middle)])
    mean, noise = growth * times - acted, _deviations(count) * np.sqrt(2 * acted)
    return np.minimum.accumulate(mean - noise), np.maximum.accumulate(mean + noise)
