"""The terms of one problem, simulated a chunk of paths at a time."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._devices import ENOUGH, devices_for, shared
from .._jit import jit
from ..brownian import BrownianGrid
from ..matrices import num_stored
from ..solve import Run, Scheme, cells_per_step, integrate, room_for_more
from ._controls import controls_of

# Paths that are simulated together.
CHUNK = 2**10
# Arrays of steps are for so many at least, so that levels share programs: a step of length
# 0 takes a microsecond.
_STEPS = 16
# How many default steps the first level takes at once.
_LONGEST = 8


@dataclass(frozen=True)
class Simulation:
    """Levels of one problem, each of twice as many steps as the one before."""

    scheme: Scheme
    observable: Callable

    @functools.cached_property
    def coarsest(self) -> Run:
        """The run of level 0."""
        scheme = self.scheme
        # of which any may be infinite
        longest = _LONGEST * scheme.default_step, 0.5 * scheme.max_step, scheme.problem.t1
        run, _ = scheme.run(min(longest))
        return run

    @property
    def order(self) -> float:
        """The power of the step that the corrections shrink by."""
        # stopping is looked at after each step, which is of order one half
        stopped = self.coarsest.level is not None
        return 0.5 if stopped else float(getattr(self.scheme.solver, "weak_order", 1))

    def steps(self, level: int) -> int:
        """Steps of a level's grid."""
        return (self.coarsest.steps.size - 1) * 2**level

    def work(self, level: int, alone: bool) -> int:
        """Steps that a chunk takes: of each path, its antithetic and its coarser one."""
        fine = self.steps(level)
        return CHUNK * (fine if alone else 2 * fine + fine // 2)

    @functools.cached_property
    def devices(self) -> int:
        """How many chunks may be simulated at a time."""
        return devices_for(self.coarsest)

    def chunks(
        self, level: int, alone: bool, first: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """A term for the paths of a chunk, and their controls where it stands alone.

        With several devices the same of chunks that follow, whose use is likely: one for
        each device, or an eighth of those before.

        `f` on the level's grid, or its mean over a path and its antithetic, less `f` on the
        grid below. Each term has its own paths.
        """
        key = jax.random.fold_in(self.coarsest.key, 2 * level + alone)
        number = self.steps(level)
        run = self.coarsest.in_steps(number, self.scheme.problem.t1)
        steps = room_for_more(np.asarray(run.steps), _STEPS)
        run = dataclasses.replace(run, key=key, steps=steps)
        taken: Any = np.int32(number)

        def call(index: int):
            first_path: Any = np.uint32(CHUNK * index)
            return _terms(run, self.observable, first_path, taken, alone)

        enough = self.work(level, alone) * num_stored(run.m) >= ENOUGH
        devices = self.devices if enough else 1
        chunks = 1 if devices == 1 else max(devices, first // 8)
        some = shared(call, range(first, first + chunks), devices)
        return [(np.asarray(y, np.float64), np.asarray(c, np.float64)) for y, c in some]


def check_finite(y: np.ndarray) -> None:
    """Refuses values of an observable that are not finite."""
    if not np.all(np.isfinite(y)):
        raise ValueError(
            f"`observable` must be finite; it is not on {np.mean(~np.isfinite(y)):.2%} "
            f"of {CHUNK} paths. Choose one that is, such as a correlation."
        )


@jit
def _terms(
    run: Run, observable: Callable, first_path: Array, number: Array, alone: bool
) -> tuple[Array, Array]:
    dtype, grid, cells = run.v0.dtype, run.steps, cells_per_step(run.solver)

    def paths(exchanged: bool) -> BrownianGrid:
        return run.brownian(
            cells,
            num_paths=CHUNK,
            first_path=first_path,
            exchanged=exchanged,
        )

    path = paths(False)

    def value(path: BrownianGrid, steps: Array) -> Array:
        vs, _, _ = integrate(run.on(steps, run.save_times), path)
        return observable(vs[:, 0]).astype(dtype)  # of a truth value, a number

    fine = value(path, grid)
    if alone:
        return fine, controls_of(path, number * cells)
    antithetic = value(paths(True), grid)
    return (fine + antithetic) / 2 - value(path, grid[::2]), jnp.zeros((CHUNK, 0), dtype)
