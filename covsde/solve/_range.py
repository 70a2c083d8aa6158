"""Norms that leave the numbers of a dtype, where a limit says when they do."""

import functools
import math
import statistics

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_concrete
from .._problem import Problem
from ..limits import AbstractLimit
from ..solvers.parabola import coefficients

# The probability that any of the paths leaves what is accepted.
_RISK = 1e-6
# As many times as the norms are looked at.
_TIMES = 1025


def check_range(problem: Problem) -> None:
    """Refuses norms `V^{aa}` that would leave the numbers of the dtype before `t1`.

    Where they are geometric Brownian motions, `log V^{aa}` is a normal of mean
    `(β − Γ) t` and variance `2Γt`, β the drift's growth; they never explode, but their
    floats do. The least is `tiny/ε`, of which a difference in the last digit is a float
    yet, and by symmetry the largest `ε max`. Paths that stop at a level never get there.
    """
    limit, v0, t1, num_paths = problem.limit, problem.v0, problem.t1, problem.num_paths
    if not is_concrete((limit, v0)):
        return
    if limit.is_number:
        _check_number(problem)
        return
    with jax.ensure_compile_time_eval():
        growth = limit.drift.growth
    if growth is None or not limit.diffusion.is_congruence:
        return
    least, most = _ends(v0.dtype)
    accepted = f"between {least:.2g} and {most:.2g}, where {v0.dtype} ends"
    wider = _wider(v0.dtype)
    starts = np.diagonal(np.asarray(v0, np.float64), axis1=-2, axis2=-1)
    lowest, highest = starts.min(), starts.max()
    for start in (lowest, highest):
        if not least <= start <= most:
            raise ValueError(
                f"`v0` must have variances {accepted}; got {start:.3g}. Pass inputs of "
                f"another scale{wider}."
            )
    farthest = _farthest(limit, float(growth), t1, num_paths * problem.m)
    if math.log(least / lowest) <= -farthest and farthest <= math.log(most / highest):
        return
    times = np.linspace(0.0, t1, _TIMES)
    fallen, risen = _spread(limit, float(growth), times, num_paths * problem.m)
    fallen, risen = np.log(lowest) + fallen, np.log(highest) + risen
    outside = fallen < np.log(least)
    if np.isinf(problem.level):
        outside |= risen > np.log(most)
    if np.any(outside):
        low, high = (f"10^{x / np.log(10):.0f}" for x in (fallen[-1], risen[-1]))
        raise ValueError(
            f"`t1` must leave norms {accepted}; got {t1:g}, until which those of "
            f"{num_paths} paths reach from {low} to {high}. Pass a shorter one, here at "
            f"most {times[np.argmax(outside) - 1]:.3g}{wider}."
        )


def _check_number(problem: Problem) -> None:
    """Refuses a number u that would leave the numbers of the dtype before `t1`.

    With `du = (a + b u) dt + σ u dB` and `E = exp((b − σ²/2) t + σ B)`, u is at most
    `(u_0 + |a| t) max_s E_t/E_s`. The range of B exceeds `x √t` with less than 8 times the
    probability that B_t does.
    """
    limit, v0, t1 = problem.limit, problem.v0, problem.t1
    with jax.ensure_compile_time_eval():
        terms = limit.terms(diffrax.UnsafeBrownianPath((), problem.key))
        a, b, sigma = map(float, coefficients(terms, 0.0, v0.dtype, None))
        start = float(jnp.max(jnp.abs(limit.initial(v0))))
    _, most = _ends(v0.dtype)
    times = np.linspace(0.0, t1, _TIMES)[1:]
    deviations = -statistics.NormalDist().inv_cdf(_RISK / (8 * problem.num_paths))
    risen = max(0.0, b - sigma**2 / 2) * times + deviations * abs(sigma) * np.sqrt(times)
    with np.errstate(divide="ignore"):
        risen += np.log(start + abs(a) * times)
    if risen[-1] > np.log(most):
        last = times[np.argmax(risen > np.log(most)) - 1]
        raise ValueError(
            f"`t1` must leave the state of {type(limit).__name__} below {most:.2g}, where "
            f"{v0.dtype} ends; got {t1:g}, until which that of {problem.num_paths} paths "
            f"reaches up to 10^{risen[-1] / np.log(10):.0f}. Pass a shorter one, here at "
            f"most {last:.3g}{_wider(v0.dtype)}."
        )


@functools.cache
def _ends(dtype) -> tuple[float, float]:
    """The least and the largest number that are accepted."""
    kind = jnp.finfo(dtype)
    return float(kind.tiny / kind.eps), float(kind.max * kind.eps)


def _wider(dtype) -> str:
    """The way to a wider dtype."""
    if dtype != jnp.float32:
        return ""
    return ', or float64: `jax.config.update("jax_enable_x64", True)`'


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
    return -statistics.NormalDist().inv_cdf(_RISK / (4 * count))


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
