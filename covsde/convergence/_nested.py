"""The same paths by ever shorter steps."""

from __future__ import annotations

from collections.abc import Sequence

import diffrax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from .._jit import jit
from .._problem import check_problem, in_dtype
from ..limits import AbstractLimit
from ..solution import Solution
from ..solve import (
    brownian,
    cells_per_step,
    check_covariances,
    check_drift,
    check_range,
    check_singular,
    check_solver,
    check_step,
    default_solver,
    integrate,
)
from ..solvers import MagnusStrang
from ._steps import check_steps


def nested(
    limit: AbstractLimit,
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "num_paths m m"],
    t1: float,
    *,
    key: PRNGKeyArray,
    num_paths: int,
    steps: Sequence[int] = (4, 16, 64),
    solver: diffrax.AbstractSolver | None = None,
    stop_above: float | None = None,
) -> tuple[Solution, ...]:
    """The same paths on nested grids, each saved at all of its steps.

    Every grid lies in the next, and all are driven by one Brownian motion: path i of one
    solution tends to path i of the next as steps grow shorter.

    **Arguments:**

    - `limit`, `v0`, `t1`, `key`, `num_paths`, `stop_above`: as for [`covsde.solve`][].
    - `steps`: numbers of equal steps to `t1`, each a multiple of the one before.
    - `solver`: None picks [`covsde.MagnusStrang`][], of strong order 1, where the noise is
      `√Γ F dS Fᵀ`, and `default_solver(limit)` for any other.

    **Returns:** a [`covsde.Solution`][] for each number of steps n, with `ts` of shape
    `(n + 1,)`.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, or a step
    beyond the solver's bound.
    """
    problem = check_problem(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_paths,
        saveat=None,
        stop_above=stop_above,
    )
    check_covariances(limit, "nested")
    numbers = check_steps(steps)
    if solver is None:
        congruence = limit.diffusion.is_congruence
        solver = MagnusStrang() if congruence else default_solver(limit)
    solver = check_solver(solver)
    check_drift(limit, problem.v0, problem.t1)
    m = problem.v0.shape[-1]
    check_step(problem.t1 / numbers[0], solver, limit, m, problem.t1)
    check_range(limit, problem.v0, problem.t1, problem.num_paths, problem.level)
    regular = check_singular(problem.v0, limit, solver)
    runs = _nested(
        limit,
        solver,
        problem.v0,
        jnp.asarray(problem.t1, problem.v0.dtype),
        problem.stop_level,
        problem.key,
        problem.num_paths,
        numbers,
        regular,
    )
    return tuple(
        Solution(
            ts=ts,
            vs=paths.vs,
            stopped_at=paths.stopped_at,
            limit=limit,
            key=problem.key,
            solver=solver,
            dt0=problem.t1 / number,
            projections=paths.projections,
        )
        for number, (ts, paths) in zip(numbers, runs, strict=True)
    )


@jit
def _nested(limit, solver, v0, t1, level, key, num_paths, numbers, regular):
    limit = in_dtype(limit, v0.dtype)
    grid = jnp.linspace(0.0, t1, numbers[-1] + 1, dtype=v0.dtype)
    path = brownian(limit, v0, grid, cells_per_step(solver), key=key, num_paths=num_paths)
    runs = []
    for number in numbers:
        steps = grid[:: numbers[-1] // number]
        runs.append(
            (steps, integrate(limit, solver, v0, path, steps, steps, level, regular))
        )
    return runs
