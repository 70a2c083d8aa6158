"""A file of the observables of every path, written chunk by chunk."""

import abc
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ._chunks import Range
from ._fingerprint import Recipe, differences

ENDINGS = (".nc", ".zarr")
_VALUES, _STOPPED = "values", "stopped_at"


class AbstractWriter(abc.ABC):
    """`values` (path, time, observable) and `stopped_at` (path), of a range of paths.

    The file opens with xarray. `paths` are global indices; what is written twice, after an
    interruption, is the same.
    """

    def __init__(self, path: Path, paths: Range):
        self.path, self.paths = path, paths

    @abc.abstractmethod
    def create(self, arrays: dict[str, tuple], attributes: dict) -> None:
        """A new file, in place of one that there is: name → (dimensions, dtype, values)."""

    @abc.abstractmethod
    def open(self) -> Recipe:
        """Opens the file of an interrupted run, and says of which."""

    @abc.abstractmethod
    def put(self, name: str, rows: slice, values: np.ndarray) -> None:
        """Writes rows of an array."""

    @abc.abstractmethod
    def flush(self) -> None:
        """What was written survives the process."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends it."""

    def begin(self, recipe: Recipe, names, ts: np.ndarray, dtype, resumed: bool) -> None:
        """Makes the file; or opens it, where a checkpoint says that a part is done."""
        if resumed:
            self._resume(recipe)
            return
        n, k, p = self.paths.size, len(ts), len(names)
        arrays = {
            _VALUES: (("path", "time", "observable"), np.dtype(dtype), (n, k, p)),
            _STOPPED: (("path",), np.dtype(dtype), (n,)),
            "time": (("time",), ts.dtype, ts),
            "path": (("path",), np.dtype(np.int64), np.arange(*self.paths)),
        }
        attributes = {
            "time_unit": "depth/width",
            "observables": json.dumps(list(names)),
            "recipe": json.dumps(recipe),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.create(arrays, attributes)

    def _resume(self, recipe: Recipe) -> None:
        way_out = "Give back that file, or remove the checkpoint to begin anew."
        accepted = "the file that the run of `checkpoint` was writing"
        if not self.path.exists():
            raise ValueError(
                f"`save` must be {accepted}; got {str(self.path)!r}, which does not exist. "
                f"{way_out}"
            )
        other = self.open()
        if other != recipe:
            self.close()
            raise ValueError(
                f"`save` must be {accepted}; got {str(self.path)!r} of another run: "
                f"{differences(recipe, other)}. {way_out}"
            )

    def write(
        self, chunk: Range, values: Float[np.ndarray, "p k n"], stopped_at: np.ndarray
    ) -> None:
        """The observables of a chunk of paths."""
        rows = slice(chunk.first - self.paths.first, chunk.last - self.paths.first)
        self.put(_VALUES, rows, np.moveaxis(values, -1, 0).swapaxes(1, 2))
        self.put(_STOPPED, rows, stopped_at)
        self.flush()


class NetCDF(AbstractWriter):
    """netCDF-4, by h5netcdf; contiguous, so that nothing but numbers is written later."""

    def create(self, arrays, attributes):
        import h5netcdf

        self._file = h5netcdf.File(self.path, "w")
        for name, (axes, dtype, x) in arrays.items():
            shape = x if isinstance(x, tuple) else x.shape
            for axis, size in zip(axes, shape, strict=True):
                if axis not in self._file.dimensions:
                    self._file.dimensions[axis] = size
            variable = self._file.create_variable(name, axes, dtype)
            if not isinstance(x, tuple):
                variable[...] = x
        self._file.attrs.update(attributes)

    def open(self):
        import h5netcdf

        self._file = h5netcdf.File(self.path, "r+")
        return json.loads(str(self._file.attrs["recipe"]))

    def put(self, name, rows, values):
        self._file.variables[name][rows] = values

    def flush(self):
        self._file.flush()

    def close(self):
        self._file.close()


class Zarr(AbstractWriter):
    """Zarr, in pieces of a chunk of paths."""

    def __init__(self, path: Path, paths: Range, chunk_size: int):
        super().__init__(path, paths)
        self._rows = min(chunk_size, paths.size)

    def create(self, arrays, attributes):
        import zarr

        self._group = zarr.open_group(self.path, mode="w", attributes=attributes)
        for name, (axes, dtype, x) in arrays.items():
            shape = x if isinstance(x, tuple) else x.shape
            first = min(self._rows, shape[0]) if axes[0] == "path" else shape[0]
            array = self._group.create_array(
                name,
                shape=shape,
                dtype=dtype,
                chunks=(first, *shape[1:]),
                dimension_names=axes,
            )
            if not isinstance(x, tuple):
                array[...] = x

    def open(self):
        import zarr

        self._group = zarr.open_group(self.path, mode="r+")
        return json.loads(str(self._group.attrs["recipe"]))

    def put(self, name, rows, values):
        import zarr

        array = self._group[name]
        assert isinstance(array, zarr.Array)
        array[rows] = values

    def flush(self):
        pass  # each piece is a file of its own, and written at once

    def close(self):
        pass


def writer(path: Path, paths: Range, chunk_size: int) -> AbstractWriter:
    """The writer of a file's ending."""
    return Zarr(path, paths, chunk_size) if path.suffix == ".zarr" else NetCDF(path, paths)
