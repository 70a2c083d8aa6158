"""What is refused before anything is compiled: wrong solvers, steps, drifts, starts."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import found, is_concrete
from ..drifts import AbstractDrift
from ..limits import AbstractLimit
from ..matrices import SINGULAR_PIVOT
from ..solvers import Stopped
from ._defaults import max_step


def check_step(dt0: float, solver, limit: AbstractLimit, m: int, t1: float = 1.0) -> None:
    """Refuses a step beyond the bound for which the scheme is proven to work."""
    if not is_concrete(eqx.filter(limit, eqx.is_array)):
        return
    bound = max_step(solver, limit, m, t1)
    if dt0 > bound * (1 + 1e-9):
        raise ValueError(
            f"`dt0` must be at most {bound:.6g} for {type(solver).__name__} with this "
            f"limit and m = {m}; got {dt0:g}. Pass a smaller step, or None to have one "
            "chosen."
        )


def check_solver(solver) -> diffrax.AbstractSolver:
    """Refuses what would converge to the wrong law, or is no solver."""
    accepted = (
        "`solver` must be a solver of covsde (`GeodesicStrang()`, `PalindromicStrang()`, "
        "`NinomiyaNinomiya()`, `WishartEuler()`, `FactorEuler()`, `ProjectedEuler()`) or "
        "`diffrax.Euler()`"
    )
    if isinstance(solver, type):
        raise TypeError(
            f"{accepted}; got the class {solver.__name__}. Call it: `{solver.__name__}()`."
        )
    if not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"{accepted}; got {found(solver)}. None picks the default.")
    name = type(solver).__name__
    if isinstance(solver, diffrax.ItoMilstein):
        raise ValueError(
            f"{accepted}; got {name}, which assumes commutative noise. The noise of "
            "covariance SDEs does not commute, and it would converge to the wrong law."
        )
    if isinstance(solver, diffrax.AbstractWrappedSolver | Stopped):
        raise ValueError(
            f"{accepted}; got the wrapper {name}, which would step off the Brownian grid "
            "or stop twice. Pass the solver inside it."
        )
    if not isinstance(solver, diffrax.AbstractItoSolver):
        raise ValueError(
            f"{accepted}; got {name}, which does not solve Itô equations: it would "
            "converge to another law."
        )
    return solver


def check_drift(limit: AbstractLimit, v0: Array) -> None:
    """Refuses a drift written for one matrix that does not return one, by a trial call."""
    drift = limit.drift
    if type(drift).batched is not AbstractDrift.batched or not is_concrete((limit, v0)):
        return
    name = type(drift).__name__
    with jax.ensure_compile_time_eval():
        one = v0 if v0.ndim == 2 else v0[0]
        b = np.asarray(drift(jnp.zeros((), v0.dtype), one, None))
    accepted = (
        f"`limit.drift`: {name}(t, v, args) must return a symmetric {one.shape} matrix"
    )
    if b.shape != one.shape:
        raise ValueError(f"{accepted}; got shape {b.shape}. Return `b` for one matrix `v`.")
    if not np.allclose(b, b.T, rtol=1e-5, atol=1e-8 * np.max(np.abs(b), initial=0.0)):
        raise ValueError(
            f"{accepted}; got one that differs from its mirror by "
            f"{np.max(np.abs(b - b.T)):.2g}. Return `(b + b.T)/2` if that is meant."
        )


def _is_regular(v0: np.ndarray) -> bool:
    """Whether every pivot is far from what counts as zero."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(v0), axis1=-2, axis2=-1) ** 2
    except np.linalg.LinAlgError:
        return False
    tolerance = 2 * SINGULAR_PIVOT * v0.shape[-1] * np.finfo(v0.dtype).eps
    return bool(np.all(pivots > tolerance * np.diagonal(v0, axis1=-2, axis2=-1)))


def check_singular(v0: Array, limit: AbstractLimit, solver) -> bool:
    """Whether `v0` is known to be regular; refuses a singular one that no flow accepts."""
    if not is_concrete(v0):
        return False
    if _is_regular(np.asarray(v0)):
        return True
    drift_accepts = limit.drift.accepts_singular
    if drift_accepts and getattr(solver, "accepts_singular", False):
        return False
    culprit = (
        f"the solver {type(solver).__name__} needs"
        if drift_accepts
        else f"the flow of {type(limit.drift).__name__} needs"
    )
    raise ValueError(
        f"`v0` must be positive definite here: {culprit} an invertible start; got a "
        "singular one (duplicate inputs, or more inputs than features). Remove redundant "
        "inputs, use `GeodesicStrang()`, or give the drift a `flow` of its own."
    )
