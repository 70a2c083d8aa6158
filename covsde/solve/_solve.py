"""One call from a limit to its solution."""

from __future__ import annotations

from collections.abc import Mapping

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from .._normals import Normals
from .._problem import Problem, check_problem
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit
from ..solution import Solution, solution_of
from ._ode import check_reached
from ._plan import decide
from ._reuse import simulated


def solve(
    limit: AbstractLimit,
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "num_paths m m"],
    t1: float,
    *,
    key: PRNGKeyArray,
    num_paths: int,
    dt0: float | None = None,
    solver: diffrax.AbstractSolver | None = None,
    saveat: Float[ArrayLike, " k"] | None = None,
    stop_above: float | None = None,
    functionals: Mapping[str, AbstractFunctional] | None = None,
    normals: Normals = "box-muller",
) -> Solution:
    """Simulates the covariance SDE of a limit.

    **Arguments:**

    - `limit`: the limit, e.g. `ShapedMLP(ShapedReLU(0.0, -1.0))`.
    - `v0`: covariance at time 0, one for all paths or one for each; symmetric positive
      semi-definite with positive diagonal. `covsde.gram(x)` makes it from inputs.
    - `t1`: final time, in units of depth/width.
    - `key`: a JAX random key. Path i depends on it and on i alone.
    - `num_paths`: number of independent paths.
    - `dt0`: longest step; None picks `default_step(solver, limit, m)`. Between two saved
      times steps are equal, so that every saved time is the end of a step. A limit without
      noise is solved to a relative tolerance of 1e-8 by Diffrax's `Dopri8` unless a step,
      a solver or functionals are given.
    - `solver`: a solver of `covsde`, or `diffrax.Euler()`; None picks
      `default_solver(limit)`.
    - `saveat`: increasing times in `[0, t1]` to save; None saves `t1` only.
    - `stop_above`: a path is stopped at this level of `tr V/m`: its time goes to
      `stopped_at`, and its state is kept, scaled to the level. Between the ends of steps
      it is found by a Brownian bridge.
    - `functionals`: what is kept along each path besides its state, by name; e.g.
      `{"time": covsde.functionals.Integral(f)}`. The solution has their values.
    - `normals`: how normals are made of random bits, `"box-muller"` or the slower
      `"inverse"` of the distribution function, as in `jax.random.normal`.

    **Returns:** a [`covsde.Solution`][]; its arrays have the dtype of `v0`. Of an
    [`covsde.UnshapedMLP`][] it is a [`covsde.UnshapedSolution`][].

    **Raises:** `ValueError` or `TypeError`, before anything is compiled, for input that
    has no meaning, a step beyond the solver's bound, or a solver that is wrong for these
    equations.
    """
    problem = check_problem(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_paths,
        saveat=saveat,
        stop_above=stop_above,
    )
    return solved(problem, solver, dt0, functionals, normals)


def solved(
    problem: Problem,
    solver: diffrax.AbstractSolver | None = None,
    dt0: float | None = None,
    functionals: Mapping[str, AbstractFunctional] | None = None,
    normals: Normals = "box-muller",
) -> Solution:
    """The solution of a checked problem."""
    run, dt0 = decide(problem, solver, dt0, functionals, normals)
    num_paths, saved = problem.num_paths, slice(run.num_saved)
    paths = simulated(run, 1 if run.one_path else num_paths)
    if run.by_tolerance:
        check_reached(paths.vs)
    # NumPy's numbers are cut before they are JAX's, which compiles each operation
    numpy = np if isinstance(paths.vs, np.ndarray) else jnp
    if run.one_path:
        paths = jax.tree.map(
            lambda x: numpy.broadcast_to(x, (num_paths, *x.shape[1:])), paths
        )
    told = {
        "ts": run.ts,
        "vs": paths.vs[:, saved],
        "stopped_at": paths.stopped_at,
        "projections": paths.projections,
        "functionals": {name: paths.kept[name][:, saved] for name in run.functionals},
    }
    return solution_of(
        limit=run.limit,
        key=run.key,
        solver=run.solver,
        dt0=dt0,
        **jax.device_put(told),
    )
