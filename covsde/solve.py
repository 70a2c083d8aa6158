"""One call from a limit to its solution."""

from __future__ import annotations

import itertools
import math
from typing import cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from ._checks import found, is_concrete
from ._normals import Normals, check_normals
from ._problem import check_problem, in_dtype
from ._times import check_time
from .brownian import BrownianGrid
from .diffusions import CongruenceDiffusion
from .drifts import AbstractDrift, ActivationDrift
from .limits import AbstractLimit
from .matrices import Lower, Symmetric, factorise, gram, num_entries
from .solution import Solution
from .solvers import (
    AbstractFactorSolver,
    AbstractStrangSolver,
    GeodesicStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    Pending,
    ProjectedEuler,
    Stopped,
    StoppedState,
)
from .solvers.stopped import mean_variance

MAX_STEPS = 1_000_000
# `benchmarks/crossover.py` measures how much an ensemble may hold to stay in the cache
_ENTRIES_AT_A_TIME, _LEAST_AT_A_TIME = 2**14, 256


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
    check_drift(limit, problem.v0)
    regular = check_singular(problem.v0, limit, solver)
    dt0 = default_step(solver, limit, m) if dt0 is None else check_time("dt0", dt0)
    dt0 = min(dt0, problem.t1)
    check_step(dt0, solver, limit, m)

    steps = step_times(problem.save_times, problem.t1, dt0)
    dtype = problem.v0.dtype
    check_resolution(steps, dtype)
    # without noise, paths from one start are one
    alone = limit.diffusion.vanishes and problem.v0.ndim == 2
    paths = _simulate(
        limit,
        solver,
        problem.v0,
        jnp.asarray(steps, dtype),
        jnp.asarray(np.union1d(problem.save_times, problem.t1), dtype),
        problem.stop_level,
        problem.key,
        1 if alone else problem.num_paths,
        regular,
        check_normals(normals),
    )
    vs, stopped_at, projections = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (problem.num_paths, *x.shape[1:])), paths
    )
    return Solution(
        ts=jnp.asarray(problem.save_times, dtype),
        vs=vs[:, : problem.save_times.size],
        stopped_at=stopped_at,
        limit=limit,
        key=problem.key,
        solver=solver,
        dt0=dt0,
        projections=projections,
    )


@eqx.filter_jit
def _simulate(
    limit, solver, v0, steps, save_times, level, key, num_paths, regular, normals
):
    m = v0.shape[-1]
    limit = in_dtype(limit, v0.dtype)
    # as many paths at a time as stay in the processor's cache
    count = -(-num_paths // max(_LEAST_AT_A_TIME, _ENTRIES_AT_A_TIME // num_entries(m)))
    size = -(-num_paths // count)

    def part(which):
        first_path, v0 = which
        path = brownian(
            limit,
            v0,
            steps,
            cells_per_step(solver),
            key=key,
            num_paths=size,
            first_path=first_path,
            normals=normals,
        )
        return integrate(limit, solver, v0, path, steps, save_times, level, regular)

    first_paths = size * jnp.arange(count, dtype=jnp.uint32)
    if v0.ndim == 3:  # the last part is filled up with the last start
        fill = count * size - num_paths
        starts = jnp.concatenate([v0, jnp.broadcast_to(v0[-1:], (fill, m, m))])
        parts = lax.map(part, (first_paths, starts.reshape(count, size, m, m)))
    else:
        parts = lax.map(lambda first_path: part((first_path, v0)), first_paths)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_paths], parts)


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


def step_times(save_times: np.ndarray, t1: float, dt0: float) -> np.ndarray:
    """Ends of the steps: equal, at most `dt0`, between consecutive times to save."""
    stops = np.union1d(np.append(0.0, save_times), t1)
    pieces = [np.array([0.0])]
    for start, end in itertools.pairwise(stops):
        wanted = (end - start) / dt0
        if wanted > MAX_STEPS:
            raise ValueError(
                f"`dt0` must leave at most {MAX_STEPS:,} steps; got {dt0:g}, which takes "
                f"{wanted:.3g} steps from t = {start:g} to {end:g}. Pass a longer step, a "
                "shorter `t1`, or an activation of weaker shaping."
            )
        steps = max(1, math.ceil(wanted - 1e-9))
        pieces.append(np.linspace(start, end, steps + 1)[1:])
    return np.concatenate(pieces)


def check_resolution(steps: np.ndarray, dtype) -> None:
    """Refuses steps that the dtype cannot tell apart."""
    shortest, eps = np.min(np.diff(steps)), float(jnp.finfo(dtype).eps)
    if shortest < 100 * eps * steps[-1]:
        raise ValueError(
            f"`dt0` and `saveat` must leave steps of at least {100 * eps:.1g} t1 in "
            f"{dtype}; got one of {shortest:.3g}. Pass a longer step or a float64 `v0`."
        )


def default_solver(limit: AbstractLimit) -> AbstractFactorSolver:
    """The solver that `solve` takes if none is given, of weak order 2.

    `GeodesicStrang` where the noise is `√Γ F dS Fᵀ`, `NinomiyaNinomiya` for any other.
    """
    congruence = isinstance(limit.diffusion, CongruenceDiffusion)
    return GeodesicStrang() if congruence else NinomiyaNinomiya()


def default_step(solver, limit: AbstractLimit, m: int) -> float:
    """The step that `solve` takes if none is given, in units of depth/width.

    For a weak-order-2 solver the least of 1/16, `1/(2 m^{3/2} Γ)` and `1/(4r)`, where `r`
    is the drift's rate: for an MLP of unit shaping it leaves a weak error below 1e-4 in
    correlations and of about 1e-3 per unit time in `log V^{aa}`, whose error grows like
    `m³h²`. Eight times shorter for order 1, and never beyond the solver's bound. Where one
    input is a geometric Brownian motion, of which any step is exact, half of that bound.
    """
    if not is_concrete(eqx.filter(limit, eqx.is_array)):
        raise ValueError(
            "`dt0` must be given when JAX traces the limit's parameters (`grad`, `vmap`, "
            "`jit`); got None, and a step cannot be chosen from unknown numbers. Pass "
            "`dt0`, e.g. `covsde.default_step(solver, limit, m)` of a typical limit."
        )
    longest = 0.5 * max_step(solver, limit, m)
    exact = m == 1 and isinstance(solver, GeodesicStrang | PalindromicStrang)
    if exact and _is_geometric(limit):
        return longest
    with jax.ensure_compile_time_eval():
        noise = max(float(limit.diffusion.rate(m)), 1e-300)
        drift = max(float(limit.drift.rate), 1e-300)
    step = min(1 / 16, 1 / (4 * noise), 1 / (4 * drift))
    if getattr(solver, "weak_order", 1) < 2:
        step /= 8
    return min(step, longest)


def _is_geometric(limit: AbstractLimit) -> bool:
    """Whether every `V^{aa}` is a geometric Brownian motion."""
    drift = limit.drift
    congruence = isinstance(limit.diffusion, CongruenceDiffusion)
    if not congruence or not isinstance(drift, ActivationDrift):
        return False
    with jax.ensure_compile_time_eval():
        return float(drift.activation.stability_index) == 0


def max_step(solver, limit, m: int) -> float:
    bound = getattr(solver, "max_step", None)
    with jax.ensure_compile_time_eval():
        return math.inf if bound is None else float(bound(limit, m))


def check_step(dt0: float, solver, limit: AbstractLimit, m: int) -> None:
    """Refuses a step beyond the bound for which the scheme is proven to work."""
    if not is_concrete(eqx.filter(limit, eqx.is_array)):
        return
    bound = max_step(solver, limit, m)
    if dt0 > bound * (1 + 1e-9):
        raise ValueError(
            f"`dt0` must be at most {bound:.6g} for {type(solver).__name__} with this "
            f"limit and m = {m}; got {dt0:g}. Pass a smaller step, or None to have one "
            "chosen."
        )


def check_solver(solver) -> diffrax.AbstractSolver:
    """Refuses what would converge to the wrong law, or is no solver."""
    accepted = (
        "`solver` must be a solver of covsde (`GeodesicStrang()`, `PalindromicStrang()`, "
        "`NinomiyaNinomiya()`, `WishartEuler()`, `FactorEuler()`, `ProjectedEuler()`) or "
        "`diffrax.Euler()`"
    )
    if isinstance(solver, type):
        raise TypeError(
            f"{accepted}; got the class {solver.__name__}. Call it: `{solver.__name__}()`."
        )
    if not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"{accepted}; got {found(solver)}. None picks the default.")
    name = type(solver).__name__
    if isinstance(solver, diffrax.ItoMilstein):
        raise ValueError(
            f"{accepted}; got {name}, which assumes commutative noise. The noise of "
            "covariance SDEs does not commute, and it would converge to the wrong law."
        )
    if isinstance(solver, diffrax.AbstractWrappedSolver | Stopped):
        raise ValueError(
            f"{accepted}; got the wrapper {name}, which would step off the Brownian grid "
            "or stop twice. Pass the solver inside it."
        )
    if not isinstance(solver, diffrax.AbstractItoSolver):
        raise ValueError(
            f"{accepted}; got {name}, which does not solve Itô equations: it would "
            "converge to another law."
        )
    return solver


def check_drift(limit: AbstractLimit, v0: Array) -> None:
    """Refuses a drift written for one matrix that does not return one, by a trial call."""
    drift = limit.drift
    if type(drift).batched is not AbstractDrift.batched or not is_concrete((limit, v0)):
        return
    name = type(drift).__name__
    with jax.ensure_compile_time_eval():
        one = v0 if v0.ndim == 2 else v0[0]
        b = np.asarray(drift(jnp.zeros((), v0.dtype), one, None))
    accepted = (
        f"`limit.drift`: {name}(t, v, args) must return a symmetric {one.shape} matrix"
    )
    if b.shape != one.shape:
        raise ValueError(f"{accepted}; got shape {b.shape}. Return `b` for one matrix `v`.")
    if not np.allclose(b, b.T, rtol=1e-5, atol=1e-8 * np.max(np.abs(b), initial=0.0)):
        raise ValueError(
            f"{accepted}; got one that differs from its mirror by "
            f"{np.max(np.abs(b - b.T)):.2g}. Return `(b + b.T)/2` if that is meant."
        )


def check_singular(v0: Array, limit: AbstractLimit, solver) -> bool:
    """Whether `v0` is known to be regular; refuses a singular one that no flow accepts."""
    if not is_concrete(v0):
        return False
    with jax.ensure_compile_time_eval():
        singular = bool(jnp.any(factorise(v0).is_singular()))
    if not singular:
        return True
    drift_accepts = limit.drift.accepts_singular
    if drift_accepts and getattr(solver, "accepts_singular", False):
        return False
    culprit = (
        f"the solver {type(solver).__name__} needs"
        if drift_accepts
        else f"the flow of {type(limit.drift).__name__} needs"
    )
    raise ValueError(
        f"`v0` must be positive definite here: {culprit} an invertible start; got a "
        "singular one (duplicate inputs, or more inputs than features). Remove redundant "
        "inputs, use `GeodesicStrang()`, or give the drift a `flow` of its own."
    )
