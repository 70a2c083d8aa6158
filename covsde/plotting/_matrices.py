"""A figure of correlation matrices, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from ..solution import Solution
from ._panels import make_panels
from ._rho import correlations, input_names, start_correlations
from ._solutions import network_name, solutions
from ._style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def correlation_matrices(
    limit: Solution,
    networks: Solution | Sequence[Solution] = (),
    *,
    v0: Float[Array | np.ndarray, "m m"] | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Mean correlation matrices: at the start, then of the limit and networks at the end.

    **Arguments:** as for [`covsde.plotting.correlation_densities`][]; `v0` is needed if
    the limit did not save time 0, else there is no panel for the start.
    """
    networks = solutions(Solution, networks)
    start = start_correlations(limit, v0)
    names = input_names(limit, labels)
    end = rf"$t = {float(limit.ts[-1]):.4g}$"
    panels = [] if start is None else [("start, $t = 0$", start)]
    panels.append((f"limit, {end}", correlations(limit)[:, -1].mean(axis=0)))
    for network in networks:
        mean = correlations(network)[:, -1].mean(axis=0)
        panels.append((f"{network_name(network)}, {end}", mean))
    figure, axes = make_panels(len(panels), sharey=True, size=(2.25, 2.35))
    image = None
    for axis, (title, matrix) in zip(axes, panels, strict=True):
        off_diagonal = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
        axis.set_facecolor("#d9d9d9")
        image = axis.imshow(off_diagonal, cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(title)
        ticks = range(0, len(names), -(-len(names) // 12))
        axis.set_xticks(ticks, [names[i] for i in ticks])
        axis.set_yticks(ticks, [names[i] for i in ticks])
        axis.set_xlabel("input")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        if len(names) <= 8:
            _write_entries(axis, matrix)
    axes[0].set_ylabel("input")
    assert image is not None
    bar = figure.colorbar(image, ax=axes, shrink=0.82, pad=0.01, aspect=20)
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    bar.set_label(r"mean correlation $\mathrm{E}\,\rho$")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _write_entries(axis: Axes, matrix: np.ndarray) -> None:
    size = 7.0 if len(matrix) <= 6 else 6.0
    for (a, b), value in np.ndenumerate(matrix):
        if a != b:
            text = (
                f"{value:.2f}".replace("0.", ".").replace("-", "−").replace("−.00", ".00")
            )
            colour = "white" if abs(value) > 0.6 else "black"
            axis.text(b, a, text, ha="center", va="center", fontsize=size, color=colour)
