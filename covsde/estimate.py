"""Expectations to a tolerance, by multilevel Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import norm

from ._checks import found, is_concrete, number
from ._jit import jit
from ._names import full_name
from ._problem import check_problem, in_dtype
from .brownian import BrownianGrid
from .limits import AbstractLimit
from .solve import (
    brownian,
    cells_per_step,
    check_drift,
    check_singular,
    check_solver,
    default_solver,
    default_step,
    integrate,
    max_step,
)

# Paths that are simulated together, and those that measure the variances.
_CHUNK = _PILOT = 2**10
# How often variances are measured anew on the paths themselves, and paths are added.
_ROUNDS = 3
# Shares of the squared tolerance: left to the bias, and in reserve.
_BIAS_SHARE, _RESERVE = 0.1, 0.2
_LONGEST, _MOST_LEVELS = 8, 12


@dataclass(frozen=True)
class Level:
    """One term of the telescoping sum.

    - `steps`: of the finer of the two grids; the first level has one grid alone.
    - `mean`, `variance`: of the term, for one path. `paths`: how many were simulated.
    """

    steps: int
    mean: float
    variance: float
    paths: int


@dataclass(frozen=True)
class Estimate:
    """`E f(V_T)`, with what is known of its error.

    - `value`: the estimate. `interval`: it contains the expectation with the probability
      `confidence`.
    - `standard_error`: of the sampling. `bias`: a bound of what the steps leave, measured
      on the last level.
    - `tol`: the root mean square error that was asked for.
    - `levels`: the terms. `cost`: steps of one path, in all, the pilot included.
    """

    value: float
    interval: tuple[float, float]
    standard_error: float
    bias: float
    tol: float
    confidence: float
    levels: tuple[Level, ...]
    cost: int
    name: str

    @property
    def error(self) -> float:
        """Root mean square error, `√(standard_error² + bias²)`."""
        return math.hypot(self.standard_error, self.bias)

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            self.name,
            f"{self.value:.6g} ± {self.error:.2g} (asked for {self.tol:.2g}); "
            f"{self.confidence:.0%}: {low:.6g} … {high:.6g}",
            f"standard error {self.standard_error:.2g}, bias at most {self.bias:.2g}, "
            f"{self.cost:.3g} steps",
            "",
            f"{'steps':>6}{'paths':>12}{'mean':>13}{'deviation':>12}",
        ]
        lines += [
            f"{one.steps:6}{one.paths:12,}{one.mean:13.3e}{one.variance**0.5:12.3e}"
            for one in self.levels
        ]
        return "\n".join(lines)


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
) -> Estimate:
    """`E f(V_T)` to a root mean square error of `tol`, with a confidence interval.

    Multilevel Monte Carlo: few paths with short steps correct many with long ones, driven
    by the same Brownian motion. A correction is the mean over a path and its antithetic,
    which has the two halves of every long step exchanged. How many levels, at which step
    the first one stands (a single one is plain Monte Carlo), and how many paths each takes
    follow from variances measured by a pilot run, whose paths are not used again, and then
    on the paths themselves. On the first level the Brownian motion at `t1` and its squares,
    whose means are known for every limit, are control variates. A last correction is
    extrapolated to steps of length 0 by the solver's weak order, and its size bounds the
    bias.

    **Arguments:**

    - `limit`, `v0`, `t1`, `key`, `stop_above`: as for [`covsde.solve`][].
    - `observable`: f, a JAX function of covariances `(num_paths, m, m)`, e.g.
      `lambda v: correlation(v)[:, 0, 1] ** 2`.
    - `tol`: the root mean square error to reach, in the unit of the observable.
    - `solver`: None picks `default_solver(limit)`.
    - `confidence`: of the interval.

    **Returns:** an [`covsde.Estimate`][].

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, for a limit that
    explodes, whose expectations need not exist, unless it is stopped, and for an observable
    that is not finite.

    Source: Giles (2008), "Multilevel Monte Carlo Path Simulation"; Giles, Szpruch (2014),
    "Antithetic multilevel Monte Carlo estimation".
    """
    problem = check_problem(
        limit, v0, t1, key=key, num_paths=1, saveat=None, stop_above=stop_above
    )
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
    way_out = "It is a root mean square error, e.g. 1e-3."
    tol = number("tol", tol, "a positive number", way_out, test=lambda x: x > 0)
    accepted, way_out = "between 0 and 1", "0.95 is usual."
    confidence = number(
        "confidence", confidence, accepted, way_out, test=lambda x: 0 < x < 1
    )
    if not is_concrete(eqx.filter(limit, eqx.is_array)):
        raise TypeError(
            "`estimate` decides by what it measures and cannot be traced by JAX. Call it "
            "outside `jit`, `grad` and `vmap`."
        )
    if limit.drift.can_explode and stop_above is None:
        raise ValueError(
            f"`limit` must not explode for its expectations to exist; got "
            f"{full_name(limit)}. Pass `stop_above`, for the expectation at V stopped at a "
            "level, or ask for medians and quantiles of `solve`."
        )
    solver = default_solver(limit) if solver is None else check_solver(solver)
    check_drift(limit, problem.v0)
    regular = check_singular(problem.v0, limit, solver)
    sampler = _Sampler(limit, solver, observable, problem, regular)
    return sampler.estimate(tol, confidence)


class _Sampler:
    """Levels of one problem, sampled on demand."""

    def __init__(self, limit, solver, observable, problem, regular: bool):
        self.limit, self.solver, self.observable = limit, solver, observable
        self.problem, self.regular = problem, regular
        m = problem.v0.shape[-1]
        longest = min(
            _LONGEST * default_step(solver, limit, m), 0.5 * max_step(solver, limit, m)
        )
        self.first = max(1, math.ceil(problem.t1 / longest - 1e-9))
        # stopping is looked at after each step, which is of order one half
        stopped = problem.stop_level is not None
        self.order = 0.5 if stopped else float(getattr(solver, "weak_order", 1))
        self.cost = 0

    def steps(self, level: int) -> int:
        return self.first * 2**level

    def work(self, level: int, alone: bool) -> int:
        """Steps of one path, its antithetic and its coarser one."""
        return self.steps(level) if alone else 2 * self.steps(level) + self.steps(level - 1)

    def sample(self, level: int, alone: bool, start: int, num_paths: int):
        """Terms of so many paths, and the Brownian motion at the end."""
        terms, controls = [], []
        key = jax.random.fold_in(self.problem.key, 2 * level + alone)
        for first in range(start, start + num_paths, _CHUNK):
            size = min(_CHUNK, start + num_paths - first)
            y, b = _terms(
                self.limit,
                self.solver,
                self.observable,
                self.problem.v0,
                jnp.asarray(self.problem.t1, self.problem.v0.dtype),
                self.problem.stop_level,
                key,
                jnp.asarray(first, jnp.uint32),
                self.steps(level),
                alone,
                self.regular,
            )
            terms.append(np.asarray(y)[:size])
            controls.append(np.asarray(b)[:size] if alone else np.zeros((size, 0)))
        y = np.concatenate(terms)
        if not np.all(np.isfinite(y)):
            broken = float(np.mean(~np.isfinite(y)))
            raise ValueError(
                f"`observable` must be finite; it is not on {broken:.2%} of the paths. "
                "Choose one that is, such as a correlation."
            )
        self.cost += -(-num_paths // _CHUNK) * _CHUNK * self.work(level, alone)
        return y, np.concatenate(controls)

    def estimate(self, tol: float, confidence: float) -> Estimate:
        spread = tol**2 * (1 - _BIAS_SHARE - _RESERVE)
        pilots = {(0, True): self.pilot(0, True)}
        last = 1
        while True:
            for level in range(1, last + 1):
                if (level, False) not in pilots:
                    pilots[level, False] = self.pilot(level, False)
            if self._bias(pilots, last) ** 2 <= _BIAS_SHARE * tol**2:
                break
            latest = pilots[last, False]
            if abs(latest.mean) < 3 * latest.error:  # noise: measure it better
                pilots[last, False] = self.pilot(last, False, 4 * latest.paths)
                continue
            if last == _MOST_LEVELS:
                raise ValueError(
                    f"`tol` must be reached within {self.steps(last)} steps; got {tol:g}, "
                    f"and a bias of {self._bias(pilots, last):.2g}. Raise it."
                )
            last += 1
        base = self._cheapest(pilots, last)
        chosen = [(base, True)] + [(level, False) for level in range(base + 1, last + 1)]
        weights = [1.0] * len(chosen)
        if len(chosen) > 1:  # the rest of the telescoping sum is a geometric series
            weights[-1] += 1 / (2**self.order - 1)
        levels = self._levels(pilots, chosen, np.array(weights), spread)
        value = sum(w * term.mean for w, term in zip(weights, levels, strict=True))
        variance = sum(
            w**2 * term.variance / term.paths
            for w, term in zip(weights, levels, strict=True)
        )
        error, bias = variance**0.5, self._bias(pilots, last)
        half = float(norm.ppf(0.5 + confidence / 2)) * math.hypot(error, bias)
        return Estimate(
            value=value,
            interval=(value - half, value + half),
            standard_error=error,
            bias=bias,
            tol=tol,
            confidence=confidence,
            levels=tuple(levels),
            cost=self.cost,
            name=f"{full_name(self.limit)} at t = {self.problem.t1:g}",
        )

    def _levels(
        self,
        pilots: dict[tuple[int, bool], _Pilot],
        chosen: list[tuple[int, bool]],
        weights: np.ndarray,
        spread: float,
    ) -> list[Level]:
        """The terms by as many paths each as leave this variance at the least work."""
        works = np.array([self.work(*one) for one in chosen])
        variances = np.array([pilots[one].variance for one in chosen])
        samples = [np.zeros(0)] * len(chosen)
        for _ in range(_ROUNDS):
            deviations = np.abs(weights) * variances**0.5
            shares = deviations @ works**0.5 * deviations / works**0.5
            wanted = np.maximum(_CHUNK // 4, np.ceil(shares / spread).astype(int))
            for i, one in enumerate(chosen):
                done, pilot = len(samples[i]), pilots[one]
                if wanted[i] > done:
                    first, more = pilot.paths + done, int(wanted[i] - done)
                    y, controls = self.sample(*one, first, more)
                    y = y - _controlled(controls) @ pilot.slopes
                    samples[i] = np.append(samples[i], y)
            variances = np.array([y.var(ddof=1) for y in samples])
        return [
            Level(self.steps(level), float(y.mean()), float(variance), len(y))
            for (level, _), y, variance in zip(chosen, samples, variances, strict=True)
        ]

    def pilot(self, level: int, alone: bool, paths: int = _PILOT) -> _Pilot:
        y, controls = self.sample(level, alone, 0, paths)
        centred = _controlled(controls)
        slopes = np.linalg.lstsq(centred, y - y.mean(), rcond=None)[0]
        rest = y - centred @ slopes
        error = (y.var(ddof=1) / len(y)) ** 0.5
        return _Pilot(float(y.mean()), float(rest.var(ddof=1)), float(error), slopes, paths)

    def _bias(self, pilots, last: int) -> float:
        """What the levels beyond `last` add, from the last two corrections."""
        factor = 2**self.order
        seen = [abs(pilots[last, False].mean)]
        if last > 1:
            seen.append(abs(pilots[last - 1, False].mean) / factor)
        return max(seen) / (factor - 1)

    def _cheapest(self, pilots, last: int) -> int:
        """The level to begin with: 0 for all of them, `last` for plain Monte Carlo."""
        costs = []
        for base in range(last):
            if (base, True) not in pilots:
                pilots[base, True] = self.pilot(base, True)
            chosen = [(base, True)] + [(one, False) for one in range(base + 1, last + 1)]
            costs.append(
                sum((pilots[one].variance * self.work(*one)) ** 0.5 for one in chosen)
            )
            if base > 0 and costs[-1] > costs[-2]:
                break
        return int(np.argmin(costs))


@dataclass(frozen=True)
class _Pilot:
    """Moments of a term, less its control variates, and their coefficients."""

    mean: float
    variance: float
    error: float
    slopes: np.ndarray
    paths: int


def _controlled(controls: np.ndarray) -> np.ndarray:
    """Standard normals and their squares less one: all of mean 0."""
    return np.concatenate([controls, controls**2 - 1], axis=1)


@jit
def _terms(
    limit, solver, observable, v0, t1, level, key, first_path, steps, alone, regular
) -> tuple[Array, Array]:
    """`f` on a grid; or its mean over a path and its antithetic, less `f` on a coarser."""
    dtype = v0.dtype
    limit = in_dtype(limit, dtype)
    grid = jnp.linspace(0.0, t1, steps + 1, dtype=dtype)

    def paths(exchanged: bool) -> BrownianGrid:
        return brownian(
            limit,
            v0,
            grid,
            cells_per_step(solver),
            key=key,
            num_paths=_CHUNK,
            first_path=first_path,
            exchanged=exchanged,
        )

    path = paths(False)

    def value(path: BrownianGrid, grid: Array) -> Array:
        vs, _, _ = integrate(limit, solver, v0, path, grid, grid[-1:], level, regular)
        return observable(vs[:, 0])

    fine = value(path, grid)
    if alone:
        return fine, _end(path) / jnp.sqrt(t1)
    antithetic = value(paths(True), grid)
    return (fine + antithetic) / 2 - value(path, grid[::2]), jnp.zeros((_CHUNK, 0), dtype)


def _end(path: BrownianGrid) -> Float[Array, "num_paths entries"]:
    """All entries of the Brownian motion at the last time."""
    leaves = jax.tree.leaves(path.evaluate(path.t0, path.t1))
    entries = [jnp.moveaxis(x.reshape(-1, x.shape[-1]), -1, 0) for x in leaves]
    return jnp.concatenate(entries, axis=-1)
