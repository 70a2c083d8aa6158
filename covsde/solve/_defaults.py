"""The solver and the step that are taken where none is given."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import count, found, is_concrete
from .._times import check_time
from ..drifts import ActivationDrift, rate_at
from ..limits import AbstractLimit, Bounds
from ..solvers import (
    AbstractFactorSolver,
    GeodesicStrang,
    LinearParabola,
    NinomiyaNinomiya,
    PalindromicStrang,
)
from ._kind import check_kind
from ._solver import check_solver

# Steps in a time scale of a drift that is moved by Heun's method: what it leaves of a decay
# is 1/1536 in `log V`.
_HEUN = 16


def default_solver(limit: AbstractLimit) -> AbstractFactorSolver | LinearParabola:
    """The solver that `solve` takes if none is given, of weak order 2.

    `GeodesicStrang` where the noise is `√Γ F dS Fᵀ`, `NinomiyaNinomiya` for any other; of
    a limit of one number, `LinearParabola`, of weak order 3.
    """
    if _limit(limit).is_number:
        return LinearParabola()
    congruence = _limit(limit).diffusion.is_congruence
    return GeodesicStrang() if congruence else NinomiyaNinomiya()


def default_step(
    solver, limit: AbstractLimit, m: int, v0: Array | None = None, t1: float = 1.0
) -> float:
    """The step that `solve` takes if none is given, in units of depth/width.

    For a solver of weak order 2 the least of 1/16, `1/(2 m^{3/2} Γ)` and `1/(4r)`, where
    `r` is the drift's rate. Weak errors are then at most

    - 2e-3 in `E log V^{aa}`, in the standard deviation of `log V^{aa}`, and, for each
      input, in `E log det V`,
    - 1e-3 in `E ρ^{ab}` and `E (ρ^{ab})²`

    at T ≤ 2 on 95 of 100 random problems: `python -m benchmarks.steps`. Where the norms
    are geometric Brownian motions that in `E log V^{aa}` is known, `m(m−1)(5m+4) Γ³h²/1440`
    per unit time of `GeodesicStrang`, whence the power of m. For a solver of order 1 the
    step is eight times shorter, and no accuracy is stated: halve the step to see one.

    Never beyond the solver's bound. Where one input is a geometric Brownian motion, of
    which any step is exact, half of that bound. A Γ that changes with time is the largest
    before `t1`.

    A rate that a drift does not give is looked at where it starts, at `v0` (at unit
    variances if JAX traces it), from 0 to `t1`; without `v0` it counts as 1. Such a drift
    is moved by Heun's method, of which `1/(4r)` is too long: a decay `b = −rV` leaves
    `r³h²/6` per unit time in `log V`. Its steps are `1/(16r)`.

    **Raises:** `TypeError` or `ValueError` for arguments that `solve` would refuse.
    """
    check_kind(_limit(limit), check_solver(solver))
    m = count("m", m, "It is the number of inputs.")
    t1 = check_time("t1", t1)
    if v0 is not None and np.shape(v0)[-2:] != (m, m):
        raise ValueError(
            f"`v0` must be covariances ({m}, {m}) as m = {m} says; got shape "
            f"{np.shape(v0)}. Pass the number of inputs as `m`."
        )
    return chosen_step(solver, limit, m, v0, t1)


def chosen_step(solver, limit: AbstractLimit, m: int, v0: Array | None, t1: float) -> float:
    """The same, of arguments that were checked."""
    if not is_concrete(limit):
        raise ValueError(
            "`dt0` must be given when JAX traces the limit's parameters (`grad`, `vmap`, "
            "`jit`); got None, and a step cannot be chosen from unknown numbers. Pass "
            "`dt0`, e.g. `covsde.default_step(solver, limit, m)` of a typical limit."
        )
    longest = 0.5 * max_step(solver, limit, m, t1)
    exact = m == 1 and isinstance(solver, GeodesicStrang | PalindromicStrang)
    if exact and _is_geometric(limit):
        return longest
    bounds = dataclasses.replace(limit.bounds(m), t1=t1)
    noise, drift = max(bounds.noise_rate, 1e-300), bounds.drift_rate
    fastest = 4 * drift if drift is not None else _looked_at(bounds, v0, t1)
    step = min(1 / 16, 1 / (4 * noise), 1 / max(fastest, 1e-300))
    if getattr(solver, "weak_order", 1) < 2:
        step /= 8
    return min(step, longest)


def _looked_at(bounds: Bounds, v0: Array | None, t1: float) -> float:
    """The steps in a unit of time that a drift asks for which does not give its rate."""
    at = None if v0 is None else _typical(v0)
    total = 0.0
    for part in bounds.drift.summands:
        given = dataclasses.replace(bounds, drift=part).drift_rate
        if given is not None:
            total += 4 * given
            continue
        with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
            total += _HEUN * (1.0 if at is None else rate_at(part, at, t1))
    return total


def _limit(limit) -> AbstractLimit:
    """Refuses what is no limit."""
    if not isinstance(limit, AbstractLimit):
        raise TypeError(
            f"`limit` must be a limit, e.g. `ShapedMLP(ShapedReLU(0.0, -1.0))`; got "
            f"{found(limit)}."
        )
    return limit


def _typical(v0: Array) -> Array:
    """One start: the mean of those that are known, unit variances where they are not."""
    if not is_concrete(v0):
        return jnp.eye(v0.shape[-1], dtype=v0.dtype)
    return v0 if v0.ndim == 2 else jnp.mean(v0, axis=0)


def _is_geometric(limit: AbstractLimit) -> bool:
    """Whether every `V^{aa}` is a geometric Brownian motion."""
    drift, noise = limit.drift, limit.diffusion
    congruence = noise.autonomous and noise.is_congruence
    if not congruence or not isinstance(drift, ActivationDrift):
        return False
    with jax.ensure_compile_time_eval():
        return float(drift.activation.stability_index) == 0


def max_step(solver, limit, m: int, t1: float = 1.0) -> float:
    """The longest step for which the scheme is proven to work, on the way to `t1`."""
    bound = getattr(solver, "max_step", None)
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        return math.inf if bound is None else float(bound(limit, m, t1))
