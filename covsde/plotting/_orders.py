"""A figure of the orders of solvers: errors against the length of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._checks import found
from ..convergence import NOISE, Study
from ._style import LIGHT, LIMIT, MIDDLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours and markers of the rows of a study
_ROWS = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#3d4a57", "v"),
    ("#e69f00", "P"),
)


@styled
def orders(study: Study) -> Figure:
    """Errors of solvers against the length of a step, and the slopes of their orders.

    Points within the noise, of which the orders are not made, are hollow, and the noise
    is shaded: three standard errors, or three numerical errors of a quadrature. Dashed
    lines have the orders, rounded to halves, where their intervals are short enough.

    **Arguments:**

    - `study`: of [`covsde.convergence.study`][].
    """
    from matplotlib.figure import Figure

    if not isinstance(study, Study):
        raise TypeError(
            f"`study` must be a study of `covsde.convergence.study`; got {found(study)}."
        )
    figure = Figure(figsize=(6.2, 3.3), layout="constrained")
    axis = figure.subplots()
    lengths = study.t1 / np.array(study.rows[0].steps)
    errors = [np.abs(row.errors) for row in study.rows]
    positive = np.concatenate(errors)[np.concatenate(errors) > 0]
    bottom, top = np.min(positive) / 3, np.max(positive) * 3
    ends = lengths[-1] / 1.4, lengths[0] * 1.4
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=(bottom, top))
    axis.set_xticks(lengths, [_fraction(study.t1, n) for n in study.rows[0].steps])
    axis.minorticks_off()
    for i, (row, error) in enumerate(zip(study.rows, errors, strict=True)):
        colour, marker = _ROWS[i % len(_ROWS)]
        name = row.solver.replace("()", "")
        axis.plot(lengths, error, color=colour, linewidth=1.0, alpha=0.6)
        for above in (True, False):
            chosen = row.above_noise == above
            axis.plot(
                lengths[chosen],
                error[chosen],
                linestyle="none",
                marker=marker,
                markersize=5.0,
                markeredgewidth=1.0,
                markerfacecolor=colour if above else "white",
                color=colour,
                label=f"{name}\norder {row.order}" if above else None,
                zorder=3,
            )
    _shade_noise(axis, study, lengths, ends, bottom)
    _slopes(axis, study, lengths, errors)
    axis.set_xlabel("step $h$ (depth/width)")
    axis.set_ylabel("error")
    figure.suptitle(study.title, x=0.01, ha="left", fontsize=9.0)
    figure.legend(loc="outside right center", frameon=False, labelspacing=0.9)
    return figure


def _fraction(t1: float, steps: int) -> str:
    """The length of a step, as 1/n where it is."""
    return f"1/{steps / t1:g}" if steps > t1 and steps % t1 == 0 else f"{t1 / steps:.3g}"


def _shade_noise(axis: Axes, study: Study, lengths: np.ndarray, ends, bottom: float):
    """The noise of the rows that reach it, or else the least that there is."""
    rows = [row for row in study.rows if not row.above_noise.all()]
    rows = rows or [min(study.rows, key=lambda row: row.standard_errors.max())]
    noise = NOISE * np.max([row.standard_errors for row in rows], axis=0)
    axis.fill_between(
        [ends[1], *lengths, ends[0]],
        np.maximum([noise[0], *noise, noise[-1]], bottom),
        bottom,
        color=LIGHT,
        linewidth=0,
        zorder=0,
        label="within the noise",
    )


def _slopes(axis: Axes, study: Study, lengths: np.ndarray, errors: list[np.ndarray]):
    """One line for each order that is about known, below the first row that has it."""
    drawn = set()
    for row, error in zip(study.rows, errors, strict=True):
        known = max(0.5, row.order.slope / 4)
        if row.order.points < 2 or row.order.margin > known:
            continue
        order = round(2 * row.order.slope) / 2
        if order <= 0 or order in drawn:
            continue
        drawn.add(order)
        used = row.above_noise
        line = lengths**order
        line = line * np.min(error[used] / line[used]) / 1.6
        axis.plot(lengths, line, color=MIDDLE, linewidth=0.9, linestyle="--", zorder=1)
        power = "" if order == 1 else f"^{{{order:g}}}"
        axis.annotate(
            f"$h{power}$",
            (lengths[0], line[0]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=LIMIT,
            fontsize=8.0,
        )
