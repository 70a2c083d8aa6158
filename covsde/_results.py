"""What every simulation returns: paths over time, what was run, and a file of it."""

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._files import replacing

if TYPE_CHECKING:
    import xarray


def load_xarray(wanted_by: str = "to_xarray"):
    """The module xarray, or the way to get it."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            f"`{wanted_by}` needs xarray. Install it with `pip install 'covsde[io]'`."
        ) from error
    return xarray


def write_netcdf(path: Path, dataset: "xarray.Dataset", **groups: "xarray.Dataset") -> Path:
    """Writes a dataset, and more of them as groups, to a whole new file at `path`."""
    load_xarray("save")
    try:
        import h5netcdf
        from xarray.backends import H5NetCDFStore
    except ImportError as error:
        raise ImportError(
            "`save` needs h5netcdf. Install it with `pip install 'covsde[io]'`."
        ) from error
    with replacing(path) as file, h5netcdf.File(file, "w") as root:
        dataset.dump_to_store(H5NetCDFStore(root))
        for name, part in groups.items():
            part.dump_to_store(H5NetCDFStore(root.create_group(name)))
    return path


class AbstractSolution(eqx.Module):
    """Paths of a limit, or of its finite networks."""

    ts: eqx.AbstractVar[Float[Array, " k"]]
    limit: eqx.AbstractVar[Any]
    key: eqx.AbstractVar[PRNGKeyArray]
    dt0: eqx.AbstractVar[float | None]
    width: eqx.AbstractVar[int | None]

    @property
    @abc.abstractmethod
    def num_paths(self) -> int:
        """Number of paths (or networks)."""

    @property
    @abc.abstractmethod
    def readings(self) -> Float[Array, "num_paths k *state"]:
        """What observables read: the state of each path at the saved times."""

    @property
    @abc.abstractmethod
    def running(self) -> Bool[np.ndarray, " num_paths"]:
        """Which paths have a state at the last time, because they never stopped."""

    @property
    def lost(self) -> Bool[np.ndarray, " num_paths"]:
        """Which paths are not known at the last time, and read as NaN.

        They left the covariances, or their steps did not take them as far.
        """
        return np.isnan(np.asarray(self.readings[:, -1]).reshape(self.num_paths, -1)[:, 0])

    @property
    @abc.abstractmethod
    def how(self) -> str:
        """How the paths were made, in words."""

    @abc.abstractmethod
    def to_xarray(self) -> "xarray.Dataset":
        """The paths as a labelled dataset, with what was run as attributes.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """

    def save(self, path: str | Path) -> Path:
        """Writes `to_xarray()` to a netCDF file, making its folder; returns the path.

        The file is put in place whole: a `save` that fails leaves the old one as it was.

        **Raises:** `OSError`, which names the path and the reason, e.g. a full disk.
        """
        return write_netcdf(Path(path), self.to_xarray())

    def _dataset(self, variables, coordinates, **run) -> "xarray.Dataset":
        """Variables over time, with what was run; `run` is more of that, or None."""
        run = {"dt0": self.dt0, "width": self.width, **run}
        attributes = {
            "limit": eqx.tree_pformat(self.limit, width=10_000, short_arrays=False),
            "time_unit": "depth/width",
            "key": np.asarray(jax.random.key_data(self.key)).astype(np.int64),
            **{name: value for name, value in run.items() if value is not None},
        }
        times = {"time": np.asarray(self.ts)}
        return load_xarray().Dataset(variables, times | coordinates, attributes)
