"""Every figure of a comparison: what a report draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from .._checks import found
from .._results import AbstractSolution
from ..limits import UnshapedSolution
from ..solution import Solution
from ._correlations import correlation_densities, correlation_fan
from ._matrices import correlation_matrices
from ._nearness import nearness_densities, nearness_fan
from ._solutions import solutions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@singledispatch
def figures(
    limit: Solution | UnshapedSolution,
    networks: Sequence[AbstractSolution] = (),
    *,
    v0: Float[Array | np.ndarray, "m m"] | None = None,
) -> dict[str, Figure]:
    """Every figure of a comparison, by name: what a report draws.

    **Arguments:**

    - `limit`: a solved limit. `networks`: its finite networks, in order of width.
    - `v0`: the covariance at time 0; needed only if the limit did not save time 0.
    """
    raise TypeError(f"`limit` must be a solution of a limit; got {found(limit)}.")


@figures.register(Solution)
def _(limit: Solution, networks=(), *, v0=None) -> dict[str, Figure]:
    if limit.m == 1:
        return {}
    widest = solutions(Solution, networks)[-1:]
    drawn = {
        "densities": correlation_densities(limit, networks, v0=v0),
        "correlations": correlation_matrices(limit, widest, v0=v0),
    }
    if limit.ts.size > 1:
        drawn["fan"] = correlation_fan(limit, widest, v0=v0)
    return drawn


@figures.register(UnshapedSolution)
def _(limit: UnshapedSolution, networks=(), *, v0=None) -> dict[str, Figure]:
    del v0
    drawn = {"densities": nearness_densities(limit, networks)}
    if limit.ts.size > 1:
        drawn["fan"] = nearness_fan(limit, solutions(UnshapedSolution, networks)[-1:])
    return drawn
