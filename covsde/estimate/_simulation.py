"""The terms of one problem, simulated a chunk of paths at a time."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._jit import jit
from .._problem import Problem, in_dtype
from ..brownian import BrownianGrid
from ..limits import AbstractLimit
from ..solve import brownian, cells_per_step, default_step, integrate, max_step
from ._controls import controls_of

# Paths that are simulated together.
CHUNK = 2**10
# How many default steps the first level takes at once.
_LONGEST = 8


@dataclass(frozen=True)
class Simulation:
    """Levels of one problem, each of twice as many steps as the one before."""

    limit: AbstractLimit
    solver: diffrax.AbstractSolver
    observable: Callable
    problem: Problem
    regular: bool

    @functools.cached_property
    def fewest(self) -> int:
        """Steps of level 0."""
        v0, t1 = self.problem.v0, self.problem.t1
        of = self.solver, self.limit, v0.shape[-1]
        step = default_step(*of, v0, t1)
        longest = min(_LONGEST * step, 0.5 * max_step(*of, t1))
        return max(1, math.ceil(self.problem.t1 / longest - 1e-9))

    @property
    def order(self) -> float:
        """The power of the step that the corrections shrink by."""
        # stopping is looked at after each step, which is of order one half
        stopped = self.problem.stop_level is not None
        return 0.5 if stopped else float(getattr(self.solver, "weak_order", 1))

    def steps(self, level: int) -> int:
        """Steps of a level's grid."""
        return self.fewest * 2**level

    def work(self, level: int, alone: bool) -> int:
        """Steps that a chunk takes: of each path, its antithetic and its coarser one."""
        fine = self.steps(level)
        return CHUNK * (fine if alone else 2 * fine + fine // 2)

    def chunk(self, level: int, alone: bool, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A term for the paths of a chunk, and their controls where it stands alone.

        `f` on the level's grid, or its mean over a path and its antithetic, less `f` on the
        grid below. Each term has its own paths.
        """
        y, controls = _terms(
            self.limit,
            self.solver,
            self.observable,
            self.problem.v0,
            jnp.asarray(self.problem.t1, self.problem.v0.dtype),
            self.problem.stop_level,
            jax.random.fold_in(self.problem.key, 2 * level + alone),
            jnp.asarray(CHUNK * index, jnp.uint32),
            self.steps(level),
            alone,
            self.regular,
        )
        y = np.asarray(y, np.float64)
        if not np.all(np.isfinite(y)):
            raise ValueError(
                f"`observable` must be finite; it is not on {np.mean(~np.isfinite(y)):.2%} "
                f"of {CHUNK} paths. Choose one that is, such as a correlation."
            )
        return y, np.asarray(controls, np.float64)


@jit
def _terms(
    limit, solver, observable, v0, t1, level, key, first_path, steps, alone, regular
) -> tuple[Array, Array]:
    dtype = v0.dtype
    limit = in_dtype(limit, dtype)
    grid = jnp.linspace(0.0, t1, steps + 1, dtype=dtype)

    def paths(exchanged: bool) -> BrownianGrid:
        return brownian(
            limit,
            v0,
            grid,
            cells_per_step(solver),
            key=key,
            num_paths=CHUNK,
            first_path=first_path,
            exchanged=exchanged,
        )

    path = paths(False)

    def value(path: BrownianGrid, grid: Array) -> Array:
        vs, _, _ = integrate(limit, solver, v0, path, grid, grid[-1:], level, regular)
        return observable(vs[:, 0]).astype(dtype)  # of a truth value, a number

    fine = value(path, grid)
    if alone:
        return fine, controls_of(path)
    antithetic = value(paths(True), grid)
    return (fine + antithetic) / 2 - value(path, grid[::2]), jnp.zeros((CHUNK, 0), dtype)
