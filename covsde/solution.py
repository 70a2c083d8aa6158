"""What a simulation returns: covariances over time, and what was run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .limits import AbstractLimit

if TYPE_CHECKING:
    import xarray


def load_xarray():
    """The module xarray, or the way to get it."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            "`to_xarray` needs xarray. Install it with `pip install 'covsde[io]'`."
        ) from error
    return xarray


class Solution(eqx.Module):
    """Covariance paths of a limit, or of its finite networks.

    - `ts`: saved times (depth/width), shape `(k,)`.
    - `vs`: covariances, shape `(num_paths, k, m, m)`.
    - `stopped_at`: time at which each path was stopped, inf where it never was.
    - `limit`, `key`: what was simulated, and from which randomness.
    - `solver`, `dt0`: of a solved limit (None for networks).
    - `width`, `method`: of finite networks (None for a limit).
    - `projections`: per path, how often a projecting solver left the cone (else None).
    """

    ts: Float[Array, " k"]
    vs: Float[Array, "num_paths k m m"]
    stopped_at: Float[Array, " num_paths"]
    limit: AbstractLimit
    key: PRNGKeyArray
    solver: diffrax.AbstractSolver | None = None
    dt0: float | None = None
    projections: Int[Array, " num_paths"] | None = None
    width: int | None = eqx.field(static=True, default=None)
    method: str | None = eqx.field(static=True, default=None)

    @property
    def num_paths(self) -> int:
        """Number of paths (or networks)."""
        return self.vs.shape[0]

    @property
    def m(self) -> int:
        """Number of inputs."""
        return self.vs.shape[-1]

    def to_xarray(self) -> xarray.Dataset:
        """The paths as a labelled dataset, with what was run as attributes.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """
        xarray = load_xarray()
        inputs = np.arange(self.m)
        attributes = {
            "limit": eqx.tree_pformat(self.limit, width=10_000, short_arrays=False),
            "time_unit": "depth/width",
            "key": np.asarray(jax.random.key_data(self.key)).astype(np.int64),
        }
        if self.solver is not None:
            attributes["solver"] = type(self.solver).__name__
        for name in ("dt0", "width", "method"):
            if getattr(self, name) is not None:
                attributes[name] = getattr(self, name)
        variables = {
            "v": (("path", "time", "a", "b"), np.asarray(self.vs)),
            "stopped_at": (("path",), np.asarray(self.stopped_at)),
        }
        if self.projections is not None:
            variables["projections"] = (("path",), np.asarray(self.projections))
        return xarray.Dataset(
            variables,
            coords={"time": np.asarray(self.ts), "a": inputs, "b": inputs},
            attrs=attributes,
        )

    def save(self, path: str | Path) -> Path:
        """Writes `to_xarray()` to a netCDF file, making its folder; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.to_xarray().to_netcdf(path, engine="h5netcdf")
        return path
