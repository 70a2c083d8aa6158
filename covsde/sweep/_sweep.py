"""One call from a grid of parameters to statistics at each of its points."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import diffrax
import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from .._checks import is_concrete
from .._devices import devices_for, shared
from .._names import full_name
from .._normals import Normals
from .._problem import check_covariance
from .._results import load_xarray
from ..ensemble import Observables, check_num_paths, make_survey, tally_on_host
from ..solve import block_of, with_room
from ..statistics import AbstractStatistic, Moments, Quantiles, on_host
from ._dataset import dataset, results_of
from ._grid import Make, check_gradients, make_grid, plan_all, slopes_of, stacked
from ._program import Points, tally_at

if TYPE_CHECKING:
    import xarray

# Numbers of the covariances, and of their derivatives, that are held at a time: 64 MB.
_HELD = 2**23
# Paths of a point that an int32 can count.
_MOST_PATHS = 2**31 - 1
# Points that are simulated at once: the last, or of fewer the next.
_TOGETHER = (1, 2, 4, 8)


def sweep(
    make: Make,
    parameters: Mapping[str, Sequence[float] | Float[ArrayLike, " values"]],
    v0: Float[ArrayLike, "m m"] | Float[ArrayLike, "starts m m"],
    t1: float,
    *,
    key: PRNGKeyArray,
    num_paths: int,
    observables: Observables,
    statistics: Sequence[AbstractStatistic] | None = None,
    gradients: Sequence[str] = (),
    saveat: Float[ArrayLike, " k"] | None = None,
    dt0: float | None = None,
    solver: diffrax.AbstractSolver | None = None,
    stop_above: float | None = None,
    normals: Normals = "box-muller",
    independent: bool = False,
) -> xarray.Dataset:
    """Statistics of observables at each point of a grid of parameters, starts and times.

    One program is compiled for all points, eight of which run at a time; and once for any
    `make` whose limits differ in numbers alone, which may be written anew in each call.
    Path i is that of [`covsde.solve`][] with the same key at every point, so that
    differences along the grid have a smaller error than the values themselves.

    **Arguments:**

    - `make`: the limit of given parameters, e.g.
      `lambda c_minus: ShapedMLP(ShapedReLU(0.0, c_minus))`. It is called with each point's
      numbers, and once with numbers that JAX traces.
    - `parameters`: the values of each parameter by name; the grid has all choices of them.
    - `v0`: one start, or several `(starts, m, m)`, which are a dimension of the grid, too.
    - `observables`: JAX functions of covariances `(num_paths, m, m)`, as for
      [`covsde.ensemble`][]; e.g. `{"rho": covsde.observables.Correlation(0, 1)}`.
    - `statistics`: of [`covsde.statistics`][]; None takes moments and quantiles.
    - `gradients`: parameters by which the means are differentiated, path by path and in
      forward mode: right for observables that are continuous and piecewise smooth, and
      not for an indicator.
    - `t1`, `key`, `saveat`, `solver`, `stop_above`, `normals`: as for `solve`.
    - `num_paths`: at each point, at most 2^31 − 1.
    - `dt0`: longest step; None picks the least that `solve` would at any point. Where no
      point has noise, it is as exact as `solve` is without.
    - `independent`: draws other paths at each point.

    **Returns:** a dataset whose dimensions are the parameters, `start` if there are
    several, `observable` and `time`. Of a path that was stopped, statistics have the times
    before; `stopped` is the share of these. `gradient` and `gradient_standard_error` have
    a dimension `parameter`. Needs `xarray`: `pip install 'covsde[io]'`.

    **Raises:** as `solve` does for any point, which the message names, before anything is
    compiled; for `gradients` where paths can be stopped; and for points with noise and
    without, if `dt0` is None.

    Source of the derivative: Glasserman (2003), "Monte Carlo Methods in Financial
    Engineering", section 7.2 (the pathwise method).
    """
    load_xarray("sweep")  # before, not after a long run
    num_paths = check_num_paths(num_paths)
    if num_paths > _MOST_PATHS:
        raise ValueError(
            "`num_paths` must be at most 2^31 − 1, for the paths of a point are counted on "
            f"the device; got {num_paths}. Call `covsde.ensemble` at each point."
        )
    grid, v0 = make_grid(parameters), check_covariance(v0, paths_name="starts")
    run, limits, dt0 = plan_all(
        make,
        grid,
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
    if not is_concrete(run):
        raise TypeError(
            "`v0` and `key` must be known for `sweep`, which runs point after point; got "
            "values traced by JAX. Call it outside `jit`, `grad` and `vmap`."
        )
    statistics = (Moments(), Quantiles()) if statistics is None else statistics
    survey = make_survey(observables, statistics, run)
    wanted = check_gradients(gradients, grid, run)

    m, count = run.m, cast(Any, np.asarray(num_paths, np.int32))
    starts: Any = np.asarray(run.v0).reshape(-1, m, m)
    points = len(starts) * math.prod(grid.shape)
    size = next(some for some in _TOGETHER if some >= min(points, _TOGETHER[-1]))
    in_room, times = with_room(run, points * num_paths * len(survey.names))
    # not its limit, of which each point has the numbers
    in_room = dataclasses.replace(in_room, limit=run.limit)
    held = size * in_room.save_times.size * m**2 * (1 + len(wanted))
    block = max(1, min(block_of(run, num_paths), _HELD // held))
    moving = stacked(make, grid, limits), slopes_of(make, grid, wanted)

    def call(first: int):
        # the last ones are filled up with the last point
        index = np.minimum(np.arange(first, first + size), points - 1)
        of_grid, of_starts = np.divmod(index, len(starts))
        some = Points(
            *jax.tree.map(lambda x: np.asarray(x)[of_grid], moving),
            v0=starts[of_starts],
            key=jax.vmap(partial(jax.random.fold_in, run.key))(index)
            if independent
            else run.key,
        )
        return tally_at(some, in_room, survey, count, block)

    results, firsts = [], range(0, points, size)
    devices = min(len(firsts), devices_for((run, moving)))
    for tally, slopes in shared(call, firsts, devices):
        tally, slopes = tally_on_host(tally), on_host(slopes)
        results.append(results_of(size, times, survey, tally, slopes, wanted))
    return dataset(
        grid,
        len(starts) if run.v0.ndim == 3 else None,
        results,
        {"observable": list(survey.names), "time": np.asarray(run.ts)},
        {
            "time_unit": "depth/width",
            "limit": f"{full_name(run.limit)}, at the first point",
            "solver": full_name(run.solver),
            "dt0": "None" if dt0 is None else dt0,
            "num_paths": num_paths,
            "stop_above": "None" if run.level is None else float(run.level),
            "normals": normals,
            "key": np.asarray(jax.random.key_data(run.key)).astype(np.int64),
            "paths": "independent" if independent else "the same at each point",
        },
    )
