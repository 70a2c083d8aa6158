"""An ensemble as a netCDF file: results to look at, and states to merge."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import statistics
from .._results import load_xarray, write_netcdf
from ..statistics import AbstractStatistic
from ._samples import Samples
from ._survey import Tally, pack, unpack

if TYPE_CHECKING:
    import xarray

_GROUP = "states"


def write(
    path: Path,
    results: "xarray.Dataset",
    kept: tuple[AbstractStatistic, ...],
    tally: Tally,
    about: dict[str, Any],
) -> Path:
    """Results in the file's root; states, and what they are of, in a group."""
    about = about | {"statistics": [_told(one) for one in kept]}
    small = {"zlib": True, "complevel": 1}  # most counts are 0
    states = {
        name: (tuple(f"{name}.{i}" for i in range(x.ndim)), x, {}, small if x.ndim else {})
        for name, x in pack(tally).items()
    }
    states = load_xarray().Dataset(states, attrs={"about": json.dumps(about)})
    return write_netcdf(path, results, **{_GROUP: states})


def read(path: Path) -> dict[str, Any]:
    """The fields of the ensemble that `write` wrote."""
    message = f"`path` must be a file of `Ensemble.save`; got {str(path)!r}{{}}."
    open_dataset = load_xarray().open_dataset
    try:
        is_file = path.is_file()
    except OSError:  # a name longer than the system takes
        is_file = False
    if not is_file:
        raise ValueError(message.format(", which is no file"))
    try:
        with open_dataset(path, group=_GROUP, engine="h5netcdf") as file:
            arrays = {str(name): x.values for name, x in file.items()}
            about = json.loads(file.attrs["about"])
        with open_dataset(path, engine="h5netcdf") as file:
            ts = file["time"].values
            has_samples = "v" in file
            samples = (
                Samples(file["v"].values, file["stopped_at"].values)
                if has_samples
                else None
            )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(message.format(" of another kind")) from error
    return dict(
        ts=ts,
        names=tuple(about["names"]),
        statistics=tuple(_made(one) for one in about["statistics"]),
        tally=unpack(arrays),
        paths=(about["paths"][0], about["paths"][1]),
        samples=samples,
        recipe=about["recipe"],
    )


def _told(statistic: AbstractStatistic) -> dict:
    """A statistic of `covsde.statistics` by its name and its configuration."""
    name = type(statistic).__name__
    if getattr(statistics, name, None) is not type(statistic):
        raise ValueError(
            f"`statistics` must be of `covsde.statistics` to be saved; got {name}. Keep "
            "the ensemble in memory, or save `to_xarray()`."
        )
    fields = [f.name for f in dataclasses.fields(statistic)]
    return {"name": name, "fields": {f: getattr(statistic, f) for f in fields}}


def _made(told: dict) -> AbstractStatistic:
    return getattr(statistics, told["name"])(**told["fields"])
