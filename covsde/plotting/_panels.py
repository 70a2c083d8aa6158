"""Panels: histograms, and quantiles over depth, of a limit and its networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._style import LIGHT, LIMIT, MIDDLE, NETWORK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (2.35, 2.1)  # inches
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def make_panels(count: int, *, sharey: bool, size=_PANEL) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, four a row, without touching the global state."""
    from matplotlib.figure import Figure

    columns = min(count, 4)
    rows = -(-count // columns)
    width = max(size[0] * columns + 0.7, 3.4)
    figure = Figure(figsize=(width, (size[1] + 0.4) * rows + 0.1), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.07)
    grid = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.remove()
    return figure, list(grid[:count])


def draw_legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    fitting = max(2, round(figure.get_figwidth() / 1.45))
    figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=min(len(names), fitting),
        frameon=False,
        columnspacing=1.4,
        handletextpad=0.6,
    )


def draw_densities(
    axis: Axes,
    values: Sequence[np.ndarray],
    names: Sequence[str],
    span: tuple[float, float],
    bins: int,
) -> None:
    """A histogram of the limit's values, the first, and markers of networks' upon it."""
    edges = np.linspace(span[0], span[1], bins + 1)
    axis.stairs(
        _density(values[0], edges),
        edges,
        fill=True,
        color=MIDDLE,
        linewidth=0,
        label="limit",
    )
    styles = _markers(len(names))
    for i, (name, value) in enumerate(zip(names, values[1:], strict=True)):
        _mark(axis, value, edges, styles[i], name, i == len(names) - 1)
    axis.set_xlim(*span)
    axis.set_ylim(bottom=0)


def draw_fan(
    axis: Axes, fans: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[str]
) -> None:
    """Bands of the limit, the first fan, and lines of networks upon them.

    A fan is times `(k,)`, and the quantiles of `LEVELS` at each, `(5, k)`.
    """
    times, bands = fans[0]
    axis.fill_between(
        times, bands[0], bands[4], color=LIGHT, linewidth=0, label="limit 90 %"
    )
    axis.fill_between(
        times, bands[1], bands[3], color=MIDDLE, linewidth=0, label="limit 50 %"
    )
    axis.plot(times, bands[2], color=LIMIT, linewidth=1.8, label="limit median")
    axis.set_xlabel("time $t$ = depth/width")
    axis.set_xlim(float(times[0]), float(times[-1]))
    styles = _markers(len(names))
    for name, (colour, marker, _), fan in zip(names, styles, fans[1:], strict=True):
        times, lines = fan
        for i in (0, 1, 3, 4):
            label = f"{name} 50 %, 90 %" if i == 0 else None
            axis.plot(
                times, lines[i], color=colour, linewidth=0.8, linestyle="--", label=label
            )
        axis.plot(
            times,
            lines[2],
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3.5,
            label=f"{name} median",
            clip_on=False,
            zorder=3,
        )


def _mark(axis: Axes, sample, edges, style, name: str, with_errors: bool) -> None:
    """The histogram of one sample as markers, with the noise of its bins if asked for."""
    colour, marker, face = style
    counts, _ = np.histogram(sample, edges)
    scale = 1 / (sample.size * np.diff(edges))
    errors = np.sqrt(counts * (1 - counts / sample.size)) * scale
    axis.errorbar(
        (edges[1:] + edges[:-1]) / 2,
        counts * scale,
        yerr=errors if with_errors else None,
        linestyle="none",
        marker=marker,
        markersize=3.6,
        markeredgewidth=0.9,
        markerfacecolor=face,
        color=colour,
        elinewidth=0.9,
        label=name,
        zorder=2 + 0.1 * with_errors,
    )


def _markers(count: int) -> list[tuple[str, str, str]]:
    """Colour, marker and its filling for each of the networks, the widest last."""
    colours, shapes = ["#0072b2", "#009e73", NETWORK], ["^", "s", "o"]
    if count > len(colours):
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        colours = [to_hex(c) for c in colormaps["viridis"](np.linspace(0.85, 0.1, count))]
        shapes = [shapes[i % len(shapes)] for i in range(count)]
    colours, shapes = colours[len(colours) - count :], shapes[len(shapes) - count :]
    fills = ["white"] * (count - 1) + colours[-1:]
    return list(zip(colours, shapes, fills, strict=False))


def _density(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Histogram that integrates to the share of the sample within the edges."""
    counts, _ = np.histogram(sample, edges)
    return counts / (sample.size * np.diff(edges))
