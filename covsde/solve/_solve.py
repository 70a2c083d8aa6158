"""One call from a limit to its solution."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from .._jit import jit
from .._normals import Normals
from ..limits import AbstractLimit
from ..solution import Solution
from ._plan import plan, simulate

_simulate = jit(simulate)


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
      times steps are equal, so that every saved time is the end of a step.
    - `solver`: a solver of `covsde`, or `diffrax.Euler()`; None picks
      `default_solver(limit)`.
    - `saveat`: increasing times in `[0, t1]` to save; None saves `t1` only.
    - `stop_above`: a path is frozen, and its time recorded, once `tr V/m` exceeds this
      level. A path that explodes is always frozen at its last finite state.
    - `normals`: how normals are made of random bits, `"box-muller"` or the slower
      `"inverse"` of the distribution function, as in `jax.random.normal`.

    **Returns:** a [`covsde.Solution`][]; its arrays have the dtype of `v0`.

    **Raises:** `ValueError` or `TypeError`, before anything is compiled, for input that
    has no meaning, a step beyond the solver's bound, or a solver that is wrong for these
    equations.
    """
    run, dt0 = plan(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_paths,
        dt0=dt0,
        solver=solver,
        saveat=saveat,
        stop_above=stop_above,
        normals=normals,
    )
    num_paths = int(num_paths)
    paths = _simulate(run, 1 if run.one_path else num_paths)
    paths = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_paths, *x.shape[1:])), paths)
    return Solution(
        ts=run.ts,
        vs=paths.vs[:, : run.num_saved],
        stopped_at=paths.stopped_at,
        limit=limit,
        key=run.key,
        solver=run.solver,
        dt0=dt0,
        projections=paths.projections,
    )
