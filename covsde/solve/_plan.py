"""A run that is checked and decided, and its simulation for any range of paths."""

from __future__ import annotations

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Scalar

from .._normals import Normals, check_normals
from .._problem import check_problem, in_dtype
from .._times import check_time
from ..limits import AbstractLimit
from ..matrices import num_stored
from ._checks import (
    check_drift,
    check_singular,
    check_solver,
    check_step,
)
from ._defaults import default_solver, default_step
from ._integrate import brownian, cells_per_step, integrate
from ._steps import check_resolution, step_times

# Entries of a matrix of all paths that are simulated together: on a processor they stay in
# its cache, on an accelerator they keep all of it busy.
_ENTRIES_IN_CACHE, _ENTRIES_ON_ACCELERATOR, _LEAST_AT_A_TIME = 2**14, 2**24, 64
# Entries of all states that are kept for a derivative in reverse mode, 128 MB in float64.
# Of more paths and steps, each part is simulated once more, and only its states are kept.
_ENTRIES_KEPT = 2**24


class Run(eqx.Module):
    """All that a simulation depends on, but for which paths of it are wanted.

    - `steps`: the ends of the steps. `save_times`: those to save; the last is the end,
      and the first `num_saved` were asked for.
    - `level`: at which paths stop, or None. `regular`: whether `v0` is known to be.
    """

    limit: AbstractLimit
    solver: diffrax.AbstractSolver
    v0: Float[Array, "m m"] | Float[Array, "num_paths m m"]
    steps: Float[Array, " steps+1"]
    save_times: Float[Array, " k"]
    level: Scalar | None
    key: PRNGKeyArray
    num_saved: int = eqx.field(static=True)
    regular: bool = eqx.field(static=True)
    normals: Normals = eqx.field(static=True)

    @property
    def ts(self) -> Float[Array, " num_saved"]:
        """The times that were asked for."""
        return self.save_times[: self.num_saved]

    @property
    def one_path(self) -> bool:
        """Whether all paths are one, for want of noise and of different starts."""
        return self.limit.diffusion.vanishes and self.v0.ndim == 2


def plan(
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
) -> tuple[Run, float]:
    """The run that these arguments of [`covsde.solve`][] ask for, and its longest step.

    **Raises:** as `solve` does, for it is here that input is refused.
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
    solver = default_solver(limit) if solver is None else check_solver(solver)
    m = problem.v0.shape[-1]
    check_drift(limit, problem.v0, problem.t1)
    regular = check_singular(problem.v0, limit, solver)
    t1 = problem.t1
    if dt0 is None:
        dt0 = default_step(solver, limit, m, problem.v0, t1)
    dt0 = min(check_time("dt0", dt0), t1)
    check_step(dt0, solver, limit, m, t1)

    steps = step_times(problem.save_times, problem.t1, dt0)
    dtype = problem.v0.dtype
    check_resolution(steps, dtype)
    run = Run(
        limit=limit,
        solver=solver,
        v0=problem.v0,
        steps=jnp.asarray(steps, dtype),
        save_times=jnp.asarray(np.union1d(problem.save_times, problem.t1), dtype),
        level=problem.stop_level,
        key=problem.key,
        num_saved=problem.save_times.size,
        regular=regular,
        normals=check_normals(normals),
    )
    return run, dt0


def paths_at_a_time(m: int) -> int:
    """As many paths as are simulated together."""
    cached = jax.default_backend() == "cpu"
    entries = _ENTRIES_IN_CACHE if cached else _ENTRIES_ON_ACCELERATOR
    return max(_LEAST_AT_A_TIME, entries // num_stored(m))


def simulate(
    run: Run, num_paths: int, first_path: Int[Array, ""] | int = 0
) -> tuple[Float[Array, "num_paths k m m"], Float[Array, " num_paths"], Array | None]:
    """Paths from a global index on: `V` at the times to save, where paths stopped, and
    what a projecting solver counted. To be compiled.

    A `v0` for each path is that of these paths.
    """
    v0, m = run.v0, run.v0.shape[-1]
    limit = in_dtype(run.limit, v0.dtype)
    count = -(-num_paths // paths_at_a_time(m))
    size = -(-num_paths // count)

    def part(which):
        first, v0 = which
        path = brownian(
            limit,
            v0,
            run.steps,
            cells_per_step(run.solver),
            key=run.key,
            num_paths=size,
            first_path=first,
            normals=run.normals,
        )
        return integrate(
            limit, run.solver, v0, path, run.steps, run.save_times, run.level, run.regular
        )

    if num_paths * num_stored(m) * run.steps.size > _ENTRIES_KEPT:
        part = jax.checkpoint(part, prevent_cse=False)
    firsts = jnp.asarray(first_path, jnp.uint32)
    firsts = firsts + size * jnp.arange(count, dtype=jnp.uint32)
    if v0.ndim == 3:  # the last part is filled up with the last start
        fill = count * size - num_paths
        starts = jnp.concatenate([v0, jnp.broadcast_to(v0[-1:], (fill, m, m))])
        parts = lax.map(part, (firsts, starts.reshape(count, size, m, m)))
    else:
        parts = lax.map(lambda first: part((first, v0)), firsts)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_paths], parts)
