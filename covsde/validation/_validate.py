"""One call that holds a limit against its finite networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import diffrax
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import count, count_paths, found
from .._problem import check_problem
from ..ensemble import Observables, check_observables
from ..limits import AbstractLimit
from ..oracles import AbstractNetwork, check_method, layers_of, network_of, sampled
from ..solve import Scheme, solved
from ._notes import notes
from ._report import Report
from ._rows import compare
from ._together import Tell, together


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
    observables: Observables | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Solves a limit, samples its finite networks, and compares the two laws at `t1`.

    What describes the limit is compared by mean, Kolmogorov–Smirnov and Wasserstein-1
    distance, for every width: the norms `log V^{aa}`, the correlations `ρ^{ab}` and
    `log det V`; of an [`covsde.UnshapedMLP`][], the nearness `u` of its two inputs.

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
    - `observables`: what to compare in place of `limit.observables(m)`: one, several, or a
      dict of them by name, each from [`covsde.observables`](#observables) or a JAX function
      of covariances `(num_paths, m, m)`; of an `UnshapedMLP`, of u `(num_paths,)`. One that
      is not finite everywhere is left out, and noted.
    - `progress`: called with what is done (`"limit"`, `"n = 64"`, …), how much of it,
      and how much there is.

    **Returns:** a [`covsde.validation.Report`][].

    **Raises:** `ValueError` or `TypeError`, before anything is simulated, for input that
    has no meaning.
    """
    widths = check_widths(width)
    num_networks = count_paths(
        "num_networks", num_networks, "It is how many networks of each width to sample."
    )
    if progress is not None and not callable(progress):
        raise TypeError(
            f"`progress` must be a function of (what, done, total); got {found(progress)}. "
            "None reports nothing."
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
    m, dtype = problem.m, problem.v0.dtype
    start = np.asarray(limit.initial(problem.v0))
    observables = check_observables(
        limit.observables(m) if observables is None else observables, start.shape, dtype
    )
    check_method(method)
    problem = problem._replace(save_times=problem.times)
    kinds = tuple(network_of(limit, n, dtype) for n in widths)
    for kind in kinds:
        layers_of(problem._replace(num_paths=num_networks), kind)
    if dt0 is None and stop_above is not None and not limit.diffusion.vanishes:
        step = Scheme.of(problem, solver).default_step
        dt0 = min(step, 1 / kinds[-1].layers_per_time)

    def own_key(number: int):
        return jax.random.fold_in(problem.key, number)

    def solve_limit(tell: Tell):
        tell("limit", 0, num_paths)
        made = solved(problem._replace(key=own_key(0)), solver, dt0)
        tell("limit", num_paths, num_paths)
        return made

    def sample(kind: AbstractNetwork, tell: Tell):
        what = f"n = {kind.width}"
        tell(what, 0, num_networks)
        return sampled(
            problem._replace(key=own_key(kind.width), num_paths=num_networks),
            kind,
            method,
            lambda done, total: tell(what, done, total),
        )

    calls = [solve_limit, *(partial(sample, kind) for kind in kinds)]
    ours, *theirs = together(calls, progress or (lambda *said: None))
    theirs = tuple(theirs)
    rows, left_out = compare(observables, start, ours, theirs)
    said = notes(observables, problem.v0, problem.t1, ours, theirs, kinds, stop_above)
    return Report(
        v0=np.asarray(problem.v0),
        t1=problem.t1,
        limit=ours,
        networks=theirs,
        rows=rows,
        notes=(*left_out, *said),
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
