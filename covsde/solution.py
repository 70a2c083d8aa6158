"""What a simulation of covariances returns: them over time, and what was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ._results import AbstractSolution
from .limits import AbstractLimit, Registry, UnshapedMLP, UnshapedSolution

if TYPE_CHECKING:
    import xarray


class Solution(AbstractSolution):
    """Covariance paths of a limit, or of its finite networks.

    - `ts`: saved times (depth/width), shape `(k,)`.
    - `vs`: covariances, shape `(num_paths, k, m, m)`.
    - `stopped_at`: time at which each path was stopped, inf where it never was.

      From then on a path stands at its level, `tr V/m = stop_above`; one that exploded has
      variances inf and covariances NaN, and one that left the covariances is NaN.
    - `limit`, `key`: what was simulated, and from which randomness.
    - `solver`, `dt0`: of a solved limit (None for networks); `dt0` is None, too, of one
      without noise that was solved to a tolerance.
    - `width`, `method`: of finite networks (None for a limit).
    - `functionals`: what `solve` was asked to keep along the paths, each `(num_paths, k)`.
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
    functionals: dict[str, Float[Array, "num_paths k"]] = eqx.field(default_factory=dict)

    @property
    def num_paths(self) -> int:
        """Number of paths (or networks)."""
        return self.vs.shape[0]

    @property
    def m(self) -> int:
        """Number of inputs."""
        return self.vs.shape[-1]

    @property
    def readings(self):
        """`vs`."""
        return self.vs

    @property
    def running(self):
        """Which paths were never stopped."""
        return ~np.isfinite(np.asarray(self.stopped_at))

    @property
    def how(self) -> str:
        """The solver and its step, or how networks were sampled, in words."""
        if self.solver is None:
            return f'method "{self.method}"'
        steps = "to a tolerance"
        if self.dt0 is not None:
            steps = f"steps of at most {self.dt0:.4g}"
        return f"{type(self.solver).__name__}, {steps}"

    def to_xarray(self) -> xarray.Dataset:
        """The paths as a labelled dataset, with what was run as attributes.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """
        inputs = np.arange(self.m)
        variables = {
            "v": (("path", "time", "a", "b"), np.asarray(self.vs)),
            "stopped_at": (("path",), np.asarray(self.stopped_at)),
        }
        if self.projections is not None:
            variables["projections"] = (("path",), np.asarray(self.projections))
        for name, values in self.functionals.items():
            variables[name] = (("path", "time"), np.asarray(values))
        solver = None if self.solver is None else type(self.solver).__name__
        return self._dataset(
            variables, {"a": inputs, "b": inputs}, solver=solver, method=self.method
        )


@Registry
def solution_of(limit: AbstractLimit, **simulated) -> Any:
    """What was simulated of a limit, or of its networks: a `Solution` of these fields.

    A limit whose state is no covariance registers another `AbstractSolution`.
    """
    make, *_ = solution_of.known_of(limit)
    return make(limit, **simulated)


@solution_of.register(AbstractLimit)
def _(limit: AbstractLimit, **simulated) -> Solution:
    return Solution(limit=limit, **simulated)


@solution_of.register(UnshapedMLP)
def _(limit: UnshapedMLP, vs: Array, **simulated) -> UnshapedSolution:
    kept = ("ts", "key", "dt0", "width", "method", "functionals")
    told = {name: simulated[name] for name in kept if name in simulated}
    return UnshapedSolution(us=vs, limit=limit, **told)
