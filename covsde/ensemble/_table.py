"""An ensemble as a table in plain text."""

import numpy as np
from jaxtyping import Float

from ..statistics import Part, Share
from ._survey import Tally

# Times that are shown: with more of them, the last alone.
_MOST_TIMES = 4


def sections(
    ts: Float[np.ndarray, " k"],
    names: tuple[str, ...],
    parts: dict[str, Part],
    tally: Tally,
) -> list[str]:
    """The lines of a section for each time, with a row for each observable."""
    few = len(ts) <= _MOST_TIMES
    lines = []
    for j in range(len(ts)) if few else [len(ts) - 1]:
        lines += ["", *_section(float(ts[j]), j, names, parts, tally)]
    if not few:
        lines.append(f"(the last of {len(ts)} times; `to_xarray()` has all)")
    return lines


def _section(
    t: float, j: int, names: tuple[str, ...], parts: dict[str, Part], tally: Tally
) -> list[str]:
    heads, columns = _columns(j, parts)
    width = max(12, *(len(name) + 2 for name in names))
    lines = [f"{f't = {t:g}':{width}}" + "".join(f"{head:>11}" for head in heads)]
    for i, name in enumerate(names):
        cells = "".join(f"{column[i]:11.4g}" for column in columns)
        lines.append(f"{name:{width}}{cells}")
    if tally.stopped["true"][j] > 0:
        stopped = Share().result(tally.stopped)["share"].values[j]
        lines.append(f"stopped: {stopped:.2%} of the paths")
    for i, name in enumerate(names):
        lost = int(tally.left_out["true"][i, j])
        if lost:
            lines.append(f"not finite, and left out: {name} of {lost:,} paths")
    return lines


def _columns(j: int, every: dict[str, Part]) -> tuple[list[str], list[np.ndarray]]:
    """Heads, and a column for each: of the results that are one number, and quantiles."""
    parts = {name: part.values[:, j] for name, part in every.items()}
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
        levels = np.asarray(every["quantile"].at)
        for level, column in zip(levels, parts["quantile"].T, strict=True):
            add(f"{100 * level:.4g}%", column)
    if "maximum" in parts:
        add("largest", parts["maximum"])
    return heads, columns
