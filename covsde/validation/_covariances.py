"""Both sides for a covariance SDE: every limit that `solve` takes."""

import numpy as np

from .. import oracles
from .._problem import check_problem
from ..ensemble._checks import check_observables
from ..oracles._sample import check_method, layer_numbers, sampled
from ..solve import Scheme, solved
from ._sides import Asked, Sides, note_rounding


def covariances(asked: Asked) -> Sides:
    """Solves by `solve`, samples by `oracles.sample`."""
    limit, widths, stop_above = asked.limit, asked.widths, asked.stop_above
    problem = check_problem(
        limit,
        asked.v0,
        asked.t1,
        key=asked.key,
        num_paths=asked.num_paths,
        saveat=asked.saveat,
        stop_above=stop_above,
    )
    if problem.v0.ndim != 2:
        raise ValueError(
            f"`v0` must be one covariance (m, m) here; got shape {problem.v0.shape}. To "
            "compare random starts, call `solve` and `oracles.sample` yourself."
        )
    m, observables = problem.m, asked.observables
    observables = check_observables(
        limit.observables(m) if observables is None else observables,
        (m, m),
        problem.v0.dtype,
    )
    check_method(asked.method)
    problem = problem._replace(save_times=problem.times)
    per_time = {n: oracles.finite_network(limit, n).layers_per_time for n in widths}
    for layers in per_time.values():
        layer_numbers(problem.save_times, problem.t1, layers)
    dt0 = asked.dt0
    if dt0 is None and stop_above is not None and not limit.diffusion.vanishes:
        step = Scheme.of(problem, asked.solver).default_step
        dt0 = min(step, 1 / per_time[widths[-1]])

    def solve(key):
        return solved(problem._replace(key=key), asked.solver, dt0)

    def sample(width, key, progress):
        networks = problem._replace(key=key, num_paths=asked.num_networks)
        return sampled(networks, width, asked.method, progress)

    def notes(ours, theirs) -> list[str]:
        said = []
        for network in theirs:
            said += note_rounding(problem.t1, network, per_time[network.width])
        exploded = int((~ours.running).sum())
        if stop_above is None and exploded:
            said.append(
                f"{exploded} paths of the limit exploded, which networks do not: pass "
                "`stop_above` to stop both at one level."
            )
        if np.ptp(np.asarray(ours.vs), axis=0).max() == 0:
            said.append(
                "The limit has no noise: read the means, and W1, which falls with the "
                "width. KS between one value and a spread does not."
            )
        return said

    start = np.asarray(problem.v0)
    return Sides(start, problem.t1, problem.key, start, observables, solve, sample, notes)
