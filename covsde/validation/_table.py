"""The table of a report as plain text, short enough to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from ..activations import AbstractActivation, ShapedReLU
from ..limits import AbstractLimit, ShapedMLP
from ._describe import describe
from ._rows import LOG_DET, LOG_V, RHO, STOPPED, Row
from ._statistics import decay_exponent

if TYPE_CHECKING:
    from ._report import Report

# Kinds with at most this many observables are shown in full.
_FEW = 3


def render(report: Report, full: bool) -> str:
    """The whole text: what was run, the table, how to read it."""
    widths = [network.width for network in report.networks]
    last = widths[-1]
    head = ["observable", "t = 0", "limit", f"n = {last}", "W1"]
    head += [f"{n}" for n in widths] + (["decay"] if len(widths) > 1 else [])
    body: list[list[str] | None] = []
    for kind in (LOG_V, RHO, LOG_DET, STOPPED):
        lines = by_observable(report.rows, kind)
        if not lines:
            continue
        few = full or len(lines) <= _FEW
        body += [_one(line) for line in (lines if few else _named(lines, kind))]
        if not few:
            symbol = "ρ" if kind == RHO else kind
            body.append(_summary(f"median of {len(lines)} {symbol}", lines, np.median))
            body.append(_summary(f"largest of {len(lines)}", lines, np.max))
        body.append(None)
    above = " " * 2
    table = _align(head, body[:-1])
    ks_start = table[0].index("W1") + 2
    above = " " * (ks_start + 2) + "KS distance, n ="
    means = "mean ± standard error"
    column = table[0].index("limit") - 8
    above = above[:column] + means + above[column + len(means) :]
    return "\n".join([*_title(report), "", above, *table, "", *_footer(report)])


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
    if kind == RHO:
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


def _summary(label: str, lines: list[list[Row]], statistic) -> list[str]:
    ks = [float(statistic([row.ks for row in column])) for column in zip(*lines, strict=True)]
    wasserstein = float(statistic([line[-1].wasserstein for line in lines]))
    levels = lines[0]
    cells = [
        f"{x:.3f}{'*' if x > row.ks_level else ' '}" for x, row in zip(ks, levels, strict=True)
    ]
    decay = _decay([row.width for row in levels], ks, levels)
    return [label, "", "", "", f"{wasserstein:.3f}", *cells, *decay]


def _decay(widths: list[int], ks: list[float], levels: list[Row]) -> list[str]:
    """How KS falls with the width, as far as it stands out of the sampling noise."""
    if len(widths) < 2:
        return []
    above = [x > row.ks_level for x, row in zip(ks, levels, strict=True)]
    if not any(above):
        return ["noise"]
    if all(above):
        return [f"n^{decay_exponent(np.array(widths), np.array(ks)):.1f}"]
    return ["to noise"] if above == sorted(above, reverse=True) else ["unclear"]


def _align(head: list[str], body: Sequence[list[str] | None]) -> list[str]:
    rows = [head, *(row for row in body if row)]
    sizes = [max(len(row[i]) for row in rows) for i in range(len(head))]
    names = {0, len(head) - 1} if head[-1] == "decay" else {0}

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(size) if i in names else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(row, sizes, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * len(line([x.ljust(size) for x, size in zip(head, sizes, strict=True)]))
    return [line(head), rule, *(line(row) if row else "" for row in body)]


def _title(report: Report) -> list[str]:
    solution, networks = report.limit, report.networks
    solver = type(solution.solver).__name__
    return [
        f"{describe(solution.limit)} at t = {report.t1:g} (time is depth/width)",
        f"limit: {solution.num_paths} paths, {solver}, step at most {solution.dt0:.4g}; "
        f'networks: {networks[0].num_paths} of each width n, method "{networks[0].method}"',
    ]


def _footer(report: Report) -> list[str]:
    rows = [row for row in report.rows if row.width == report.networks[-1].width]
    above = sum(row.above for row in rows)
    level = min(row.ks_level for row in rows)
    lines = [
        "W1 is the Wasserstein-1 distance at the largest width; inputs count from 0.",
        f"* KS above its 5 % level, {level:.3f}: equal laws exceed it in one row of twenty.",
        f"At n = {rows[0].width}, {above} of {len(rows)} observables are above it.",
        f"Expected if the limit is right: {expected_bias(report.limit.limit)}.",
    ]
    return lines + [f"Note: {note}" for note in report.notes]


def expected_bias(limit: AbstractLimit) -> str:
    """How far the law at finite width is from a right limit, in words."""
    leaves = jax.tree.leaves(limit, is_leaf=lambda x: isinstance(x, AbstractActivation))
    for leaf in leaves:
        if isinstance(leaf, ShapedReLU):
            c_plus, c_minus = float(leaf.c_plus), float(leaf.c_minus)
            if abs(c_plus) != abs(c_minus):
                return (
                    "a finite-width bias of O(1/√n) in KS (shaped ReLU with c₊ ≠ −c₋), "
                    "falling with n"
                )
    if isinstance(limit, ShapedMLP):
        return "a finite-width bias of O(1/n) in KS, falling with n"
    return "a finite-width bias in KS that vanishes as n grows"
