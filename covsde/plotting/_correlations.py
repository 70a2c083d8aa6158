"""Figures of correlations, a panel for each pair of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from ..solution import Solution
from ._panels import LEVELS, draw_densities, draw_fan, draw_legend, make_panels
from ._rho import correlations, input_names, start_correlations
from ._solutions import check_times, network_names, solutions
from ._style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pairs = Sequence[tuple[int, int]]


@styled
def correlation_densities(
    limit: Solution,
    networks: Solution | Sequence[Solution] = (),
    *,
    pairs: Pairs | None = None,
    v0: Float[Array | np.ndarray, "m m"] | None = None,
    labels: Sequence[str] | None = None,
    bins: int = 20,
) -> Figure:
    """Densities of `ρ^{ab}` at the last saved time: the limit against networks.

    **Arguments:**

    - `limit`: a solved limit, drawn as a filled histogram.
    - `networks`: solutions of finite networks, drawn as markers at the bins' centres,
      the last with an error bar of one standard error.
    - `pairs`: the pairs of inputs, a panel each; None picks three, from the most to the
      least correlated at the start.
    - `v0`: the covariance at time 0; needed only if the limit did not save time 0.
    - `labels`: names of the inputs; None numbers them from 0.
    - `bins`: bins of the histograms.
    """
    networks = solutions(Solution, networks)
    start = start_correlations(limit, v0)
    pairs = _choose(limit, pairs, start)
    names = input_names(limit, labels)
    figure, axes = make_panels(len(pairs), sharey=False)
    samples = [correlations(one)[:, -1] for one in (limit, *networks)]
    for axis, (a, b) in zip(axes, pairs, strict=True):
        values = [sample[:, a, b] for sample in samples]
        draw_densities(axis, values, network_names(networks), _range(values), bins)
        if start is not None:
            at = float(start[a, b])
            axis.axvline(at, color="black", linewidth=0.8, linestyle=":", label="start")
        axis.set_title(f"inputs {names[a]} and {names[b]}")
        axis.set_xlabel(rf"correlation $\rho$ at $t = {float(limit.ts[-1]):.4g}$")
    axes[0].set_ylabel("density")
    draw_legend(figure, axes[0])
    return figure


@styled
def correlation_fan(
    limit: Solution,
    networks: Solution | Sequence[Solution] = (),
    *,
    pairs: Pairs | None = None,
    v0: Float[Array | np.ndarray, "m m"] | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """`ρ^{ab}` over depth: quantiles of the limit, and of networks upon them.

    The bands hold 50 % and 90 % of the limit's paths; markers are the networks' median,
    dashes the ends of their bands. Needs a limit with several saved times.

    **Arguments:** as for [`covsde.plotting.correlation_densities`][].
    """
    networks = solutions(Solution, networks)
    start = start_correlations(limit, v0)
    check_times(limit)
    pairs = _choose(limit, pairs, start)
    names = input_names(limit, labels)
    figure, axes = make_panels(len(pairs), sharey=True)
    for axis, (a, b) in zip(axes, pairs, strict=True):
        fans = [_quantiles(one, start, a, b) for one in (limit, *networks)]
        draw_fan(axis, fans, network_names(networks))
        axis.set_title(f"inputs {names[a]} and {names[b]}")
        axis.set_ylim(-1, 1)
        axis.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes[0].set_ylabel(r"correlation $\rho_t$")
    draw_legend(figure, axes[0])
    return figure


def _choose(limit: Solution, pairs: Pairs | None, start: np.ndarray | None) -> list:
    """The pairs of a figure: those asked for, or else three typical ones."""
    if pairs is None:
        return typical_pairs(correlations(limit)[:, 0].mean(0) if start is None else start)
    chosen = [tuple(pair) for pair in pairs]
    for pair in chosen:
        good = len(pair) == 2 and all(0 <= i < limit.m for i in pair) and pair[0] != pair[1]
        if not good:
            raise ValueError(
                f"`pairs` must be pairs of different inputs from 0 to {limit.m - 1}; got "
                f"{pair}. For example `pairs=[(0, 1)]`."
            )
    if not chosen:
        raise ValueError("`pairs` must name a pair; got none. None picks three.")
    return chosen


def typical_pairs(rho: np.ndarray) -> list[tuple[int, int]]:
    """The most correlated pair, the least dependent one, the most anticorrelated one."""
    rows, columns = np.triu_indices(len(rho), 1)
    values = rho[rows, columns]
    picks = [np.argmax(values), np.argmin(np.abs(values)), np.argmin(values)]
    return [(int(rows[i]), int(columns[i])) for i in dict.fromkeys(int(i) for i in picks)]


def _quantiles(solution: Solution, start, a: int, b: int):
    """Times, and quantiles of `ρ^{ab}` at each, beginning at time 0 if it is known."""
    times = np.asarray(solution.ts)
    values = np.quantile(correlations(solution)[:, :, a, b], LEVELS, axis=0)
    if times[0] > 0 and start is not None:
        times = np.concatenate([[0.0], times])
        first = np.full((len(LEVELS), 1), start[a, b])
        values = np.concatenate([first, values], axis=1)
    return times, values


def _range(samples: list[np.ndarray]) -> tuple[float, float]:
    """Ends of the histograms: [−1, 1], or less where nothing lies beyond."""
    low = min(float(np.quantile(x, 0.002)) for x in samples)
    high = max(float(np.quantile(x, 0.998)) for x in samples)
    if high - low < 1e-6:  # of one value, without noise
        low, high = low - 0.01, high + 0.01
    return (-1.0 if low < -0.5 else low, 1.0 if high > 0.5 else high)
