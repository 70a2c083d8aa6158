"""What an ensemble returns: statistics of observables at the saved times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Float

from .._results import load_xarray
from ..statistics import AbstractStatistic, Part, Quantiles, Share
from ._chunks import Range
from ._file import read, write
from ._fingerprint import Recipe
from ._samples import Samples
from ._survey import Survey, Tally
from ._table import sections

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Statistics of observables of many paths, at each saved time.

    `ensemble["rho"]["mean"]` has the means of the observable `rho`, one for each time; what
    else there is follows from the statistics, [`covsde.statistics`][]. `print(ensemble)`
    shows a table.

    Of a path that was stopped, statistics have the times before. Values that are not finite
    are left out of them, and counted.

    - `ts`: saved times (depth/width), shape `(k,)`.
    - `names`: of the observables. `statistics`: what was asked to be kept of them.
    - `tally`: the states of the statistics. `paths`: of which paths, `(first, last)`; the
      last is not among them.
    - `samples`: the first paths, whole; None if there are none.
    - `recipe`: what was run, each argument in words.
    """

    ts: Float[np.ndarray, " k"]
    names: tuple[str, ...]
    statistics: tuple[AbstractStatistic, ...]
    tally: Tally
    paths: tuple[int, int]
    samples: Samples | None
    recipe: Recipe

    @property
    def num_paths(self) -> int:
        """How many paths are in it."""
        return Range(*self.paths).size

    @property
    def is_whole(self) -> bool:
        """Whether these are all paths, and not a shard of them."""
        return self.num_paths == int(self.recipe["num_paths"])

    @property
    def stopped(self) -> Float[np.ndarray, " k"]:
        """The share of paths that were stopped, at each time."""
        return Share().result(self.tally.stopped)["share"].values

    @property
    def left_out(self) -> dict[str, np.ndarray]:
        """How many values were not finite, at each time, by observable."""
        return dict(zip(self.names, self.tally.left_out["true"], strict=True))

    @property
    def parts(self) -> dict[str, Part]:
        """All results by name, each of shape `(observables, k, ...)`."""
        results = {}
        for statistic, state in zip(self.statistics, self.tally.states, strict=True):
            results |= statistic.result(state)
        return results

    def __getitem__(self, name: str) -> dict[str, np.ndarray]:
        """The results for one observable, each of shape `(k, ...)`."""
        i = self._index(name)
        return {result: part.values[i] for result, part in self.parts.items()}

    def quantile(
        self, name: str, levels: float | Float[ArrayLike, " levels"]
    ) -> Float[np.ndarray, "k levels"]:
        """Quantiles of an observable at any levels.

        **Raises:** `ValueError` if `Quantiles` is not among the statistics.
        """
        i, levels = self._index(name), np.atleast_1d(np.asarray(levels, float))
        for statistic, state in zip(self.statistics, self.tally.states, strict=True):
            if isinstance(statistic, Quantiles):
                return statistic.quantile({"counts": state["counts"][i]}, levels)
        raise ValueError(
            "`statistics` must have `Quantiles()` for quantiles; got "
            f"{', '.join(type(one).__name__ for one in self.statistics)}. Run it again."
        )

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(
                f"`name` must be one of {', '.join(map(repr, self.names))}; got {name!r}."
            )
        return self.names.index(name)

    @property
    def survey(self) -> Survey:
        """The statistics, to merge states by; without the functions."""
        return Survey(self.names, (), self.statistics)

    def to_xarray(self) -> xarray.Dataset:
        """All results as a labelled dataset, with what was run as attributes.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """
        variables, coordinates = {}, {}
        for name, part in self.parts.items():
            axes = ("observable", "time")
            if part.axis is not None:
                axes = (*axes, part.axis)
                at = list(self.names) if part.axis == "other" else part.at
                coordinates[part.axis] = at
            variables[name] = (axes, part.values)
        variables["left_out"] = (("observable", "time"), self.tally.left_out["true"])
        variables["stopped"] = (("time",), self.stopped)
        if self.samples is not None:
            axes = ("path", "time", "a", "b")[: self.samples.vs.ndim]
            variables["v"] = (axes, self.samples.vs)
            variables["stopped_at"] = (("path",), self.samples.stopped_at)
        coordinates |= {"observable": list(self.names), "time": self.ts}
        attributes = {"time_unit": "depth/width", "paths": list(self.paths), **self.recipe}
        return load_xarray().Dataset(variables, coordinates, attributes)

    def save(self, path: str | Path) -> Path:
        """Writes `to_xarray()` and all states to a netCDF file; returns the path.

        Its folder is made. Needs `xarray`: `pip install 'covsde[io]'`.
        """
        about = {"names": self.names, "paths": self.paths, "recipe": self.recipe}
        return write(Path(path), self.to_xarray(), self.statistics, self.tally, about)

    @staticmethod
    def load(path: str | Path) -> Ensemble:
        """The ensemble, or the shard of one, that `save` wrote.

        **Raises:** `ValueError` for another file.
        """
        return Ensemble(**read(Path(path)))

    def __str__(self) -> str:
        solver = self.recipe["solver"].removesuffix("()")
        step, *_ = self.recipe["dt0"].split()
        steps = "to a tolerance"
        if step != "None":
            steps = f"steps of at most {float(step):.4g}"
        first, last = self.paths
        of = f" ({first:,} to {last - 1:,} of {int(self.recipe['num_paths']):,})"
        head = [
            f"{self.title} at t = {float(self.ts[-1]):g}",
            f"{self.num_paths:,} paths{'' if self.is_whole else of}, {solver}, {steps}",
        ]
        return "\n".join(head + sections(self.ts, self.names, self.parts, self.tally))

    @property
    def title(self) -> str:
        """The limit, without the digest of its parameters."""
        return re.sub(r" [0-9a-f]{16}$", "", self.recipe["limit"])
