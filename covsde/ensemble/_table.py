"""An ensemble as a table in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._result import Ensemble

# Times that are shown: with more of them, the last alone.
_MOST_TIMES = 4


def table(ensemble: Ensemble) -> str:
    """A row for each observable, a section for each time."""
    solver, step = (
        ensemble.recipe["solver"].removesuffix("()"),
        float(ensemble.recipe["dt0"].split()[0]),
    )
    last = float(ensemble.ts[-1])
    lines = [
        f"{ensemble.title} at t = {last:g}",
        f"{ensemble.num_paths:,} paths{_which(ensemble)}, {solver}, steps of at most "
        f"{step:.4g}",
    ]
    few = len(ensemble.ts) <= _MOST_TIMES
    for j in range(len(ensemble.ts)) if few else [len(ensemble.ts) - 1]:
        lines += ["", *_section(ensemble, j)]
    if not few:
        lines.append(f"(the last of {len(ensemble.ts)} times; `to_xarray()` has all)")
    return "\n".join(lines)


def _which(ensemble: Ensemble) -> str:
    if ensemble.is_whole:
        return ""
    first, last = ensemble.paths
    return f" ({first:,} to {last - 1:,} of {int(ensemble.recipe['num_paths']):,})"


def _section(ensemble: Ensemble, j: int) -> list[str]:
    heads, columns = _columns(ensemble, j)
    width = max(12, *(len(name) + 2 for name in ensemble.names))
    time = f"t = {float(ensemble.ts[j]):g}"
    lines = [f"{time:{width}}" + "".join(f"{head:>11}" for head in heads)]
    for i, name in enumerate(ensemble.names):
        cells = "".join(f"{column[i]:11.4g}" for column in columns)
        lines.append(f"{name:{width}}{cells}")
    if ensemble.tally.stopped["true"][j] > 0:
        lines.append(f"stopped: {ensemble.stopped[j]:.2%} of the paths")
    for i, name in enumerate(ensemble.names):
        lost = int(ensemble.tally.left_out["true"][i, j])
        if lost:
            lines.append(f"not finite, and left out: {name} of {lost:,} paths")
    return lines


def _columns(ensemble: Ensemble, j: int) -> tuple[list[str], list[np.ndarray]]:
    """Heads, and a column for each: of the results that are one number, and quantiles."""
    parts = {name: part.values[:, j] for name, part in ensemble.parts.items()}
    heads, columns = [], []

    def add(head: str, column: np.ndarray) -> None:
        heads.append(head)
        columns.append(column)

    if "mean" in parts:
        add("mean", parts["mean"])
        add("± s.e.", parts["standard_error"])
        add("sd", np.sqrt(parts["variance"]))
    if "minimum" in parts:
        add("least", parts["minimum"])
    if "quantile" in parts:
        levels = np.asarray(ensemble.parts["quantile"].at)
        for level, column in zip(levels, parts["quantile"].T, strict=True):
            add(f"{100 * level:.4g}%", column)
    if "maximum" in parts:
        add("largest", parts["maximum"])
    return heads, columns
