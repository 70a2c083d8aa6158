"""The table of a report as plain text, short enough to read."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Protocol

import jax
import numpy as np

from .._names import full_name
from .._results import AbstractSolution
from ..activations import AbstractActivation, ShapedReLU
from ..limits import AbstractLimit
from ..observables import Correlation
from ._rows import STOPPED, Row
from ._statistics import decay_exponent

# Kinds with at most this many observables are shown in full.
_FEW = 3
# What is shown of more pairs, by the correlation that they start with.
_ENDS = "the most, least and most negatively correlated pair"

# Words in the column of the decay, where it has no power of n.
_NO_POWER = {
    "noise": "KS is above its level at no width",
    "to noise": "KS is above its level at the narrower widths alone",
    "unclear": "KS is above its level, but too little or too irregularly for a power",
}


class Compared(Protocol):
    """What a table is made of: the results of one comparison."""

    @property
    def t1(self) -> float: ...
    @property
    def limit(self) -> AbstractSolution: ...
    @property
    def networks(self) -> tuple[AbstractSolution, ...]: ...
    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


def render(report: Compared, full: bool) -> str:
    """The whole text: what was run, the table, how to read it."""
    widths = [network.width for network in report.networks]
    head = ["observable", "t = 0", "limit", f"n = {widths[-1]}", "W1"]
    head += [f"{n} " for n in widths] + (["decay"] if len(widths) > 1 else [])
    body: list[list[str] | None] = []
    shortened: list[str] = []
    for kind in dict.fromkeys(row.kind for row in report.rows):
        lines = by_observable(report.rows, kind)
        # a function of your own is not one of many
        few = full or len(lines) <= _FEW or lines[0][0].a is None
        body += [_one(line) for line in (lines if few else _named(lines, kind))]
        if not few:
            of_pairs = kind == Correlation.kind
            symbol = "ρ" if of_pairs else kind
            median, largest = (_summary(lines, f) for f in (np.median, np.max))
            body.append([f"median of {len(lines)} {symbol}", *median])
            body.append([f"largest of {len(lines)}", *largest[: 4 + len(widths)]])
            shortened.append(_ENDS if of_pairs else f"the first {symbol}")
        body.append(None)
    table = _align(head, body[:-1])
    said = {row[-1] for row in body if row}
    words = [word for word in _NO_POWER if word in said]
    footer = _footer(report, max(88, len(table[2])), shortened, words)
    return "\n".join([*_title(report), "", *table, "", *footer])


def by_observable(rows: Sequence[Row], kind: str) -> list[list[Row]]:
    """The rows of one kind, grouped: for each observable a row for each width."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == kind:
            groups.setdefault(row.observable, []).append(row)
    return list(groups.values())


def _named(lines: list[list[Row]], kind: str) -> list[list[Row]]:
    """A few observables: the worst, and for ρ the ends and the middle of the range."""
    worst = max(lines, key=lambda line: line[-1].ks)
    chosen = [lines[0], worst]
    if kind == Correlation.kind:
        chosen = [
            max(lines, key=lambda line: line[0].initial),
            min(lines, key=lambda line: abs(line[0].initial)),
            min(lines, key=lambda line: line[0].initial),
            worst,
        ]
    unique = {line[0].observable: line for line in chosen}
    return list(unique.values())


def _one(line: list[Row]) -> list[str]:
    last = line[-1]
    return [
        last.observable,
        f"{last.initial:.2f}",
        f"{last.limit_mean:.3f} ± {last.limit_se:.3f}",
        f"{last.network_mean:.3f} ± {last.network_se:.3f}",
        f"{last.wasserstein:.3f}",
        *(f"{row.ks:.3f}{'*' if row.above else ' '}" for row in line),
        *_decay([row.width for row in line], [row.ks for row in line], line),
    ]


def _summary(lines: list[list[Row]], statistic) -> list[str]:
    """A statistic of the distances over all observables of a kind."""
    ks = [
        float(statistic([row.ks for row in column])) for column in zip(*lines, strict=True)
    ]
    wasserstein = float(statistic([line[-1].wasserstein for line in lines]))
    levels = lines[0]
    cells = [
        f"{x:.3f}{'*' if x > row.ks_level else ' '}"
        for x, row in zip(ks, levels, strict=True)
    ]
    decay = _decay([row.width for row in levels], ks, levels)
    return ["", "", "", f"{wasserstein:.3f}", *cells, *decay]


def _decay(widths: list[int], ks: list[float], levels: list[Row]) -> list[str]:
    """How KS falls with the width, as far as it stands out of the sampling noise."""
    if len(widths) < 2:
        return []
    above = [x > row.ks_level for x, row in zip(ks, levels, strict=True)]
    if not any(above):
        return ["noise"]
    seen = above.index(False) if False in above else len(above)
    if seen >= 2 and max(ks) > 2 * levels[0].ks_level:
        exponent = decay_exponent(np.array(widths[:seen]), np.array(ks[:seen]))
        return [f"n^{exponent:.1f}"]
    return ["to noise"] if 0 < seen < len(above) and not any(above[seen:]) else ["unclear"]


def _align(head: list[str], body: Sequence[list[str] | None]) -> list[str]:
    body = [row and row + [""] * (len(head) - len(row)) for row in body]
    rows = [head, *(row for row in body if row)]
    sizes = [max(len(row[i]) for row in rows) for i in range(len(head))]
    left = {0, len(head) - 1} if head[-1] == "decay" else {0}

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(size) if i in left else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ]
        return "  ".join(cells).rstrip()

    starts = [sum(sizes[:i]) + 2 * i for i in range(len(sizes))]
    means = "mean ± standard error".center(sizes[2] + sizes[3] + 2).rstrip()
    above = (" " * starts[2] + means).ljust(starts[5]) + "KS distance, n ="
    rule = "-" * (sum(sizes) + 2 * len(sizes) - 2)
    return [above, line(head), rule, *(line(row) if row else "" for row in body)]


def _title(report: Compared) -> list[str]:
    limit, networks = report.limit, report.networks
    counted = any(row.a is not None for row in report.rows)
    return [
        f"{full_name(limit.limit)} at t = {report.t1:g} (time is depth/width)",
        f"limit: {limit.num_paths} paths, {limit.how}",
        f"networks: {networks[0].num_paths} of each width n, {networks[0].how}"
        + ("; inputs count from 0" if counted else ""),
    ]


def _footer(
    report: Compared, width: int, shortened: Sequence[str], words: Sequence[str]
) -> list[str]:
    last = report.networks[-1].width
    rows = [row for row in report.rows if row.width == last]
    above = sum(row.above for row in rows)
    level = min(row.ks_level for row in rows if row.kind != STOPPED)
    lines = [
        f"* KS above its 5 % level, {level:.3f}, which samples of one law exceed in one "
        f"row of twenty. At n = {last} it is exceeded in {above} of {len(rows)} rows.",
        f"If the limit is right, KS has {expected_bias(report.limit.limit)}.",
        f"W1 is the Wasserstein-1 distance at n = {last}.",
    ]
    if len(report.networks) > 1:
        lines[2] += " decay: the power of n that fits KS where it stands out of the noise."
    if words:
        meanings = "; ".join(f'"{word}": {_NO_POWER[word]}' for word in words)
        lines.append(f"decay {meanings}.")
    if shortened:
        lines.append(
            f"Shown: {'; '.join(shortened)}; and of each kind the one with the largest KS "
            f"at n = {last}. The saved table has all."
        )
    lines += [f"Note: {note}" for note in report.notes]
    return [part for line in lines for part in wrap(line, width, subsequent_indent="  ")]


def expected_bias(limit: AbstractLimit) -> str:
    """How far the law at finite width is from a right limit, in words."""
    leaves = jax.tree.leaves(limit, is_leaf=lambda x: isinstance(x, AbstractActivation))
    for leaf in leaves:
        if isinstance(leaf, ShapedReLU):
            c_plus, c_minus = float(leaf.c_plus), float(leaf.c_minus)
            if abs(c_plus) != abs(c_minus):
                return "a finite-width bias of O(1/√n) (shaped ReLU with c₊ ≠ −c₋)"
    return f"a finite-width bias {limit.finite_width_bias}"
