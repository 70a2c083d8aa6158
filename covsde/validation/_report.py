"""What a validation returns: table, data and figures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._files import replacing
from .._names import full_name
from .._results import AbstractSolution, load_xarray, write_netcdf
from ._rows import Row
from ._statistics import decay_exponent
from ._table import expected_bias, render

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Report:
    """A limit against its finite networks.

    - `v0`: the covariance that both started from, `(m, m)`.
    - `t1`: the time of the comparison (depth/width).
    - `limit`: the solved limit. `networks`: the networks, one solution for each width,
      in increasing order of width.
    - `rows`: the comparison, one [`covsde.validation.Row`][] for each observable and
      width.
    - `notes`: what was left out of it, and why.
    """

    v0: np.ndarray
    t1: float
    limit: AbstractSolution
    networks: tuple[AbstractSolution, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def table(self, full: bool = False) -> str:
        """The comparison as plain text.

        **Arguments:**

        - `full`: show every observable, not just a few and the median and the largest.
        """
        return render(self, full)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        widths = [network.width for network in self.networks]
        return f"Report({full_name(self.limit.limit)}, t1={self.t1:g}, widths={widths})"

    def to_xarray(self) -> xarray.Dataset:
        """The whole table as a labelled dataset over `observable` and `width`.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """
        xarray = load_xarray()
        labels = list(dict.fromkeys(row.observable for row in self.rows))
        widths = np.array([network.width for network in self.networks])
        shape = (len(labels), len(widths))
        grid = np.array(self.rows, dtype=object).reshape(shape)
        data = {}
        for field in fields(Row):
            if field.name in ("observable", "kind", "a", "b", "width"):
                continue
            values = [[getattr(row, field.name) for row in line] for line in grid]
            data[field.name] = (("observable", "width"), np.array(values))
        for name in ("initial", "limit_mean", "limit_se", "num_paths"):
            data[name] = (("observable",), data[name][1][:, 0])
        exponents = [decay_exponent(widths, row) for row in data["ks"][1]]
        data["ks_exponent"] = (("observable",), np.array(exponents))
        first = [line[0] for line in grid]
        coordinates = {
            "observable": np.array(labels),
            "width": widths,
            "kind": ("observable", np.array([row.kind for row in first])),
            "a": (
                "observable",
                np.array([-1 if row.a is None else row.a for row in first]),
            ),
            "b": (
                "observable",
                np.array([-1 if row.b is None else row.b for row in first]),
            ),
        }
        attributes = {
            "limit": full_name(self.limit.limit),
            "t1": self.t1,
            "time_unit": "depth/width",
            "ks_bias": expected_bias(self.limit.limit),
            "notes": " ".join(self.notes),
            "v0": self.v0.ravel(),
        }
        return xarray.Dataset(data, coords=coordinates, attrs=attributes)

    def save(self, folder: str | Path) -> list[Path]:
        """Writes the table and all solutions into a folder, which is made.

        Each file is put in place whole.

        **Returns:** the files: `report.nc` and `table.txt` (the whole table), `limit.nc`,
        and `networks-64.nc` for each width. Needs `pip install 'covsde[io]'`.

        **Raises:** `OSError`, which names the file and the reason, e.g. a full disk.
        """
        folder = Path(folder)
        table = folder / "table.txt"
        paths = [write_netcdf(folder / "report.nc", self.to_xarray()), table]
        with replacing(table) as file:
            file.write(f"{self.table(full=True)}\n".encode())
        paths.append(self.limit.save(folder / "limit.nc"))
        for network in self.networks:
            paths.append(network.save(folder / f"networks-{network.width}.nc"))
        return paths

    def figures(self, folder: str | Path) -> list[Path]:
        """Draws the comparison into a folder, which is made.

        **Returns:** the files: `densities.png`; `fan.png` if several times were saved; and
        `correlations.png`, of covariances. One input has no correlations, so no figure.
        Needs matplotlib: `pip install 'covsde[plot]'`.
        """
        from .. import plotting

        drawn = plotting.figures(self.limit, self.networks, v0=self.v0)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, figure in drawn.items():
            paths.append(folder / f"{name}.png")
            with replacing(paths[-1]) as file:
                figure.savefig(file, format="png", dpi=200)
        return paths
