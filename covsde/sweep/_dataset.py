"""The results of all points as one labelled dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._results import load_xarray
from ..ensemble import Survey, Tally
from ..statistics import Moments, Share, State
from ._grid import Grid

if TYPE_CHECKING:
    import xarray

# An array with the names of those of its axes that are not of the grid.
_Labelled = tuple[tuple[str, ...], np.ndarray]


def results_of(
    points: int,
    times: slice,
    survey: Survey,
    tally: Tally,
    slopes: State,
    wanted: tuple[str, ...],
) -> tuple[dict[str, _Labelled], dict[str, Any]]:
    """The results of some points along a first axis, labelled; and what stands along the
    further axes.

    Each point has times of its own in the tally, one point after another, of which these
    were asked for.
    """
    variables: dict[str, _Labelled] = {}
    coordinates: dict[str, Any] = {}

    def told(name: str, x: np.ndarray, *axes: str) -> None:
        at = axes.index("time")
        x = x.reshape(*x.shape[:at], points, -1, *x.shape[at + 1 :])
        variables[name] = axes, np.moveaxis(x, at, 0)[(*(slice(None),) * (at + 1), times)]

    usual = ("observable", "time")
    for statistic, state in zip(survey.statistics, tally.states, strict=True):
        for name, part in statistic.result(state).items():
            axes = usual if part.axis is None else (*usual, part.axis)
            told(name, part.values, *axes)
            if part.axis is not None:
                other = part.axis == "other"
                coordinates[part.axis] = list(survey.names) if other else part.at
    if "variance" in variables:
        variables["standard_deviation"] = usual, np.sqrt(variables["variance"][1])
    if wanted:
        moments = Moments().result(slopes)
        axes = ("parameter", *usual)
        told("gradient", moments["mean"].values, *axes)
        told("gradient_standard_error", moments["standard_error"].values, *axes)
        coordinates["parameter"] = list(wanted)
    told("left_out", tally.left_out["true"], *usual)
    told("stopped", Share().result(tally.stopped)["share"].values, "time")
    return variables, coordinates


def dataset(
    grid: Grid,
    starts: int | None,
    results: list[tuple[dict[str, _Labelled], dict[str, Any]]],
    coordinates: Mapping[str, Any],
    attributes: dict[str, Any],
) -> xarray.Dataset:
    """All points, in the order of the grid, the start running fastest."""
    axes, shape = tuple(grid.values), grid.shape
    if starts is not None:
        axes, shape = (*axes, "start"), (*shape, starts)
    variables = {}
    for name, (own, _) in results[0][0].items():
        # the last ones only fill up
        every = np.concatenate([some[name][1] for some, _ in results])[: math.prod(shape)]
        variables[name] = (*axes, *own), every.reshape(*shape, *every.shape[1:])
    labels = {**grid.values, **coordinates, **results[0][1]}
    if starts is not None:
        labels["start"] = np.arange(starts)
    return load_xarray("sweep").Dataset(variables, labels, attributes)
