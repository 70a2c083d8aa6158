"""The same paths by ever shorter steps."""

from __future__ import annotations

from collections.abc import Sequence

import diffrax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._jit import jit
from .._problem import check_problem
from ..limits import AbstractLimit
from ..solution import Solution
from ..solve import Paths, Run, Scheme, cells_per_step, check_covariances, integrate
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

    - `limit`, `v0`, `t1`, `key`, `num_paths`: as for [`covsde.solve`][].
    - `stop_above`: stops a path at this level of `tr V/m`, which is looked at at the ends
      of steps alone: `stopped_at` is right to order ½ in the step.
    - `steps`: numbers of equal steps to `t1`, each a multiple of the one before.
    - `solver`: None picks [`covsde.MagnusStrang`][], of strong order 1, where the noise is
      `√Γ F dS Fᵀ`, and `default_solver(limit)` for any other.

    **Returns:** a [`covsde.Solution`][] for each number of steps n, with `ts` of shape
    `(n + 1,)`.

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, or a step
    beyond the solver's bound.
    """
    problem = check_problem(
        limit, v0, t1, key=key, num_paths=num_paths, stop_above=stop_above
    )
    check_covariances(limit, "nested")
    numbers = check_steps(steps)
    if solver is None and limit.diffusion.is_congruence:
        solver = MagnusStrang()
    run, _ = Scheme.of(problem, solver).run(problem.t1 / numbers[0])
    run = run.in_steps(numbers[-1], problem.t1)
    runs = _nested(run, problem.num_paths, numbers)
    return tuple(
        Solution(
            ts=ts,
            vs=paths.vs,
            stopped_at=paths.stopped_at,
            limit=limit,
            key=run.key,
            solver=run.solver,
            dt0=problem.t1 / number,
            projections=paths.projections,
        )
        for number, (ts, paths) in zip(numbers, runs, strict=True)
    )


@jit
def _nested(
    run: Run, num_paths: int, numbers: tuple[int, ...]
) -> list[tuple[Array, Paths]]:
    path = run.brownian(cells_per_step(run.solver), num_paths=num_paths)
    grids = [run.steps[:: numbers[-1] // number] for number in numbers]
    return [(steps, integrate(run.on(steps, steps), path)) for steps in grids]
