"""A run: a problem whose solver and steps are decided, as it enters a program."""

import dataclasses
from dataclasses import field

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar, UInt32

from .._normals import Normals
from ..brownian import BrownianGrid, Motion
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit

_STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Run:
    """All that a simulation depends on, but for which paths of it are wanted.

    A tree and no module, which takes longer to make. Of what is known the arrays are
    NumPy's: they enter a program with the call.

    - `steps`: the ends of the steps. `save_times`: those to save; the last is the end,
      and the first `num_saved` were asked for.
    - `level`: at which paths stop, or None; `between`: also between the ends of steps.
    - `clocked`: whether each path has a clock, whose steps are at most `dt0`.
    - `by_tolerance`: whether it is an ordinary equation, whose steps a tolerance chooses.
    - `regular`: whether `v0` is known to be.
    - `num_steps`: how many of `steps` are taken, all if None. Where only some are, times to
      save that are before 0 are none.
    """

    limit: AbstractLimit
    solver: diffrax.AbstractSolver
    v0: Float[Array, "m m"] | Float[Array, "num_paths m m"]
    steps: Float[Array, " steps+1"]
    save_times: Float[Array, " k"]
    dt0: Scalar
    level: Scalar | None
    key: PRNGKeyArray
    functionals: dict[str, AbstractFunctional]
    num_saved: int = field(metadata=_STATIC)
    regular: bool = field(metadata=_STATIC)
    normals: Normals = field(metadata=_STATIC)
    between: bool = field(metadata=_STATIC)
    clocked: bool = field(metadata=_STATIC)
    by_tolerance: bool = field(metadata=_STATIC, default=False)
    num_steps: Int[Array, ""] | None = None

    @property
    def m(self) -> int:
        """The number of inputs."""
        return self.v0.shape[-1]

    @property
    def ts(self) -> Float[Array, " num_saved"]:
        """The times that were asked for."""
        return self.save_times[: self.num_saved]

    @property
    def one_path(self) -> bool:
        """Whether all paths are one, for want of noise and of different starts."""
        return self.limit.diffusion.vanishes and self.v0.ndim == 2

    def in_steps(self, number: int, t1: float) -> "Run":
        """The same by equal steps to `t1`, for coarse and fine ones of one Brownian path.

        No path has a clock, and levels are looked at at the ends of steps alone.
        """
        dtype = self.v0.dtype
        # rounded as `jnp.linspace` is in a program, without one more to compile
        steps = np.arange(number + 1, dtype=dtype)
        steps *= dtype.type(t1) * np.reciprocal(dtype.type(number))
        steps[-1] = t1
        return dataclasses.replace(self, steps=steps, between=False, clocked=False)

    def on(self, steps: Array, save_times: Array) -> "Run":
        """The same by other steps; the last time to save is their end."""
        return dataclasses.replace(self, steps=steps, save_times=save_times)

    def motion(self, paths: UInt32[Array, " num_paths"]) -> Motion:
        """The Brownian motion of some paths, by the numbers of their steps."""
        return Motion(
            self.key,
            paths,
            self.m,
            cells_per_step(self.solver),
            self.v0.dtype,
            self.limit.diffusion.noise_shape,
            self.normals,
        )

    def brownian(self, cells: int, **which) -> BrownianGrid:
        """The Brownian motion on the grid of its steps, each of so many cells.

        `which` are the paths of it, as `BrownianGrid` takes them.
        """
        return BrownianGrid(
            _refine(self.steps, cells),
            self.m,
            key=self.key,
            dtype=self.v0.dtype,
            noise_shape=self.limit.diffusion.noise_shape,
            normals=self.normals,
            **which,
        )


def cells_per_step(solver: diffrax.AbstractSolver) -> int:
    """Brownian increments that a solver asks for in one step."""
    return getattr(solver, "cells_per_step", 1)


def _refine(steps: Array, cells: int) -> Array:
    """The Brownian grid of a solver that asks for several increments a step."""
    if cells == 1:
        return steps
    fractions = jnp.arange(cells, dtype=steps.dtype) / cells
    inner = steps[:-1, None] + (steps[1:] - steps[:-1])[:, None] * fractions[None]
    return jnp.append(inner.ravel(), steps[-1])
