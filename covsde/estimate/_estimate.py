"""`E f(V_T)` to a tolerance: what is asked for, checked before it runs."""

from __future__ import annotations

from collections.abc import Callable

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import MOST_PATHS, found, is_concrete, number
from .._names import full_name
from .._problem import check_problem
from .._progress import check_progress, reporting
from .._trial import try_observable
from ..limits import AbstractLimit
from ..solve import Scheme, check_covariances
from ._ledger import Ledger
from ._multilevel import least_budget, multilevel
from ._result import Estimate
from ._simulation import Simulation


def estimate(
    limit: AbstractLimit,
    v0: Float[Array, "m m"],
    t1: float,
    observable: Callable[[Float[Array, "num_paths m m"]], Float[Array, " num_paths"]],
    *,
    tol: float,
    key: PRNGKeyArray,
    solver: diffrax.AbstractSolver | None = None,
    confidence: float = 0.95,
    stop_above: float | None = None,
    budget: float | None = None,
    progress: bool | Callable[[int, int, float], object] = False,
) -> Estimate:
    """`E f(V_T)` to a root mean square error of `tol`, with a confidence interval.

    Multilevel Monte Carlo: few paths with short steps correct many with long ones, driven
    by the same Brownian motion. A correction is the mean over a path and its antithetic,
    which has the two halves of every long step exchanged. Where the levels begin and end
    follows from pilot runs, whose paths are not used again; how many paths each takes, from
    the variances of the paths themselves. On the first level the entries of the Brownian
    motion at `t1` and their squares, whose means are known for every limit, are control
    variates, as far as the pilot sees them correlated with f. A last correction is
    extrapolated to steps of length 0 by the solver's weak order; it and the one before
    bound the bias.

    **Arguments:**

    - `limit`, `v0`, `t1`, `key`: as for [`covsde.solve`][].
    - `stop_above`: stops a path at this level of `tr V/m`. It is looked at at the ends of
      steps alone, for a bridge between them would be another for coarse and fine steps: so
      the bias falls like the root of the step, and a small `tol` takes many levels.
    - `observable`: f, a JAX function of covariances `(num_paths, m, m)`, e.g.
      `lambda v: correlation(v)[:, 0, 1] ** 2`.
    - `tol`: the root mean square error to reach, in the unit of the observable.
    - `solver`: None picks `default_solver(limit)`.
    - `confidence`: of the interval.
    - `budget`: the most steps of one path to spend in all, in the unit of the estimate's
      `cost`; at most half of them go to pilots. Where `tol` takes more, the best estimate
      within the budget is returned: its interval is as honest, its error is larger than
      `tol`, and it says so. None spends what `tol` takes.
    - `progress`: shows how far it is; a function is called with the steps done, those that
      are planned by what is known so far, and the error so far, infinite during the pilots.

    **Returns:** an [`covsde.Estimate`][].

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, for a limit
    without noise, for one that explodes, whose expectations need not exist, unless it is
    stopped, for an observable that is not finite or not one real number for each path, and
    for a `budget` below the least run.

    Source: Giles (2008), "Multilevel Monte Carlo Path Simulation"; Giles, Szpruch (2014),
    "Antithetic multilevel Monte Carlo estimation".
    """
    problem = check_problem(limit, v0, t1, key=key, num_paths=1, stop_above=stop_above)
    if problem.v0.ndim != 2:
        raise ValueError(
            f"`v0` must be one covariance (m, m) here; got shape {problem.v0.shape}. "
            "Average over the starts inside of `observable`, or call `solve`."
        )
    if not callable(observable):
        raise TypeError(
            f"`observable` must be a function of covariances (num_paths, m, m); got "
            f"{found(observable)}. For example `lambda v: v[:, 0, 1]`."
        )
    accepted = "a positive number, above 1e-100"
    way_out = "It is a root mean square error, e.g. 1e-3."
    tol = number("tol", tol, accepted, way_out, test=lambda x: x > 1e-100)
    accepted, way_out = "between 0 and 1", "0.95 is usual."
    confidence = number(
        "confidence", confidence, accepted, way_out, test=lambda x: 0 < x < 1
    )
    check_progress(progress, "(done, total, error)")
    check_covariances(limit, "estimate")
    # what is made of constants is traced where everything is
    if not is_concrete((problem, jnp.zeros(()))):
        raise TypeError(
            "`estimate` decides by what it measures and cannot be traced by JAX. Call it "
            "outside `jit`, `grad` and `vmap`."
        )
    if limit.diffusion.vanishes:
        raise ValueError(
            f"`limit` must have noise for `estimate`; got {full_name(limit)}, whose V is "
            "known to 1e-8 without. Apply `observable` to `vs[:, -1]` of `covsde.solve`."
        )
    if problem.bounds.can_explode and stop_above is None:
        raise ValueError(
            f"`limit` must not explode for its expectations to exist; got "
            f"{full_name(limit)}. Pass `stop_above`, for the expectation at V stopped at a "
            "level, or ask for medians and quantiles of `solve`."
        )
    scheme = Scheme.of(problem._replace(num_paths=MOST_PATHS), solver)
    _check_observable(observable, problem.v0)
    simulation = Simulation(scheme, observable)
    least = least_budget(simulation)
    if budget is not None:
        accepted = f"a number of at least {least:,} steps here, or None"
        way_out = "Pilots and runs of the first three levels take as many."
        budget = number("budget", budget, accepted, way_out, test=lambda x: x >= least)
    with reporting(progress, 0, least, "steps") as report:
        return multilevel(simulation, tol, confidence, Ledger(budget, report))


def _check_observable(observable: Callable, v0: Array) -> None:
    """Refuses what does not return finite real numbers, by shapes and at the start."""
    name = full_name(observable).strip("<>")
    try_observable("observable", observable, v0.shape[-2:], v0.dtype, name)
    at_start = np.asarray(observable(v0[None]))
    if not np.all(np.isfinite(at_start)):
        raise ValueError(
            f"`observable` must be finite; got {at_start[0]} at `v0`. Choose one that is, "
            "such as a correlation."
        )
