"""A run that is checked and decided, and its simulation for any range of paths."""

from __future__ import annotations

from collections.abc import Mapping

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
from ..brownian import Motion
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit
from ..matrices import num_stored
from ._checks import (
    check_drift,
    check_functionals,
    check_singular,
    check_step,
)
from ._defaults import default_solver, default_step
from ._integrate import Paths, cells_per_step, on_clocks, on_grid
from ._kind import check_kind
from ._range import check_range
from ._solver import check_solver
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
    - `level`: at which paths stop, or None; `between`: also between the ends of steps.
    - `clocked`: whether each path has a clock, whose steps are at most `dt0`.
    - `regular`: whether `v0` is known to be.
    """

    limit: AbstractLimit
    solver: diffrax.AbstractSolver
    v0: Float[Array, "m m"] | Float[Array, "num_paths m m"]
    steps: Float[Array, " steps+1"]
    save_times: Float[Array, " k"]
    dt0: Scalar
    level: Scalar | None
    key: PRNGKeyArray
    functionals: dict[str, AbstractFunctional]
    num_saved: int = eqx.field(static=True)
    regular: bool = eqx.field(static=True)
    normals: Normals = eqx.field(static=True)
    between: bool = eqx.field(static=True)
    clocked: bool = eqx.field(static=True)

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
    functionals: Mapping[str, AbstractFunctional] | None = None,
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
    functionals = check_functionals(functionals)
    check_kind(limit, solver, functionals)
    m = problem.v0.shape[-1]
    check_drift(limit, problem.v0, problem.t1)
    regular = check_singular(problem.v0, limit, solver)
    t1 = problem.t1
    if dt0 is None:
        dt0 = default_step(solver, limit, m, problem.v0, t1)
    dt0 = min(check_time("dt0", dt0), t1)
    check_step(dt0, solver, limit, m, t1)
    check_range(limit, problem.v0, t1, problem.num_paths, problem.level)

    steps = step_times(problem.save_times, problem.t1, dt0)
    dtype = problem.v0.dtype
    check_resolution(steps, dtype)
    run = Run(
        limit=limit,
        solver=solver,
        v0=problem.v0,
        steps=jnp.asarray(steps, dtype),
        save_times=jnp.asarray(np.union1d(problem.save_times, problem.t1), dtype),
        dt0=jnp.asarray(dt0, dtype),
        level=problem.stop_level,
        key=problem.key,
        functionals=functionals,
        num_saved=problem.save_times.size,
        regular=regular,
        normals=check_normals(normals),
        between=True,
        clocked=limit.speeds_up,
    )
    return run, dt0


def paths_at_a_time(m: int) -> int:
    """As many paths as are simulated together."""
    cached = jax.default_backend() == "cpu"
    entries = _ENTRIES_IN_CACHE if cached else _ENTRIES_ON_ACCELERATOR
    return max(_LEAST_AT_A_TIME, entries // num_stored(m))


def simulate(run: Run, num_paths: int, first_path: Int[Array, ""] | int = 0) -> Paths:
    """Paths from a global index on. To be compiled.

    A `v0` for each path is that of these paths.
    """
    most = paths_at_a_time(run.v0.shape[-1])
    if run.clocked:  # where few lag behind, others wait for them
        most = max(_LEAST_AT_A_TIME, most // 4)
    count = -(-num_paths // most)
    size = -(-num_paths // count)
    paths = jnp.asarray(first_path, jnp.uint32)
    paths = paths + jnp.arange(count * size, dtype=jnp.uint32)
    v0 = run.v0
    if v0.ndim == 3:  # the last part is filled up with the last start
        fill = count * size - num_paths
        v0 = jnp.concatenate([v0, jnp.broadcast_to(v0[-1:], (fill, *v0.shape[1:]))])
    some = _on_clocks if run.clocked else _on_grid
    done = some(run, v0, paths, size)
    return jax.tree.map(lambda x: x[:num_paths], done)


def _on_grid(run: Run, v0: Array, paths: Array, size: int) -> Paths:
    """Part after part."""

    def part(which):
        paths, v0 = which
        return on_grid(
            *_problem(run, v0, paths),
            run.steps,
            run.save_times,
            run.level,
            run.regular,
            between=run.between,
            functionals=run.functionals,
        )

    if paths.size * num_stored(v0.shape[-1]) * run.steps.size > _ENTRIES_KEPT:
        part = jax.checkpoint(part, prevent_cse=False)
    parts = paths.reshape(-1, size)
    if v0.ndim == 3:
        done = lax.map(part, (parts, v0.reshape(-1, size, *v0.shape[1:])))
    else:
        done = lax.map(lambda paths: part((paths, v0)), parts)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), done)


def _on_clocks(run: Run, v0: Array, paths: Array, size: int) -> Paths:
    """All at once, in parts between which paths are exchanged."""
    return on_clocks(
        *_problem(run, v0, paths),
        run.dt0,
        run.save_times,
        run.level,
        run.regular,
        between=run.between,
        functionals=run.functionals,
        part=size,
    )


def _problem(run: Run, v0: Array, paths: Array):
    """The limit and solver, the starts, and what drives them."""
    limit = in_dtype(run.limit, v0.dtype)
    motion = Motion(
        run.key,
        paths,
        v0.shape[-1],
        cells_per_step(run.solver),
        v0.dtype,
        limit.diffusion.noise_shape,
        run.normals,
    )
    return limit, run.solver, v0, motion
