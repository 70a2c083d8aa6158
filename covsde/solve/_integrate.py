"""`V` at the times to save, along given Brownian paths on a given grid of steps."""

from typing import cast

import diffrax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Scalar

from ..brownian import BrownianGrid
from ..limits import AbstractLimit
from ..matrices import Lower, Symmetric, factorise, gram
from ..solvers import (
    AbstractFactorSolver,
    AbstractStrangSolver,
    Pending,
    ProjectedEuler,
    Stopped,
    StoppedState,
)
from ..solvers.stopped import mean_variance


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
):
    """`V` at the times to save, `(num_paths, k, m, m)`, where its paths stopped, and what
    a projecting solver counted; along a Brownian path that is given, on any steps of it.

    The last time to save is the end. Without a `level` only explosions stop a path.
    """
    on_factor = isinstance(solver, AbstractFactorSolver)
    start = factorise(v0).as_invertible(regular) if on_factor else Symmetric.from_dense(v0)
    if v0.ndim == 2:
        start = start.repeat(path.num_paths or 1)
    if isinstance(solver, AbstractStrangSolver) and level is None:
        # else the level would be looked at between the flows
        start = solver.begin(cast(Lower, start))
    level = jnp.asarray(jnp.inf, v0.dtype) if level is None else level

    solved = diffrax.diffeqsolve(
        limit.terms(path),
        Stopped(solver, level),
        t0=steps[0],
        t1=steps[-1],
        dt0=None,
        y0=start,
        # what is made of a state is made afterwards: Diffrax would do it in every step
        saveat=diffrax.SaveAt(ts=save_times, solver_state=True),
        stepsize_controller=diffrax.StepTo(steps),
        max_steps=steps.size - 1,
    )
    last = cast(StoppedState, solved.solver_state)

    def finished(now):
        t, y = now
        if not isinstance(y, Pending):
            return covariance(y), jnp.ones(y.batch, bool)
        done = cast(AbstractStrangSolver, solver).finish(limit.drift, t, y, None)
        finite = jnp.isfinite(mean_variance(done))
        return covariance(done.where(finite, y.factor)), finite

    vs, finite = lax.map(finished, (save_times, solved.ys))
    # a path may explode in the very last flow
    ended = jnp.minimum(last.stopped_at, steps[-1])
    stopped_at = jnp.where(finite[-1], last.stopped_at, ended)
    projections = last.inner if isinstance(solver, ProjectedEuler) else None
    return jnp.moveaxis(vs, 0, 1), stopped_at, projections


def covariance(y: Lower | Symmetric) -> Array:
    """Dense `V`, `(num_paths, m, m)`, of a solver's state."""
    return (gram(y) if isinstance(y, Lower) else y).to_dense()


def refine(steps: Array, cells_per_step: int) -> Array:
    """The Brownian grid of a solver that asks for several increments a step."""
    if cells_per_step == 1:
        return steps
    fractions = jnp.arange(cells_per_step, dtype=steps.dtype) / cells_per_step
    inner = steps[:-1, None] + (steps[1:] - steps[:-1])[:, None] * fractions[None]
    return jnp.append(inner.ravel(), steps[-1])
