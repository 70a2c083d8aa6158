"""Both sides of a comparison: how a limit is solved, and how its networks are sampled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._results import AbstractSolution
from ..ensemble._checks import Observables

Progress = Callable[[int, int], None]


class Asked(NamedTuple):
    """What `validate` was asked for; each kind of limit checks what it needs of it."""

    limit: Any  # an `AbstractLimit` or an `UnshapedMLP`
    v0: Float[Array, "m m"]
    t1: float
    widths: tuple[int, ...]
    key: PRNGKeyArray
    num_paths: int
    num_networks: int
    method: str
    dt0: float | None
    solver: diffrax.AbstractSolver | None
    saveat: Float[Array, " k"] | None
    stop_above: float | None
    observables: Observables | None


class Sides(NamedTuple):
    """What was asked for, checked and ready to run.

    - `v0`: the covariance of the inputs. `start`: the state at time 0.
    - `observables`: what is read off states, by name.
    - `solve(key)`: the limit. `sample(width, key, progress)`: networks of one width.
    - `notes(limit, networks)`: what their reader should know.
    """

    v0: np.ndarray
    t1: float
    key: PRNGKeyArray
    start: np.ndarray
    observables: dict[str, Callable]
    solve: Callable[[PRNGKeyArray], AbstractSolution]
    sample: Callable[[int, PRNGKeyArray, Progress], AbstractSolution]
    notes: Callable[[AbstractSolution, tuple[AbstractSolution, ...]], list[str]]


def note_rounding(t1: float, network: AbstractSolution, layers_per_time: int) -> list[str]:
    """That the last layer is not at `t1`, where it is not."""
    end = float(network.ts[-1])
    if abs(end - t1) <= 1e-6 * t1:
        return []
    layers = round(end * layers_per_time)
    return [f"n = {network.width}: {layers} layers end at t = {end:.4g}."]
