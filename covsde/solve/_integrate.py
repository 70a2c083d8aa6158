"""`V` at the times to save, along given Brownian paths."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import diffrax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Scalar

from ..brownian import BrownianGrid, Motion
from ..functionals import (
    EXPLODED,
    LOST,
    AbstractFunctional,
    Fates,
    Projections,
    Stopping,
)
from ..limits import AbstractLimit
from ..matrices import Lower, Symmetric, factorise
from ..solvers import AbstractFactorSolver, LinearParabola, ProjectedEuler
from ..states import Number, read
from ._clock import Clock, by_clocks
from ._grid import by_grid, recomputed
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


def cells_per_step(solver: diffrax.AbstractSolver) -> int:
    """Brownian increments that a solver asks for in one step."""
    return getattr(solver, "cells_per_step", 1)


def brownian(
    limit: AbstractLimit, v0: Array, steps: Float[Array, " steps+1"], cells: int, **which
) -> BrownianGrid:
    """The Brownian motion of a limit's noise on a grid of steps, each of some cells.

    `which` are the paths of it, as `BrownianGrid` takes them.
    """
    return BrownianGrid(
        refine(steps, cells),
        v0.shape[-1],
        dtype=v0.dtype,
        noise_shape=limit.diffusion.noise_shape,
        **which,
    )


def integrate(
    limit: AbstractLimit,
    solver: diffrax.AbstractSolver,
    v0: Float[Array, "m m"] | Float[Array, "num_paths m m"],
    path: BrownianGrid,
    steps: Float[Array, " steps+1"],
    save_times: Float[Array, " k"],
    level: Scalar | None,
    regular: bool,
) -> Paths:
    """Paths by steps of some cells of a Brownian grid each: for coarse and fine steps of
    the same path.

    The last time to save is the end. A level is looked at after each step. Where the speed
    depends on the state, `NinomiyaNinomiya` is slowed, for no path has a clock here.
    """
    motion = Motion.of(path, (path.ts.size - 1) // (steps.size - 1))
    return on_grid(
        limit,
        solver,
        v0,
        motion,
        steps,
        save_times,
        level,
        regular,
        between=False,
    )


def on_grid(
    limit: AbstractLimit,
    solver: diffrax.AbstractSolver,
    v0: Array,
    motion: Motion,
    steps: Float[Array, " steps+1"],
    save_times: Float[Array, " k"],
    level: Scalar | None,
    regular: bool,
    *,
    between: bool,
    functionals: Mapping[str, AbstractFunctional] | None = None,
) -> Paths:
    """Paths by the same steps for all of them."""
    stepper = _stepper(limit, solver, motion, level, between, functionals, False)
    start = _start(limit, solver, v0, motion, regular)
    if isinstance(solver, AbstractFactorSolver) and level is None and not functionals:
        # else states would be looked at between the flows
        start = solver.begin(cast(Lower, start))
    (ys, kept), last = by_grid(stepper, start, steps, save_times)
    fates = last.fates

    @recomputed
    def finished(now):
        t, y = now
        if isinstance(solver, AbstractFactorSolver):
            y, finite = solver.finish(limit.drift, t, y, None)
        else:
            finite = jnp.ones(motion.paths.shape, bool)
        return read(y), finite

    # what is made of a state is made afterwards, and not in every step
    vs, finite = lax.map(finished, (save_times, ys))
    # a path may explode in the very last flow
    gone = EXPLODED if _stays(solver) else LOST
    fates = fates.stopped(fates.running & ~finite[-1], steps[-1], gone)

    def told(now):
        t, v, finite = now
        return fates.stopped(fates.running & ~finite, t, gone).readable(v, t)

    return _paths(lax.map(told, (save_times, vs, finite)), kept, fates)


def on_clocks(
    limit: AbstractLimit,
    solver: diffrax.AbstractSolver,
    v0: Array,
    motion: Motion,
    dt0: Array,
    save_times: Float[Array, " k"],
    level: Scalar | None,
    regular: bool,
    *,
    between: bool,
    functionals: Mapping[str, AbstractFunctional] | None = None,
    part: int,
) -> Paths:
    """Paths by steps of their own, in parts of so many of them."""
    most = getattr(solver, "most", 1 / 8)
    if hasattr(solver, "most"):  # the clock slows it down, and loses no time
        solver = dataclasses.replace(solver, most=math.inf)  # pyright: ignore
    stepper = _stepper(limit, solver, motion, level, between, functionals, True)
    start = _start(limit, solver, v0, motion, regular)
    clock = Clock(dt0, most, save_times[-1])
    return _paths(*by_clocks(stepper, clock, start, save_times, part))


def _stepper(limit, solver, motion, level, between, functionals, clocked: bool) -> Stepper:
    functionals = dict(functionals or {})
    if isinstance(solver, ProjectedEuler):
        functionals["projections"] = Projections()
    keeps = clocked or bool(functionals)
    stopping = Stopping(level, _stays(solver), between and level is not None, keeps)
    return Stepper(limit, solver, motion, stopping, functionals)


def _stays(solver) -> bool:
    """Whether a state that is not finite has exploded, for it cannot leave the cone."""
    return isinstance(solver, AbstractFactorSolver | LinearParabola | ProjectedEuler)


def _start(
    limit: AbstractLimit, solver, v0: Array, motion: Motion, regular: bool
) -> Lower | Symmetric | Number:
    if limit.is_number:
        return Number(jnp.broadcast_to(limit.initial(v0), motion.paths.shape))
    on_factor = isinstance(solver, AbstractFactorSolver)
    start = factorise(v0).as_invertible(regular) if on_factor else Symmetric.from_dense(v0)
    return start.repeat(motion.paths.size) if v0.ndim == 2 else start


def _paths(vs: Array, kept: dict[str, Array], fates: Fates) -> Paths:
    """With the paths first, where the times were."""
    by_path = {name: jnp.moveaxis(x, 0, 1) for name, x in kept.items()}
    return Paths(jnp.moveaxis(vs, 0, 1), fates.stopped_at, by_path)


def refine(steps: Array, cells_per_step: int) -> Array:
    """The Brownian grid of a solver that asks for several increments a step."""
    if cells_per_step == 1:
        return steps
    fractions = jnp.arange(cells_per_step, dtype=steps.dtype) / cells_per_step
    inner = steps[:-1, None] + (steps[1:] - steps[:-1])[:, None] * fractions[None]
    return jnp.append(inner.ravel(), steps[-1])
