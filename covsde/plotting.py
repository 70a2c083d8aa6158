"""Figures: correlations as densities, over depth, and as matrices; orders of solvers.

Of the unshaped limit it is the nearness `u` of two inputs. Each function takes solutions,
or a study, and returns a `matplotlib.figure.Figure`: show it, change it, or
`figure.savefig("figure.pdf")`. Paths that were stopped are left out.
Needs matplotlib: `pip install 'covsde[plot]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._checks import found
from ._drawing import (
    LEVELS,
    LIGHT,
    LIMIT,
    MIDDLE,
    draw_densities,
    draw_fan,
    draw_legend,
    make_panels,
    styled,
)
from ._results import AbstractSolution
from .convergence import Study
from .convergence._order import NOISE
from .limits import UnshapedSolution
from .observables import correlation
from .solution import Solution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pairs = Sequence[tuple[int, int]]

_Solution = TypeVar("_Solution", bound=AbstractSolution)


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
    widest = _solutions(networks)[-1:]
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
        drawn["fan"] = nearness_fan(limit, _unshaped(limit, networks)[-1:])
    return drawn


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
    networks = _solutions(networks)
    start = _start(limit, v0)
    pairs = _pairs(limit, pairs, start)
    names = _names(limit, labels)
    figure, axes = make_panels(len(pairs), sharey=False)
    samples = [_correlations(one)[:, -1] for one in (limit, *networks)]
    for axis, (a, b) in zip(axes, pairs, strict=True):
        values = [sample[:, a, b] for sample in samples]
        draw_densities(axis, values, _network_names(networks), _range(values), bins)
        if start is not None:
            axis.axvline(
                _entry(start, a, b),
                color="black",
                linewidth=0.8,
                linestyle=":",
                label="start",
            )
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
    networks = _solutions(networks)
    start = _start(limit, v0)
    _check_times(limit)
    pairs = _pairs(limit, pairs, start)
    names = _names(limit, labels)
    figure, axes = make_panels(len(pairs), sharey=True)
    for axis, (a, b) in zip(axes, pairs, strict=True):
        fans = [_quantiles(one, start, a, b) for one in (limit, *networks)]
        draw_fan(axis, fans, _network_names(networks))
        axis.set_title(f"inputs {names[a]} and {names[b]}")
        axis.set_ylim(-1, 1)
        axis.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes[0].set_ylabel(r"correlation $\rho_t$")
    draw_legend(figure, axes[0])
    return figure


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
    networks = _unshaped(limit, networks)
    figure, (axis,) = make_panels(1, sharey=False)
    values = [_nearness(one)[:, -1] for one in (limit, *networks)]
    # the tail is long
    high = max(float(np.quantile(x, 0.98)) for x in values)
    draw_densities(axis, values, _network_names(networks), (0.0, high), bins)
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
    networks = _unshaped(limit, networks)
    _check_times(limit)
    figure, (axis,) = make_panels(1, sharey=False)
    fans = [_nearness_quantiles(one) for one in (limit, *networks)]
    draw_fan(axis, fans, _network_names(networks))
    axis.set_ylim(bottom=0)
    axis.set_ylabel("nearness $u_t$")
    draw_legend(figure, axis)
    return figure


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
    networks = _solutions(networks)
    start = _start(limit, v0)
    names = _names(limit, labels)
    end = rf"$t = {float(limit.ts[-1]):.4g}$"
    panels = [] if start is None else [("start, $t = 0$", start)]
    panels.append((f"limit, {end}", _correlations(limit)[:, -1].mean(axis=0)))
    for network in networks:
        mean = _correlations(network)[:, -1].mean(axis=0)
        panels.append((f"{_network_name(network)}, {end}", mean))
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


def _solutions(networks) -> tuple[Solution, ...]:
    return _all_of(Solution, "covsde.oracles.sample", networks)


def _unshaped(limit, networks) -> tuple[UnshapedSolution, ...]:
    if not isinstance(limit, UnshapedSolution):
        raise TypeError(
            f"`limit` must be a solution of `UnshapedMLP().solve`; got {found(limit)}."
        )
    source = "covsde.oracles.unshaped.sample_unshaped"
    return _all_of(UnshapedSolution, source, networks)


def _all_of(kind: type[_Solution], source: str, networks) -> tuple[_Solution, ...]:
    several = (networks,) if isinstance(networks, kind) else tuple(networks)
    for one in several:
        if not isinstance(one, kind):
            raise TypeError(
                f"`networks` must be solutions of `{source}`; got {found(one)}."
            )
    return several


def _check_times(limit: AbstractSolution) -> None:
    """Refuses to draw one time over depth."""
    if limit.ts.size < 2:
        raise ValueError(
            "`limit` must have several saved times to be drawn over depth; got one. Solve "
            "it with e.g. `saveat=jnp.linspace(0, t1, 9)`."
        )


def _start(limit: Solution, v0) -> np.ndarray | None:
    """Correlations at time 0, `(m, m)`, if they are known and the same for all paths."""
    if not isinstance(limit, Solution):
        raise TypeError(
            f"`limit` must be a solution of `covsde.solve`; got {found(limit)}."
        )
    if limit.m < 2:
        raise ValueError(
            "`limit` must have at least two inputs to have correlations; got one."
        )
    if v0 is not None:
        v0 = np.asarray(v0)
        if v0.shape != (limit.m, limit.m):
            raise ValueError(
                f"`v0` must have shape {(limit.m, limit.m)}, as the solution has; got "
                f"{v0.shape}."
            )
        return np.asarray(correlation(jnp.asarray(v0)))
    if float(limit.ts[0]) > 0:
        return None
    first = np.asarray(limit.vs[:, 0])
    same = np.allclose(first, first[:1], rtol=1e-5, atol=0)
    return np.asarray(correlation(jnp.asarray(first[0]))) if same else None


def _pairs(limit: Solution, pairs: Pairs | None, start: np.ndarray | None) -> list:
    if pairs is None:
        return typical_pairs(_correlations(limit)[:, 0].mean(0) if start is None else start)
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


def _nearness_quantiles(solution: UnshapedSolution) -> tuple[np.ndarray, np.ndarray]:
    """Times, and quantiles of `u` at each; the limit's begin with 0."""
    times = np.asarray(solution.ts)
    values = np.quantile(_nearness(solution), LEVELS, axis=0)
    if times[0] > 0 and solution.width is None:
        times = np.concatenate([[0.0], times])
        values = np.concatenate([np.zeros((len(LEVELS), 1)), values], axis=1)
    return times, values


def _names(limit: Solution, labels: Sequence[str] | None) -> list[str]:
    if labels is None:
        return [str(i) for i in range(limit.m)]
    names = [str(label) for label in labels]
    if len(names) != limit.m:
        raise ValueError(
            f"`labels` must name each of the {limit.m} inputs; got {len(names)} names."
        )
    return names


def _network_names(networks: Sequence[AbstractSolution]) -> list[str]:
    return [_network_name(network) for network in networks]


def _network_name(solution: AbstractSolution) -> str:
    return "networks" if solution.width is None else f"networks $n = {solution.width}$"


def _correlations(solution: Solution) -> np.ndarray:
    """`(paths, k, m, m)` of the paths that were never stopped."""
    if not solution.running.any():
        raise ValueError(
            "every path was stopped, so there is no correlation to draw. Raise "
            "`stop_above`, or stop at an earlier `t1`."
        )
    return np.asarray(correlation(jnp.asarray(np.asarray(solution.vs)[solution.running])))


def _nearness(solution: UnshapedSolution) -> np.ndarray:
    """`(paths, k)` of the networks whose inputs still differ."""
    if not solution.running.any():
        raise ValueError(
            "in every network the inputs have become one, so there is no nearness to "
            "draw. Pass a larger width, or an earlier `t1`."
        )
    return np.asarray(solution.us)[solution.running]


def _quantiles(solution: Solution, start, a: int, b: int):
    """Times, and quantiles of `ρ^{ab}` at each, beginning at time 0 if it is known."""
    times = np.asarray(solution.ts)
    values = np.quantile(_correlations(solution)[:, :, a, b], LEVELS, axis=0)
    if times[0] > 0 and start is not None:
        times = np.concatenate([[0.0], times])
        first = np.full((len(LEVELS), 1), _entry(start, a, b))
        values = np.concatenate([first, values], axis=1)
    return times, values


def _entry(matrix: np.ndarray, a: int, b: int) -> float:
    return float(matrix[a, b])


def _range(samples: list[np.ndarray]) -> tuple[float, float]:
    """Ends of the histograms: [−1, 1], or less where nothing lies beyond."""
    low = min(float(np.quantile(x, 0.002)) for x in samples)
    high = max(float(np.quantile(x, 0.998)) for x in samples)
    return (-1.0 if low < -0.5 else low, 1.0 if high > 0.5 else high)


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


# Colours and markers of the rows of a study
_ROWS = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#3d4a57", "v"),
    ("#e69f00", "P"),
)


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
