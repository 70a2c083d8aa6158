"""Measuring the order of a solver, with intervals that know the Monte-Carlo noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import stats

from ._checks import count, found, is_concrete, is_real
from ._names import full_name
from ._problem import check_problem, in_dtype
from .brownian import BrownianGrid
from .limits import AbstractLimit
from .solve import check_drift, check_singular, check_solver, check_step, integrate, refine

_CHUNK = 2**12
# A point is used where its error exceeds this many standard errors.
_NOISE = 3.0
# The fine solution takes this many times the most steps.
_FINER = 4


@dataclass(frozen=True)
class Order:
    """The slope of log error against log step.

    - `slope ± margin`: an interval of the study's confidence, of a generalised regression
      that knows the points' noise and its correlation, for they share their paths; where
      the points scatter more than that, so much wider.
    - `points`: how many were used; with fewer than two both are NaN.
    """

    slope: float
    margin: float
    points: int

    def __str__(self) -> str:
        return f"{self.slope:.2f} ± {self.margin:.2f}" if self.points > 1 else "–"


@dataclass(frozen=True)
class Errors:
    """Errors of one solver.

    - `solver`: its name. `steps`: how many it took to `t1`.
    - `errors`, `standard_errors`: of each number of steps; weak errors have a sign.
    - `above_noise`: where an error exceeds three standard errors: what the order is from.
    """

    solver: str
    steps: tuple[int, ...]
    errors: np.ndarray
    standard_errors: np.ndarray
    order: Order

    @property
    def above_noise(self) -> np.ndarray:
        return np.abs(self.errors) > _NOISE * self.standard_errors


@dataclass(frozen=True)
class Study:
    """Errors and orders of several solvers; `print` shows a table.

    - `rows`: one [`covsde.convergence.Errors`][] for each solver.
    - `title`: the problem. `reference`: what the errors are from.
    - `t1`, `num_paths`, `confidence`: as they were asked for.
    """

    title: str
    reference: str
    t1: float
    num_paths: int
    confidence: float
    rows: tuple[Errors, ...]

    def __str__(self) -> str:
        width = max(len(row.solver) for row in self.rows)
        steps = self.rows[0].steps
        head = f"{'steps':{width}}" + "".join(f"{n:>11}" for n in steps) + "   order"
        lines = [self.title, f"errors from {self.reference}; {self.num_paths:,} paths"]
        lines += ["", head, "-" * (len(head) + 8)]
        for row in self.rows:
            marks = ("" if above else "°" for above in row.above_noise)
            cells = [f"{e:.2e}{m}" for e, m in zip(row.errors, marks, strict=True)]
            errors = "".join(f"{cell:>11}" for cell in cells)
            noise = "".join(f"{f'± {e:.0e}':>11}" for e in row.standard_errors)
            lines += [f"{row.solver:{width}}{errors}   {row.order}", " " * width + noise]
        lines += ["", f"orders with {self.confidence:.0%} intervals"]
        if any(not row.above_noise.all() for row in self.rows):
            lines += ["° within three standard errors of 0: left out of the order"]
        return "\n".join(lines)


def study(
    limit: AbstractLimit,
    solvers: Sequence[diffrax.AbstractSolver],
    v0: Float[Array, "m m"],
    t1: float,
    observable: Callable[[Float[Array, "num_paths m m"]], Float[Array, " num_paths"]],
    *,
    key: PRNGKeyArray,
    steps: Sequence[int] = (2, 4, 8, 16),
    num_paths: int = 100_000,
    exact: float | None = None,
    strong: bool = False,
    confidence: float = 0.95,
) -> Study:
    """Weak or strong errors of solvers, and their orders.

    All solvers, and all numbers of steps, run on the same Brownian paths. Weak errors are
    those of `E f(V_T)`, from the exact mean if there is one, and else from a solution of
    the first solver with four times the most steps, on the same paths. Strong errors are
    `E|f(V_T) − f(V_T')|`, from that fine solution of the same solver.

    **Arguments:**

    - `limit`, `v0`, `t1`, `key`: as for [`covsde.solve`][].
    - `solvers`: solvers of covsde, or `diffrax.Euler()`.
    - `observable`: f, a JAX function of covariances `(num_paths, m, m)`.
    - `steps`: numbers of steps to `t1`, each a multiple of the one before.
    - `num_paths`: number of paths; a standard error falls like its root.
    - `exact`: `E f(V_T)`, for weak errors; [`covsde.laws.of`][] knows some.
    - `strong`: whether errors are strong.
    - `confidence`: of the intervals of the orders.

    **Returns:** a [`covsde.convergence.Study`][].

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, or a step beyond
    a solver's bound.
    """
    problem = check_problem(
        limit, v0, t1, key=key, num_paths=num_paths, saveat=None, stop_above=None
    )
    numbers = _check_steps(steps)
    if not isinstance(solvers, Sequence) or not solvers:
        raise TypeError(
            f"`solvers` must be a list of solvers; got {found(solvers)}. For example "
            "`[covsde.GeodesicStrang(), covsde.WishartEuler()]`."
        )
    if exact is not None and (strong or not is_real(exact) or not is_concrete(exact)):
        raise ValueError(
            f"`exact` must be a number, for weak errors alone; got {found(exact)}. Leave "
            "it out to compare with a fine solution."
        )
    check_drift(limit, problem.v0)
    m = problem.v0.shape[-1]
    for solver in solvers:
        check_step(problem.t1 / numbers[0], check_solver(solver), limit, m)

    fine = _FINER * numbers[-1]
    cells = max(getattr(solver, "cells_per_step", 1) for solver in solvers)
    values = []
    for solver in solvers:
        # of weak errors, the first solver's fine solution serves all
        needs_fine = exact is None and (strong or not values)
        wanted = (*numbers, fine) if needs_fine else numbers
        values.append(_values(limit, solver, observable, problem, wanted, fine, cells))
    rows = []
    for solver, found_values in zip(solvers, values, strict=True):
        f = found_values[:, : len(numbers)]
        if exact is not None:
            rest = f - float(exact)
        elif strong:
            rest = np.abs(f - found_values[:, -1:])
        else:
            rest = f - values[0][:, -1:]
        rows.append(_errors(full_name(solver), numbers, problem.t1, rest, confidence))
    reference = "a fine solution on the same paths" if exact is None else f"{exact:.10g}"
    kind = "strong" if strong else "weak"
    title = f"{kind} errors of {full_name(limit)} at t = {problem.t1:g}"
    return Study(title, reference, problem.t1, problem.num_paths, confidence, tuple(rows))


def _check_steps(steps) -> tuple[int, ...]:
    way_out = "For example (2, 4, 8, 16)."
    if isinstance(steps, str) or not isinstance(steps, Sequence | np.ndarray):
        raise TypeError(f"`steps` must be integers; got {found(steps)}. {way_out}")
    numbers = tuple(count("steps", n, way_out) for n in steps)
    pairs = itertools.pairwise(numbers)
    if len(numbers) < 2 or any(b <= a or b % a for a, b in pairs):
        raise ValueError(
            "`steps` must be two numbers or more, each a multiple of the one before; got "
            f"{numbers}. {way_out}"
        )
    return numbers


def _values(
    limit, solver, observable, problem, numbers, finest: int, cells: int
) -> np.ndarray:
    """`f(V_T)` for every path and number of steps, `(num_paths, len(numbers))`."""
    regular = check_singular(problem.v0, limit, solver)
    chunks = []
    for first in range(0, problem.num_paths, _CHUNK):
        chunk = _chunk(
            limit,
            solver,
            observable,
            problem.v0,
            jnp.asarray(problem.t1, problem.v0.dtype),
            problem.key,
            jnp.asarray(first, jnp.uint32),
            numbers,
            finest,
            cells,
            regular,
        )
        chunks.append(np.asarray(chunk)[: problem.num_paths - first])
    return np.concatenate(chunks)


@eqx.filter_jit
def _chunk(
    limit, solver, observable, v0, t1, key, first_path, numbers, finest, cells, regular
) -> Float[Array, "num_paths numbers"]:
    dtype, m = v0.dtype, v0.shape[-1]
    limit = in_dtype(limit, dtype)
    grid = jnp.linspace(0.0, t1, finest + 1, dtype=dtype)
    path = BrownianGrid(
        refine(grid, cells),
        m,
        key=key,
        num_paths=_CHUNK,
        first_path=first_path,
        dtype=dtype,
        noise_shape=limit.diffusion.noise_shape,
    )
    level = jnp.asarray(jnp.inf, dtype)
    columns = []
    for number in numbers:
        steps = grid[:: finest // number]
        vs, _, _ = integrate(limit, solver, v0, path, steps, steps[-1:], level, regular)
        columns.append(observable(vs[:, 0]))
    return jnp.stack(columns, axis=-1)


def _errors(name, numbers, t1: float, rest: np.ndarray, confidence: float) -> Errors:
    """Means of each column, and the order that they show."""
    errors = rest.mean(axis=0)
    covariance = np.atleast_2d(np.cov(rest.T)) / len(rest)
    noise = np.sqrt(np.diag(covariance))
    used = np.abs(errors) > _NOISE * noise
    lengths = t1 / np.array(numbers)
    order = _order(lengths[used], errors[used], covariance[used][:, used], confidence)
    return Errors(name, numbers, errors, noise, order)


def _order(lengths, errors, covariance, confidence: float) -> Order:
    """Generalised least squares of log |error| on log step."""
    count = len(lengths)
    if count < 2:
        return Order(math.nan, math.nan, count)
    weights = np.linalg.pinv(covariance / np.outer(errors, errors))
    design = np.stack([np.ones(count), np.log(lengths)], axis=1)
    normal = np.linalg.inv(design.T @ weights @ design)
    fit = normal @ design.T @ weights @ np.log(np.abs(errors))
    rest = np.log(np.abs(errors)) - design @ fit
    scatter = float(rest @ weights @ rest) / (count - 2) if count > 2 else 0.0
    quantile = stats.norm.ppf(0.5 + confidence / 2)
    if scatter > 1:  # the errors are no power of the step: believe the scatter
        quantile = stats.t.ppf(0.5 + confidence / 2, count - 2) * scatter**0.5
    return Order(float(fit[1]), float(quantile * normal[1, 1] ** 0.5), count)
