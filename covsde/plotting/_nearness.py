"""Figures of the unshaped limit: the nearness of two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..limits import UnshapedSolution
from ._panels import LEVELS, draw_densities, draw_fan, draw_legend, make_panels
from ._solutions import check_limit, check_times, network_names, solutions
from ._style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def nearness_densities(
    limit: UnshapedSolution,
    networks: UnshapedSolution | Sequence[UnshapedSolution] = (),
    *,
    bins: int = 20,
) -> Figure:
    """Densities of `u = 1/(n √(1−ρ))` at the last saved time: the limit against networks.

    **Arguments:**

    - `limit`: a solved [`covsde.UnshapedMLP`][], drawn as a filled histogram.
    - `networks`: its finite networks, drawn as markers at the bins' centres, the last with
      an error bar of one standard error.
    - `bins`: bins of the histogram.
    """
    check_limit(UnshapedSolution, limit)
    networks = solutions(UnshapedSolution, networks)
    figure, (axis,) = make_panels(1, sharey=False)
    values = [_nearness(one)[:, -1] for one in (limit, *networks)]
    # the tail is long
    high = max(float(np.quantile(x, 0.98)) for x in values)
    draw_densities(axis, values, network_names(networks), (0.0, high), bins)
    axis.set_xlabel(rf"nearness $u$ at $t = {float(limit.ts[-1]):.4g}$")
    axis.set_ylabel("density")
    draw_legend(figure, axis)
    return figure


@styled
def nearness_fan(
    limit: UnshapedSolution, networks: UnshapedSolution | Sequence[UnshapedSolution] = ()
) -> Figure:
    """`u` over depth: quantiles of the unshaped limit, and of networks upon them.

    The bands hold 50 % and 90 % of the limit's paths; markers are the networks' median,
    dashes the ends of their bands. Needs a limit with several saved times.

    **Arguments:** as for [`covsde.plotting.nearness_densities`][].
    """
    check_limit(UnshapedSolution, limit)
    networks = solutions(UnshapedSolution, networks)
    check_times(limit)
    figure, (axis,) = make_panels(1, sharey=False)
    fans = [_nearness_quantiles(one) for one in (limit, *networks)]
    draw_fan(axis, fans, network_names(networks))
    axis.set_ylim(bottom=0)
    axis.set_ylabel("nearness $u_t$")
    draw_legend(figure, axis)
    return figure


def _nearness(solution: UnshapedSolution) -> np.ndarray:
    """`(paths, k)` of the networks whose inputs still differ."""
    if not solution.running.any():
        raise ValueError(
            "in every network the inputs have become one, so there is no nearness to "
            "draw. Pass a larger `width`, or an earlier `t1`."
        )
    return np.asarray(solution.us)[solution.running]


def _nearness_quantiles(solution: UnshapedSolution) -> tuple[np.ndarray, np.ndarray]:
    """Times, and quantiles of `u` at each; the limit's begin with 0."""
    times = np.asarray(solution.ts)
    values = np.quantile(_nearness(solution), LEVELS, axis=0)
    if times[0] > 0 and solution.width is None:
        times = np.concatenate([[0.0], times])
        values = np.concatenate([np.zeros((len(LEVELS), 1)), values], axis=1)
    return times, values
