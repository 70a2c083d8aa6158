"""A problem with the solver that is right for it, and the runs that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import diffrax
import numpy as np
from jaxtyping import ArrayLike, Float

from .._checks import is_concrete
from .._normals import Normals, check_normals
from .._problem import Problem, check_problem
from .._times import check_time
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit
from ._checks import check_drift, check_functionals, check_singular
from ._defaults import chosen_step, default_solver, max_step
from ._kind import check_kind, check_tilts
from ._ode import SOLVER
from ._range import check_range
from ._run import Run
from ._solver import check_solver
from ._steps import check_resolution, step_times


class Scheme(NamedTuple):
    """A problem and its solver, checked; `regular`: whether `v0` is known to be."""

    problem: Problem
    solver: diffrax.AbstractSolver
    regular: bool

    @classmethod
    def of(cls, problem: Problem, solver: diffrax.AbstractSolver | None) -> Scheme:
        """Refuses a solver that is wrong, a drift that is none, and a start that they do
        not take. None picks `default_solver(limit)`.
        """
        solver = default_solver(problem.limit) if solver is None else check_solver(solver)
        check_kind(problem.limit, solver)
        check_drift(problem)
        return cls(problem, solver, check_singular(problem, solver))

    @property
    def default_step(self) -> float:
        """The step that is taken if none is given."""
        problem = self.problem
        limit = problem.limit
        step = chosen_step(self.solver, limit, problem.m, problem.v0, problem.t1)
        if step == 0:
            raise ValueError(
                f"`limit` must have a step longer than 0; got {type(limit).__name__} with "
                "parameters so large that none is. Pass smaller ones."
            )
        return step

    @property
    def max_step(self) -> float:
        """The longest step for which the solver is proven to work."""
        return max_step(self.solver, self.problem.limit, self.problem.m, self.problem.t1)

    def check_step(self, dt0: float) -> None:
        """Refuses a longer one."""
        limit = self.problem.limit
        if is_concrete(limit) and dt0 > self.max_step * (1 + 1e-9):
            raise ValueError(
                f"`dt0` must be at most {self.max_step:.6g} for "
                f"{type(self.solver).__name__} with this limit and m = {self.problem.m}; "
                f"got {dt0:g}. Pass a smaller step, or None to have one chosen."
            )

    def longest_step(self, dt0: float | None) -> float:
        """`dt0` or the default, at most all of the time."""
        chosen = dt0 is None
        dt0 = check_time("dt0", self.default_step if chosen else dt0)
        dt0 = min(dt0, self.problem.t1)
        if not chosen:
            self.check_step(dt0)
        check_range(self.problem)
        return dt0

    def steps(self, dt0: float | None) -> tuple[np.ndarray, float]:
        """The ends of steps of at most `dt0`, or of the default; and the longest step."""
        problem, dt0 = self.problem, self.longest_step(dt0)
        steps = step_times(problem.save_times, problem.t1, dt0)
        check_resolution(steps, problem.v0.dtype)
        return steps, dt0

    def run(
        self,
        dt0: float | None = None,
        functionals: Mapping[str, AbstractFunctional] | None = None,
        normals: Normals = "box-muller",
    ) -> tuple[Run, float]:
        """By steps of at most `dt0`, or by clocks; and the longest step."""
        problem, functionals = self.problem, check_functionals(functionals)
        check_tilts(problem.limit, functionals)
        steps, dt0 = self.steps(dt0)
        run = _made(
            problem,
            self.solver,
            steps,
            dt0,
            normals,
            functionals=functionals,
            regular=self.regular,
            clocked=problem.limit.speeds_up,
        )
        return run, dt0


def decide(
    problem: Problem,
    solver: diffrax.AbstractSolver | None = None,
    dt0: float | None = None,
    functionals: Mapping[str, AbstractFunctional] | None = None,
    normals: Normals = "box-muller",
) -> tuple[Run, float | None]:
    """The run of a problem and its longest step; None, of what a tolerance chooses.

    That is of a limit without noise, unless steps are asked for.
    """
    if functionals or not _by_tolerance(problem, solver, dt0):
        return Scheme.of(problem, solver).run(dt0, functionals, normals)
    run = _made(problem, SOLVER, problem.times, problem.t1, normals, by_tolerance=True)
    return run, None


def _made(
    problem: Problem,
    solver: diffrax.AbstractSolver,
    steps: np.ndarray,
    dt0: float,
    normals: Normals,
    *,
    functionals: dict[str, AbstractFunctional] | None = None,
    regular: bool = False,
    clocked: bool = False,
    by_tolerance: bool = False,
) -> Run:
    """The run of a problem by a solver, with its arrays in the dtype of the start."""

    def numbers(x: Any) -> Any:
        return np.asarray(x, problem.v0.dtype)

    return Run(
        limit=problem.limit,
        solver=solver,
        v0=problem.v0,
        steps=numbers(steps),
        save_times=numbers(problem.times),
        dt0=numbers(dt0),
        level=None if np.isinf(problem.level) else numbers(problem.level),
        key=problem.key,
        functionals=functionals or {},
        num_saved=problem.save_times.size,
        regular=regular,
        normals=check_normals(normals),
        between=True,
        clocked=clocked,
        by_tolerance=by_tolerance,
    )


def longest_step(
    problem: Problem, solver: diffrax.AbstractSolver | None, dt0: float | None
) -> float | None:
    """That of the run which `decide` makes, and no run."""
    if _by_tolerance(problem, solver, dt0):
        return None
    return Scheme.of(problem, solver).longest_step(dt0)


def _by_tolerance(problem: Problem, solver, dt0) -> bool:
    """Whether no steps are asked for, and there is no noise; then it is checked here."""
    if solver is not None or dt0 is not None or not problem.limit.diffusion.vanishes:
        return False
    check_drift(problem)
    check_range(problem)
    return True


def plan(
    limit: AbstractLimit,
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "num_paths m m"],
    t1: float,
    *,
    solver: diffrax.AbstractSolver | None = None,
    dt0: float | None = None,
    normals: Normals = "box-muller",
    **asked: Any,
) -> tuple[Run, float | None]:
    """The run that these arguments of [`covsde.solve`][] ask for, and its longest step;
    None, of what a tolerance chooses.

    **Raises:** as `solve` does, for it is here that input is refused.
    """
    return decide(check_problem(limit, v0, t1, **asked), solver, dt0, normals=normals)
