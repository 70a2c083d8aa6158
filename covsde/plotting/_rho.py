"""Correlations ρ of a solution as numbers, and the names of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ..observables import correlation
from ..solution import Solution
from ._solutions import check_limit

# one program, where each of its operations would be one
_correlation = jax.jit(correlation)


def start_correlations(limit: Solution, v0) -> np.ndarray | None:
    """Correlations at time 0, `(m, m)`, if they are known and the same for all paths."""
    check_limit(Solution, limit)
    if limit.m < 2:
        raise ValueError(
            "`limit` must have at least two inputs to have correlations; got one."
        )
    if v0 is not None:
        v0 = np.asarray(v0)
        if v0.shape != (limit.m, limit.m):
            raise ValueError(
                f"`v0` must have shape {(limit.m, limit.m)}, as the solution has; got "
                f"{v0.shape}."
            )
        return np.asarray(_correlation(v0))
    if float(limit.ts[0]) > 0:
        return None
    first = np.asarray(limit.vs[:, 0])
    same = np.allclose(first, first[:1], rtol=1e-5, atol=0)
    return np.asarray(_correlation(first[0])) if same else None


def correlations(solution: Solution) -> np.ndarray:
    """`(paths, k, m, m)` of the paths that were never stopped."""
    if not solution.running.any():
        raise ValueError(
            "every path was stopped, so there is no correlation to draw. Raise "
            "`stop_above`, or stop at an earlier `t1`."
        )
    return np.asarray(_correlation(np.asarray(solution.vs)[solution.running]))


def input_names(limit: Solution, labels: Sequence[str] | None) -> list[str]:
    """The names given, or else numbers from 0."""
    if labels is None:
        return [str(i) for i in range(limit.m)]
    names = [str(label) for label in labels]
    if len(names) != limit.m:
        raise ValueError(
            f"`labels` must name each of the {limit.m} inputs; got {len(names)} names."
        )
    return names
