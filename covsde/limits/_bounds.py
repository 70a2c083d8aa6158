"""What a limit promises to those who choose a solver, a step, a level or a start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Scalar

from .._checks import in_numpy
from ..diffusions import AbstractDiffusion
from ..drifts import AbstractDrift

_Module = TypeVar("_Module", bound=eqx.Module)


@dataclass(frozen=True)
class Bounds:
    """The bounds of a limit with m inputs: each is what its drift or its diffusion says.

    Each is found when it is asked for: steps and rates need parameters that are known, and
    whether a start is taken needs none. Times are in units of depth/width. A limit that
    knows better returns a subclass from `bounds`.
    """

    drift: AbstractDrift
    diffusion: AbstractDiffusion
    m: int
    t1: float = 1.0  # until when, of what changes with time

    @property
    def max_step(self) -> float:
        """Longest time for which the drift's flow is proven to stay within the cone."""
        return _number(self.drift, lambda drift: drift.max_step)

    @property
    def drift_rate(self) -> float | None:
        """Inverse time scale of the drift (width/depth); None if it is not known."""
        with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
            rate = in_numpy(self.drift).rate
            return None if rate is None else float(rate)

    @property
    def noise_rate(self) -> float:
        """Inverse time scale of the noise (width/depth), until `t1`."""
        if type(self.diffusion).rate is AbstractDiffusion.rate:  # of a number it has kept
            return float(self.diffusion.rate(self.m, self.t1))
        return _number(self.diffusion, lambda diffusion: diffusion.rate(self.m, self.t1))

    @property
    def can_explode(self) -> bool:
        """Whether the norm of `V` may become infinite in finite time."""
        return self.drift.can_explode

    @property
    def accepts_singular(self) -> bool:
        """Whether V0 may be singular: duplicate inputs, or more inputs than features."""
        return self.drift.accepts_singular


def _number(module: _Module, read: Callable[[_Module], float | Scalar]) -> float:
    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        return float(read(in_numpy(module)))
