"""A file of the observables of every path, written chunk by chunk."""

import abc
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._files import naming, replacing, replacing_folder, sync, sync_folder
from ._chunks import Range
from ._fingerprint import Recipe, differences

ENDINGS = (".nc", ".zarr")
_VALUES, _STOPPED = "values", "stopped_at"


class _Array(NamedTuple):
    """An array of a file; its values, or None where they are written later."""

    axes: tuple[str, ...]
    dtype: np.dtype
    shape: tuple[int, ...]
    values: np.ndarray | None = None


class AbstractWriter(abc.ABC):
    """`values` (path, time, observable) and `stopped_at` (path), of a range of paths.

    The file opens with xarray, whenever it is interrupted: `stopped_at` is NaN of a path
    that is not written yet. `paths` are global indices; what is written twice, after an
    interruption, is the same.
    """

    def __init__(self, path: Path, paths: Range):
        self.path, self.paths = path, paths

    @abc.abstractmethod
    def create(self, arrays: dict[str, _Array], attributes: dict) -> None:
        """A new file, in place of one that there is."""

    @abc.abstractmethod
    def open(self) -> tuple[Recipe, Range]:
        """Opens the file to write to, and says of which run it is and of which paths."""

    @abc.abstractmethod
    def put(self, name: str, rows: slice, values: np.ndarray) -> None:
        """Writes rows of an array."""

    @abc.abstractmethod
    def flush(self) -> None:
        """What was written is on the disk."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends it."""

    def begin(self, recipe: Recipe, names, ts: np.ndarray, dtype, resumed: bool) -> None:
        """Makes the file; or opens it, where a checkpoint says that a part is done."""
        if resumed:
            self._resume(recipe)
            return
        n, k, p = self.paths.size, len(ts), len(names)
        index, dtype = np.arange(*self.paths), np.dtype(dtype)
        arrays = {
            _VALUES: _Array(("path", "time", "observable"), dtype, (n, k, p)),
            _STOPPED: _Array(("path",), dtype, (n,)),
            "time": _Array(("time",), ts.dtype, ts.shape, ts),
            "path": _Array(("path",), index.dtype, index.shape, index),
        }
        attributes = {
            "time_unit": "depth/width",
            "observables": json.dumps(list(names)),
            "recipe": json.dumps(recipe),
            "comment": f"{_STOPPED} is NaN of paths that are not written yet",
        }
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.create(arrays, attributes)
            self.open()

    def _resume(self, recipe: Recipe) -> None:
        accepted = "the file that the run of `checkpoint` was writing"
        message = (
            f"`save` must be {accepted}; got {str(self.path)!r}{{}}. Give back that file, "
            "or remove the checkpoint to begin anew."
        )
        if not self.path.exists():
            raise ValueError(message.format(", which does not exist"))
        try:
            other, paths = self.open()
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(message.format(", which cannot be read")) from error
        if (other, paths) != (recipe, self.paths):
            self.close()
            here, there = (
                told | {"paths": f"{some.first} to {some.last - 1}"}
                for told, some in ((recipe, self.paths), (other, paths))
            )
            raise ValueError(message.format(f" of another run: {differences(here, there)}"))

    def write(
        self, chunk: Range, values: Float[np.ndarray, "p k n"], stopped_at: np.ndarray
    ) -> None:
        """The observables of a chunk of paths, and last what says that they are there."""
        rows = slice(chunk.first - self.paths.first, chunk.last - self.paths.first)
        with naming(self.path):
            self.put(_VALUES, rows, np.moveaxis(values, -1, 0).swapaxes(1, 2))
            self.put(_STOPPED, rows, stopped_at)


class NetCDF(AbstractWriter):
    """netCDF-4: put in place whole, with room for all rows; then numbers alone are written.

    HDF5 makes the file and is not asked again, so that at no moment, of a kill or of a full
    disk, it is a file that cannot be read.
    """

    def create(self, arrays, attributes):
        import h5netcdf
        import h5py

        with replacing(self.path) as file, h5netcdf.File(file, "w") as made:
            for name, (axes, dtype, shape, values) in arrays.items():
                for axis, size in zip(axes, shape, strict=True):
                    if axis not in made.dimensions:
                        made.dimensions[axis] = size
                at_once = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                at_once.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                unwritten = np.nan if values is None else None
                variable = made.create_variable(
                    name, axes, dtype, fillvalue=unwritten, dcpl=at_once
                )
                if values is not None:
                    variable[...] = values
            made.attrs.update(attributes)

    def open(self):
        import h5netcdf
        import h5py

        with h5py.File(self.path) as file:
            self._room = {}
            for name in (_VALUES, _STOPPED):
                dataset = file[name]
                begin = dataset.id.get_offset()
                if begin is None:
                    raise ValueError(f"the rows of {name} are not one after another")
                self._room[name] = begin, dataset.dtype  # pyright: ignore[reportAttributeAccessIssue]
            paths = _range(file["path"])
        with h5netcdf.File(self.path) as file:
            recipe = json.loads(str(file.attrs["recipe"]))
        self._file = self.path.open("rb+", buffering=0)
        return recipe, paths

    def put(self, name, rows, values):
        begin, dtype = self._room[name]
        rest = memoryview(np.ascontiguousarray(values, dtype).tobytes())
        self._file.seek(begin + rows.start * (rest.nbytes // len(values)))
        while rest.nbytes:
            rest = rest[self._file.write(rest) :]

    def flush(self):
        with naming(self.path):
            os.fsync(self._file.fileno())

    def close(self):
        self._file.close()


class Zarr(AbstractWriter):
    """Zarr: put in place whole; then pieces of a chunk of paths, each a file, are, too."""

    def __init__(self, path: Path, paths: Range, chunk_size: int):
        super().__init__(path, paths)
        self._rows = min(chunk_size, paths.size)
        self._written: list[Path] = []  # and not known to be on the disk

    def create(self, arrays, attributes):
        with replacing_folder(self.path) as fresh:
            self._fill(fresh, arrays, attributes)
        self._written = [file for file in self.path.rglob("*") if file.is_file()]

    def _fill(self, folder: Path, arrays: dict[str, _Array], attributes: dict) -> None:
        import zarr

        group = zarr.open_group(folder, mode="w", attributes=attributes)
        for name, (axes, dtype, shape, values) in arrays.items():
            first = min(self._rows, shape[0]) if axes[0] == "path" else shape[0]
            array = group.create_array(
                name,
                shape=shape,
                dtype=dtype,
                chunks=(first, *shape[1:]),
                dimension_names=axes,
                fill_value=np.nan if values is None else 0,
            )
            if values is not None:
                array[...] = values

    def open(self):
        import zarr

        for torn in self.path.rglob("*.partial"):  # of a process that was killed
            torn.unlink()
        self._group = zarr.open_group(self.path, mode="r+")
        recipe = json.loads(str(self._group.attrs["recipe"]))
        return recipe, _range(self._array("path"))

    def _array(self, name):
        import zarr

        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array

    def put(self, name, rows, values):
        array = self._array(name)
        array[rows] = values
        piece = rows.start // self._rows, *(0 for _ in values.shape[1:])
        self._written.append(self.path / name / array.metadata.encode_chunk_key(piece))

    def flush(self):
        with naming(self.path):
            for file in self._written:
                if file.exists():  # a piece is not there if it is all NaN
                    sync(file)
        for folder in {folder for file in self._written for folder in self._within(file)}:
            sync_folder(folder)
        self._written = []

    def _within(self, file: Path) -> list[Path]:
        """The folders of a file up to this one."""
        return [self.path / folder for folder in file.relative_to(self.path).parents]

    def close(self):
        pass


def _range(path) -> Range:
    """The range of which `path`, an array of a file, has the indices."""
    first, last = np.asarray(path[0]), np.asarray(path[-1])
    return Range(int(first), int(last) + 1)


def writer(path: Path, paths: Range, chunk_size: int) -> AbstractWriter:
    """The writer of a file's ending."""
    return Zarr(path, paths, chunk_size) if path.suffix == ".zarr" else NetCDF(path, paths)
