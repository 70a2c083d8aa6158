"""What is refused before anything is compiled: wrong drifts, starts, functionals."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import found, is_concrete
from .._problem import Problem
from ..drifts import AbstractDrift
from ..functionals import AbstractFunctional
from ..matrices import SINGULAR_PIVOT

# names of a solution's file
_TAKEN = {"v", "stopped_at", "projections", "path", "time", "a", "b"}


def check_functionals(functionals) -> dict[str, AbstractFunctional]:
    """Refuses what is no functional, or has no name; and more than one tilt of the SDE."""
    accepted = "`functionals` must be a dict of functionals by name"
    if functionals is None:
        return {}
    if not isinstance(functionals, Mapping):
        raise TypeError(f"{accepted}; got {found(functionals)}. Give each a name.")
    for name, one in functionals.items():
        if not isinstance(name, str) or not isinstance(one, AbstractFunctional):
            raise TypeError(
                f"{accepted}; got {found(one)} for {name!r}. For example "
                '`{"integral": covsde.functionals.Integral(f)}`.'
            )
        if name in _TAKEN:
            raise ValueError(
                f"{accepted}; got the name {name!r}, which a solution has already. Pass "
                "another."
            )
    kinds = [type(one) for one in functionals.values()]
    tilts = [kind.__name__ for kind in kinds if kind.tilt is not AbstractFunctional.tilt]
    if len(tilts) > 1:
        raise ValueError(
            f"{accepted} of which one may tilt the SDE; got {', '.join(tilts)}. Sum their "
            "potentials, or solve once for each."
        )
    return dict(functionals)


def check_drift(problem: Problem) -> None:
    """Refuses a drift written for one matrix that is not one, or points out of the cone.

    By a trial: of its value at `v0`, and at singular covariances near it, at 0 and `t1`.
    """
    limit, v0 = problem.limit, problem.v0
    if not is_concrete((limit, v0)):
        return
    for part in limit.drift.summands:
        if type(part).batched is AbstractDrift.batched:
            with jax.ensure_compile_time_eval():
                _check_part(part, v0 if v0.ndim == 2 else v0[0], problem.t1)


def _check_part(drift: AbstractDrift, v0: Array, t1: float) -> None:
    name, times = type(drift).__name__, np.array([0.0, t1], v0.dtype)
    x, singular = _singular_near(np.asarray(v0))
    vs = np.stack([v0, *singular]).astype(v0.dtype)
    values = np.asarray(_values(drift, jnp.asarray(times), jnp.asarray(vs)))
    b = values[0, 0]
    accepted = (
        f"`limit.drift`: {name}(t, v, args) must return a symmetric {v0.shape} matrix"
    )
    if b.shape != v0.shape:
        raise ValueError(f"{accepted}; got shape {b.shape}. Return `b` for one matrix `v`.")
    if not np.all(np.isfinite(b)):
        raise ValueError(
            f"{accepted}; got NaN or infinity at `v0`. If that is singular, remove "
            "redundant inputs."
        )
    if not np.allclose(b, b.T, rtol=1e-5, atol=1e-8 * np.max(np.abs(b), initial=0.0)):
        raise ValueError(
            f"{accepted}; got one that differs from its mirror by "
            f"{np.max(np.abs(b - b.T)):.2g}. Return `(b + b.T)/2` if that is meant."
        )
    found = np.einsum("pa,tpab,pb->tp", x, values[:, 1:], x)
    size = np.max(np.abs(values), axis=(0, 1), where=np.isfinite(values), initial=0.0)
    most = np.einsum("pa,ab,pb->p", np.abs(x), size, np.abs(x))
    outwards = found < -10 * np.finfo(v0.dtype).eps ** 0.5 * most
    if np.any(outwards):
        t, one = np.argwhere(outwards)[0]
        direction = np.array2string(x[one], precision=2, threshold=6)
        raise ValueError(
            f"`limit.drift`: {name} must not point out of the covariances, xᵀ b x ≥ 0 "
            f"where V x = 0; got xᵀ b x = {found[t, one]:.3g} for x = {direction} at t = "
            f"{times[t]:g}. No solution stays a covariance: change the drift. If it is a "
            "part of a sum and the sum does not point out, write that as one drift."
        )


@eqx.filter_jit
def _values(drift: AbstractDrift, times: Array, vs: Array) -> Array:
    """`b` at each time and matrix."""
    return jax.vmap(lambda t: jax.vmap(lambda v: drift(t, v, None))(vs))(times)


# Random null vectors of the singular covariances on which a drift is tried.
_DIRECTIONS = 8


def _singular_near(v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Null vectors `x`, and covariances `V − V x xᵀ V / xᵀ V x`, or `V` where `V x = 0`.

    Eigenvectors of the correlations, and some at random.
    """
    deviations = np.sqrt(np.diagonal(v0))
    r = v0 / np.outer(deviations, deviations)
    others = np.random.default_rng(0).normal(size=(_DIRECTIONS, len(v0)))
    x = np.concatenate([np.linalg.eigh(r)[1].T, others])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    moved = x @ r
    size = np.sum(moved * x, axis=1)[:, None, None]
    rounding = SINGULAR_PIVOT * len(v0) * np.finfo(v0.dtype).eps
    singular = size < rounding
    outer = moved[:, :, None] * moved[:, None, :]
    near = r - np.where(singular, 0.0, outer / np.where(singular, 1.0, size))
    near = np.where(np.abs(near) < rounding, 0.0, near)
    return x / deviations, near * np.outer(deviations, deviations)


def _is_regular(v0: np.ndarray) -> bool:
    """Whether every pivot is far from what counts as zero."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(v0), axis1=-2, axis2=-1) ** 2
    except np.linalg.LinAlgError:
        return False
    tolerance = 2 * SINGULAR_PIVOT * v0.shape[-1] * np.finfo(v0.dtype).eps
    return bool(np.all(pivots > tolerance * np.diagonal(v0, axis1=-2, axis2=-1)))


def check_singular(problem: Problem, solver) -> bool:
    """Whether `v0` is known to be regular; refuses a singular one that no flow accepts."""
    if not is_concrete(problem.v0):
        return False
    if _is_regular(np.asarray(problem.v0)):
        return True
    drift_accepts = problem.bounds.accepts_singular
    if drift_accepts and getattr(solver, "accepts_singular", False):
        return False
    culprit = (
        f"the solver {type(solver).__name__} needs"
        if drift_accepts
        else f"the flow of {type(problem.limit.drift).__name__} needs"
    )
    raise ValueError(
        f"`v0` must be positive definite here: {culprit} an invertible start; got a "
        "singular one (duplicate inputs, or more inputs than features). Remove redundant "
        "inputs, use `GeodesicStrang()`, or give the drift a `flow` that accepts it."
    )
