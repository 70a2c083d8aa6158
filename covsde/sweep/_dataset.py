"""The results of all points as one labelled dataset."""

from __future__ import annotations

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


def results_at(
    survey: Survey, tally: Tally, slopes: State, wanted: tuple[str, ...]
) -> tuple[dict[str, _Labelled], dict[str, Any]]:
    """The results of one point, labelled, and what stands along their further axes."""
    variables: dict[str, _Labelled] = {}
    coordinates: dict[str, Any] = {}
    usual = ("observable", "time")
    for statistic, state in zip(survey.statistics, tally.states, strict=True):
        for name, part in statistic.result(state).items():
            axes = usual if part.axis is None else (*usual, part.axis)
            variables[name] = axes, part.values
            if part.axis is not None:
                other = part.axis == "other"
                coordinates[part.axis] = list(survey.names) if other else part.at
    if "variance" in variables:
        variables["standard_deviation"] = usual, np.sqrt(variables["variance"][1])
    if wanted:
        moments = Moments().result(slopes)
        axes = ("parameter", *usual)
        variables["gradient"] = axes, moments["mean"].values
        variables["gradient_standard_error"] = axes, moments["standard_error"].values
        coordinates["parameter"] = list(wanted)
    variables["left_out"] = usual, tally.left_out["true"]
    variables["stopped"] = ("time",), Share().result(tally.stopped)["share"].values
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
    for name, (own, first) in results[0][0].items():
        stacked = np.stack([one[name][1] for one, _ in results])
        variables[name] = (*axes, *own), stacked.reshape(*shape, *np.shape(first))
    labels = {**grid.values, **coordinates, **results[0][1]}
    if starts is not None:
        labels["start"] = np.arange(starts)
    return load_xarray("sweep").Dataset(variables, labels, attributes)
