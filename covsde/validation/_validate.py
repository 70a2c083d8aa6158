"""One call that holds a limit against its finite networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import diffrax
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .. import oracles
from .._checks import count, found
from .._problem import check_problem
from ..limits import AbstractLimit
from ..oracles._sample import layer_numbers
from ..solve import check_solver, default_solver, default_step, solve
from ._report import Report
from ._rows import compare


def validate(
    limit: AbstractLimit,
    v0: Float[Array, "m m"],
    t1: float,
    *,
    width: int | Sequence[int],
    key: PRNGKeyArray,
    num_paths: int = 10_000,
    num_networks: int = 4_000,
    method: str = "gram",
    dt0: float | None = None,
    solver: diffrax.AbstractSolver | None = None,
    saveat: Float[Array, " k"] | None = None,
    stop_above: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Solves a limit, samples its finite networks, and compares the two laws at `t1`.

    The norms `log V^{aa}`, the correlations `ρ^{ab}` and `log det V` are compared by
    mean, Kolmogorov–Smirnov and Wasserstein-1 distance, for every width.

    **Arguments:**

    - `limit`: the limit, which also says what its finite network is.
    - `v0`: covariance of the inputs, `(m, m)`; `covsde.gram(x)` makes it from inputs.
    - `t1`: final time, in units of depth/width; networks have `round(t1 · width)` layers.
    - `width`: the networks' width, or several, to see the distance fall.
    - `key`: a JAX random key. The limit and each width draw from it independently.
    - `num_paths`: paths of the limit. `num_networks`: networks of each width.
    - `method`: `"gram"` (fast, exact in law) or `"weights"` (every weight drawn).
    - `dt0`, `solver`: as for [`covsde.solve`][].
    - `saveat`: further times in `[0, t1]` to keep, for figures; `t1` is always kept.
    - `stop_above`: paths and networks stop once `tr V/m` exceeds this level, and only
      those that never do are compared. Then `dt0=None` is at most `1/width` of the widest
      network, so that both sides are looked at equally often.
    - `progress`: called with what is done (`"limit"`, `"n = 64"`, …), how much of it,
      and how much there is.

    **Returns:** a [`covsde.validation.Report`][].

    **Raises:** `ValueError` or `TypeError`, before anything is simulated, for input that
    has no meaning.
    """
    widths = check_widths(width)
    num_networks = count(
        "num_networks", num_networks, "It is how many networks of each width to sample."
    )
    problem = check_problem(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_paths,
        saveat=saveat,
        stop_above=stop_above,
    )
    if problem.v0.ndim != 2:
        raise ValueError(
            f"`v0` must be one covariance (m, m) here; got shape {problem.v0.shape}. To "
            "compare random starts, call `solve` and `oracles.sample` yourself."
        )
    if method not in ("gram", "weights"):
        raise ValueError(
            f'`method` must be "gram" or "weights"; got {found(method)}. "gram" is fast '
            'and has the same law as "weights".'
        )
    if progress is not None and not callable(progress):
        raise TypeError(
            f"`progress` must be a function of (what, done, total); got {found(progress)}. "
            "None reports nothing."
        )
    times = np.union1d(problem.save_times, problem.t1)
    for n in widths:
        network = oracles.finite_network(limit, n)
        layer_numbers(times, problem.t1, network.layers_per_time)
    solver = default_solver(limit) if solver is None else check_solver(solver)
    if dt0 is None and stop_above is not None:
        step = default_step(solver, limit, problem.v0.shape[-1])
        widest = oracles.finite_network(limit, widths[-1])
        dt0 = min(step, 1 / widest.layers_per_time)

    tell = progress or (lambda what, done, total: None)
    tell("limit", 0, problem.num_paths)
    ours = solve(
        limit,
        problem.v0,
        problem.t1,
        key=jax.random.fold_in(problem.key, 0),
        num_paths=problem.num_paths,
        dt0=dt0,
        solver=solver,
        saveat=times,  # pyright: ignore[reportArgumentType]
        stop_above=stop_above,
    )
    ours.vs.block_until_ready()
    tell("limit", problem.num_paths, problem.num_paths)

    def networks(n: int):
        tell(f"n = {n}", 0, num_networks)
        return oracles.sample(
            limit,
            problem.v0,
            problem.t1,
            width=n,
            key=jax.random.fold_in(problem.key, n),
            num_networks=num_networks,
            method=method,
            saveat=times,  # pyright: ignore[reportArgumentType]
            stop_above=stop_above,
            progress=lambda done, total: tell(f"n = {n}", done, total),
        )

    theirs = tuple(networks(n) for n in widths)
    start = np.asarray(problem.v0)
    rows, notes = compare(start, ours, theirs)
    return Report(
        v0=start,
        t1=problem.t1,
        limit=ours,
        networks=theirs,
        rows=rows,
        notes=(*notes, *_more_notes(limit, problem.t1, ours, theirs, stop_above)),
    )


def check_widths(width) -> tuple[int, ...]:
    """One or several widths, in increasing order."""
    way_out = "It is the number of neurons of a hidden layer; e.g. `width=(32, 64, 128)`."
    several = isinstance(width, Sequence | np.ndarray | jax.Array) and np.ndim(width) == 1
    if isinstance(width, str) or (several and len(width) == 0):
        raise TypeError(f"`width` must be an integer or several; got {width!r}. {way_out}")
    widths = sorted(count("width", n, way_out) for n in (width if several else [width]))
    if len(set(widths)) < len(widths):
        raise ValueError(f"`width` must name each width once; got {widths}. {way_out}")
    return tuple(widths)


def _more_notes(limit, t1, ours, theirs, stop_above) -> list[str]:
    notes = []
    for network in theirs:
        end = float(network.ts[-1])
        if abs(end - t1) > 1e-6 * t1:
            per_time = oracles.finite_network(limit, network.width).layers_per_time
            layers = round(end * per_time)
            notes.append(f"n = {network.width}: {layers} layers end at t = {end:.4g}.")
    exploded = int(np.isfinite(np.asarray(ours.stopped_at)).sum())
    if stop_above is None and exploded:
        notes.append(
            f"{exploded} paths of the limit exploded, which networks do not: pass "
            "`stop_above` to stop both at one level."
        )
    if np.ptp(np.asarray(ours.vs), axis=0).max() == 0:
        notes.append(
            "The limit has no noise: read the means, and W1, which falls with the width. "
            "KS between one value and a spread does not."
        )
    return notes
