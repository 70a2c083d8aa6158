"""`V` at the times to save, along given Brownian paths."""

import dataclasses
import math
from typing import NamedTuple, cast

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .._problem import in_dtype
from ..brownian import BrownianGrid, Motion
from ..functionals import (
    EXPLODED,
    LOST,
    Fates,
    Projections,
    Stopping,
)
from ..matrices import Lower, Symmetric, factorise
from ..solvers import AbstractFactorSolver, ProjectedEuler
from ..states import Number, read
from ._clock import Clock, by_clocks
from ._grid import by_grid, recomputed, where_wanted
from ._run import Run
from ._stepper import Stepper


class Paths(NamedTuple):
    """What is simulated of some paths.

    - `vs`: what is read of their states at the times to save, `(num_paths, k, m, m)`.
    - `stopped_at`: when they were stopped, inf where never.
    - `kept`: functionals by name, `(num_paths, k)`.
    """

    vs: Float[Array, "num_paths k ..."]
    stopped_at: Float[Array, " num_paths"]
    kept: dict[str, Float[Array, "num_paths k"]]

    @property
    def projections(self) -> Int[Array, " num_paths"] | None:
        """How often a projecting solver left the cone; None of any other."""
        counts = self.kept.get("projections")
        return None if counts is None else counts[:, -1].astype(jnp.int32)


def integrate(run: Run, path: BrownianGrid) -> Paths:
    """Paths by steps of some cells of a Brownian grid each: for coarse and fine steps of
    the same path.

    Where the speed depends on the state, `NinomiyaNinomiya` is slowed, for no path has a
    clock here.
    """
    return on_grid(run, Motion.of(path, (path.ts.size - 1) // (run.steps.size - 1)))


def on_grid(run: Run, motion: Motion) -> Paths:
    """Paths by the same steps for all of them."""
    solver, steps, save_times = run.solver, run.steps, run.save_times
    stepper, start = _stepper(run, motion), _start(run, motion)
    watched = run.level is not None or run.functionals
    if isinstance(solver, AbstractFactorSolver) and not watched:
        # else states would be looked at between the flows
        start = solver.begin(cast(Lower, start))
    (ys, kept), last = by_grid(stepper, start, steps, save_times, run.num_steps)
    fates, drift = last.fates, stepper.limit.drift

    @recomputed
    def finished(now):
        t, y = now
        if isinstance(solver, AbstractFactorSolver):
            y, finite = solver.finish(drift, t, y, None)
        else:
            finite = jnp.ones(motion.paths.shape, bool)
        return read(y), finite

    if run.num_steps is not None:  # there is room for more times than there are
        finished = where_wanted(lambda now: now[0] >= 0, finished)
    # what is made of a state is made afterwards, and not in every step
    vs, finite = lax.map(finished, (save_times, ys))
    # a path may explode in the very last flow
    gone = EXPLODED if _stays(solver) else LOST
    fates = fates.stopped(fates.running & ~finite[-1], steps[-1], gone)

    def told(now):
        t, v, finite = now
        return fates.stopped(fates.running & ~finite, t, gone).readable(v, t)

    return _paths(lax.map(told, (save_times, vs, finite)), kept, fates)


def on_clocks(run: Run, motion: Motion, part: int, wanted: Array | None = None) -> Paths:
    """Paths by steps of their own, in parts of so many; all, or as many as `wanted`."""
    solver = run.solver
    most = getattr(solver, "most", 1 / 8)
    if hasattr(solver, "most"):  # the clock slows it down, and loses no time
        solver = dataclasses.replace(solver, most=math.inf)  # pyright: ignore
    stepper = _stepper(dataclasses.replace(run, solver=solver), motion)
    clock = Clock(run.dt0, most, run.save_times[-1])
    start = _start(run, motion)
    return _paths(*by_clocks(stepper, clock, start, run.save_times, part, wanted))


def _stepper(run: Run, motion: Motion) -> Stepper:
    functionals = dict(run.functionals)
    if isinstance(run.solver, ProjectedEuler):
        functionals["projections"] = Projections()
    stopping = Stopping(
        run.level,
        _stays(run.solver),
        between=run.between and run.level is not None,
        keeps=run.clocked or bool(functionals),
    )
    limit = in_dtype(run.limit, run.v0.dtype)
    return Stepper(limit, run.solver, motion, stopping, functionals)


def _stays(solver) -> bool:
    """Whether a state that is not finite has exploded, for it cannot leave the cone."""
    return getattr(solver, "stays_within", False)


def _start(run: Run, motion: Motion) -> Lower | Symmetric | Number:
    if run.limit.is_number:
        return Number(jnp.broadcast_to(run.limit.initial(run.v0), motion.paths.shape))
    v0, on_factor = run.v0, isinstance(run.solver, AbstractFactorSolver)
    if on_factor:
        start = factorise(v0).as_invertible(run.regular)
    else:
        start = Symmetric.from_dense(v0)
    return start.repeat(motion.paths.size) if v0.ndim == 2 else start


def _paths(vs: Array, kept: dict[str, Array], fates: Fates) -> Paths:
    """With the paths first, where the times were."""
    by_path = {name: jnp.moveaxis(x, 0, 1) for name, x in kept.items()}
    return Paths(jnp.moveaxis(vs, 0, 1), fates.stopped_at, by_path)
