"""The solver and the step that are taken where none is given."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import count, found, in_numpy, is_concrete
from .._times import check_time
from ..drifts import ActivationDrift, rate_at
from ..limits import AbstractLimit
from ..solvers import (
    AbstractFactorSolver,
    GeodesicStrang,
    LinearParabola,
    NinomiyaNinomiya,
    PalindromicStrang,
)
from ._solver import check_solver


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

    For a weak-order-2 solver the least of 1/16, `1/(2 m^{3/2} Γ)` and `1/(4r)`, where `r`
    is the drift's rate. Of two inputs under a shaped ReLU it leaves a weak error of 1.5e-5
    in `E ρ²` at T = 1 (`benchmarks.weak_order`); in `log V^{aa}` errors are larger, some
    1e-3 per unit time, and grow with m. To see one, halve the step. Eight times shorter
    for order 1, and never beyond the solver's bound. Where one input is a geometric
    Brownian motion, of which any step is exact, half of that bound. A Γ that changes with
    time is the largest before `t1`.

    A rate that a drift does not give is looked at where it starts, at `v0` (at unit
    variances if JAX traces it), from 0 to `t1`; without `v0` it counts as 1.

    **Raises:** `TypeError` or `ValueError` for arguments that `solve` would refuse.
    """
    check_solver(solver)
    m = count("m", m, "It is the number of inputs.")
    t1 = check_time("t1", t1)
    if v0 is not None and np.shape(v0)[-2:] != (m, m):
        raise ValueError(
            f"`v0` must be covariances ({m}, {m}) as m = {m} says; got shape "
            f"{np.shape(v0)}. Pass the number of inputs as `m`."
        )
    if not is_concrete(eqx.filter(_limit(limit), eqx.is_array)):
        raise ValueError(
            "`dt0` must be given when JAX traces the limit's parameters (`grad`, `vmap`, "
            "`jit`); got None, and a step cannot be chosen from unknown numbers. Pass "
            "`dt0`, e.g. `covsde.default_step(solver, limit, m)` of a typical limit."
        )
    longest = 0.5 * max_step(solver, limit, m, t1)
    exact = m == 1 and isinstance(solver, GeodesicStrang | PalindromicStrang)
    if exact and _is_geometric(limit):
        return longest
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        noise = max(float(in_numpy(limit.diffusion).rate(m, t1)), 1e-300)
        rate = in_numpy(limit.drift).rate
        if rate is None:
            rate = 1.0 if v0 is None else rate_at(limit.drift, _typical(v0), t1)
        drift = max(float(rate), 1e-300)
    step = min(1 / 16, 1 / (4 * noise), 1 / (4 * drift))
    if getattr(solver, "weak_order", 1) < 2:
        step /= 8
    return min(step, longest)


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
        return math.inf if bound is None else float(bound(in_numpy(limit), m, t1))
