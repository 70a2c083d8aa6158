"""A problem with the solver that is right for it, and the runs that are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from .._checks import is_concrete
from .._normals import Normals, check_normals
from .._problem import Problem, check_problem
from .._times import check_time
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit
from ._checks import check_drift, check_functionals, check_singular
from ._defaults import default_solver, default_step, max_step
from ._kind import check_kind, check_tilts
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
        return default_step(self.solver, problem.limit, problem.m, problem.v0, problem.t1)

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

    def run(
        self,
        dt0: float | None = None,
        functionals: Mapping[str, AbstractFunctional] | None = None,
        normals: Normals = "box-muller",
    ) -> tuple[Run, float]:
        """By steps of at most `dt0`, or by clocks; and the longest step."""
        problem, functionals = self.problem, check_functionals(functionals)
        check_tilts(problem.limit, functionals)
        dt0 = check_time("dt0", self.default_step if dt0 is None else dt0)
        dt0 = min(dt0, problem.t1)
        self.check_step(dt0)
        check_range(problem)
        dtype = problem.v0.dtype
        steps = step_times(problem.save_times, problem.t1, dt0)
        check_resolution(steps, dtype)
        run = Run(
            limit=problem.limit,
            solver=self.solver,
            v0=problem.v0,
            steps=jax.device_put(steps.astype(dtype)),
            save_times=jax.device_put(problem.times.astype(dtype)),
            dt0=jnp.asarray(dt0, dtype),
            level=problem.stop_level,
            key=problem.key,
            functionals=functionals,
            num_saved=problem.save_times.size,
            regular=self.regular,
            normals=check_normals(normals),
            between=True,
            clocked=problem.limit.speeds_up,
        )
        return run, dt0


def plan(
    limit: AbstractLimit,
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "num_paths m m"],
    t1: float,
    *,
    solver: diffrax.AbstractSolver | None = None,
    dt0: float | None = None,
    normals: Normals = "box-muller",
    **asked: Any,
) -> tuple[Run, float]:
    """The run that these arguments of [`covsde.solve`][] ask for, and its longest step.

    **Raises:** as `solve` does, for it is here that input is refused.
    """
    problem = check_problem(limit, v0, t1, **asked)
    return Scheme.of(problem, solver).run(dt0, normals=normals)
