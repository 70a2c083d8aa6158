"""How a limit is solved: the solver, its step, and the level at which paths stop."""

import os
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array

from .. import solvers
from .._names import full_name
from ..drifts import ActivationDrift
from ..limits import (
    AbstractLimit,
    BranchCovariance,
    LeakyReLU,
    ShapedAttention,
    ShapedFeedForward,
    ShapedTransformer,
)
from ..solve import check_kind, default_solver, default_step
from ._catalogue import SOLVERS
from ._cores import use_cores
from ._errors import at_least, number, refuse
from ._groups import PANEL_HOW, Group
from ._read import one_of, real, whole

_MOST_STEPS, _MOST_TIMES = 100_000, 10_000


class Chosen(NamedTuple):
    """How a limit is solved; None where there is nothing to choose."""

    solver: diffrax.AbstractSolver | None = None
    stop_above: float | None = None


@dataclass(frozen=True)
class How(Group):
    """The options that say how a limit is solved."""

    solver: Annotated[
        str | None,
        typer.Option(
            "--solver",
            parser=one_of(SOLVERS),
            metavar="NAME",
            help=f"Scheme for the limit: {', '.join(SOLVERS)}. (default: geodesic, or "
            "ninomiya with attention)",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None
    dt0: Annotated[
        float | None,
        typer.Option(
            "--dt0",
            parser=real,
            metavar="X",
            help="Longest step of the solver, in depth/width. (default: from the solver)",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None
    stop_above: Annotated[
        float | None,
        typer.Option(
            "--stop-above",
            parser=real,
            metavar="X",
            help="Stop a path once tr V/m exceeds this level. (default: never, or "
            "8 × max(1, tr V₀/m) where the limit may explode)",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            parser=whole,
            metavar="N",
            help="Seed of all random numbers.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = 0
    float32: Annotated[
        bool,
        typer.Option(
            "--float32",
            help="Compute in float32, not float64.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = False

    cores: Annotated[
        int | None,
        typer.Option(
            "--cores",
            parser=whole,
            metavar="N",
            help="Cores of the CPU to use; numbers do not depend on it. (default: all)",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None

    @property
    def dtype(self):
        """That of all numbers."""
        return np.float32 if self.float32 else np.float64

    def check(self, t1: float, paths: int) -> None:
        """Refuses the numbers of a simulation that mean nothing."""
        number("--t1", t1, "It is depth/width: 0.5 for a network half as deep as wide.")
        number("--dt0", self.dt0, "Leave it out to have a step chosen.")
        number("--stop-above", self.stop_above, "It stops a path once tr V/m exceeds it.")
        at_least("--paths", paths, 2, "It is how many paths of the limit to simulate.")
        if not 0 <= self.seed < 2**63:
            raise refuse(
                "--seed", f"must be an integer from 0 to 2^63 − 1; got {self.seed}. Try 0."
            )

    def start(self) -> None:
        """Has JAX start as it is to compute."""
        use_cores(self.cores)
        jax.config.update("jax_enable_x64", True)

    def scheme(self, limit: AbstractLimit, v0: Array, t1: float) -> Chosen:
        """The scheme for a limit; refuses one that cannot solve it, or would never end."""
        m = len(v0)
        solver = self._solver(limit, m)
        step = default_step(solver, limit, m, v0, t1) if self.dt0 is None else self.dt0
        check_steps(step, t1, self.dt0)
        check_strength(step, t1, limit, m)
        chosen = None if self.solver is None else solver
        return Chosen(chosen, stop_level(limit, v0, self.stop_above))

    def _solver(self, limit: AbstractLimit, m: int):
        """That of the name, or of the limit; refuses one that cannot solve it."""
        if self.solver is None:
            return default_solver(limit)
        solver = SOLVERS[self.solver]()
        check_kind(limit, solver)
        try:
            solver.max_step(limit, m)
        except TypeError as error:
            raise refuse(
                "--solver",
                f"must be ninomiya or projected for the noise of attention; got "
                f"{self.solver}. Leave it out to have one chosen.",
            ) from error
        return solver

    def tell_level(self, label: str, scheme: Chosen) -> None:
        """Says at which level paths stop, if it was chosen for them."""
        if scheme.stop_above is not None and self.stop_above is None:
            typer.echo(
                f"Note: {label} may explode; paths stop at tr V/m > {scheme.stop_above:g}."
            )


def check_save_times(save_times: int) -> None:
    """Refuses to save no time, or more than anyone looks at, each a step or more."""
    if not 1 <= save_times <= _MOST_TIMES:
        raise refuse(
            "--save-times",
            f"must be an integer of at least 1 and at most {_MOST_TIMES}; got "
            f"{save_times}. It is how many times to save; 1 saves t1 only.",
        )


def check_steps(step: float, t1: float, dt0: float | None) -> None:
    """Refuses a simulation of so many steps that it would never end."""
    if t1 <= step * _MOST_STEPS:
        return
    if dt0 is not None:
        raise refuse(
            "--dt0",
            f"must make at most {_MOST_STEPS} steps up to --t1 {t1:g}; got {dt0:g}. Leave "
            "it out to have a step chosen.",
        )
    if step > 1e-3:
        raise refuse(
            "--t1",
            f"must take at most {_MOST_STEPS} steps; got {t1:g}, with steps of {step:.2g}. "
            "Give a shorter time, or set --dt0.",
        )


def check_strength(step: float, t1: float, limit: AbstractLimit, m: int) -> None:
    """Refuses a limit of so short steps that a simulation would never end."""
    if t1 <= step * _MOST_STEPS:
        return
    steps = t1 / step if step > 0 else np.inf
    takes = f"that --t1 {t1:g} takes {steps:.2g} steps"
    part = _strongest(limit, m)
    if isinstance(part, ShapedAttention):
        raise refuse(
            "--tau0",
            f"makes attention so strong {takes}; got {float(part.tau0):g}. Raise it, lower "
            "--gamma, or set --dt0.",
        )
    if isinstance(part.drift, BranchCovariance):
        option, x = _largest(part.drift)
        raise refuse(
            option, f"makes branches so strong {takes}; got {x:g}. Lower it, or set --dt0."
        )
    bounds = part.bounds(m)
    noisy = bounds.noise_rate > (bounds.drift_rate or 0)
    if isinstance(part, ShapedFeedForward) and noisy:
        raise refuse(
            "--hidden-ratio",
            f"makes noise so strong {takes}; got {float(part.hidden_ratio):g}. Raise it, "
            "or set --dt0.",
        )
    if isinstance(part.drift, ActivationDrift):
        raise refuse(
            "--activation",
            f"{full_name(part.drift.activation)} has so strong a drift {takes}. Weaken its "
            "shaping (a larger --a, another --center, --c-plus nearer to --c-minus), or "
            "set --dt0.",
        )
    raise refuse(
        "--t1",
        f"must be shorter for {full_name(part)}, which is so strong {takes}. Give a "
        "shorter time, or set --dt0.",
    )


def _largest(branches: BranchCovariance) -> tuple[str, float]:
    """The option that makes branches strong, and its value; they grow as `c s²`."""
    values = {"--branch-variance": float(branches.c)}
    if isinstance(branches.fn, LeakyReLU):
        values["--slope-plus"] = float(branches.fn.slope_plus)
        values["--slope-minus"] = float(branches.fn.slope_minus)
    return max(values.items(), key=lambda item: abs(item[1]))


def _strongest(limit: AbstractLimit, m: int) -> AbstractLimit:
    """The sub-layer that asks for the shortest steps."""
    if not isinstance(limit, ShapedTransformer):
        return limit
    parts = (limit.attention, limit.feed_forward)
    return min(parts, key=lambda part: default_step(solvers.NinomiyaNinomiya(), part, m))


def check_memory(option: str, count: int, times: int, v0: Array) -> None:
    """Refuses so many covariances that this machine cannot hold them."""
    needed = count * times * v0.size * v0.dtype.itemsize
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return
    if needed > memory / 4:
        raise refuse(
            option,
            f"must fit in memory: {count} × {times} covariances of {len(v0)} inputs take "
            f"{needed / 1e9:.3g} GB, of {memory / 1e9:.3g}. Lower it, or save fewer times.",
        )


def stop_level(limit: AbstractLimit, v0, stop_above: float | None) -> float | None:
    """The level at which to stop: one is chosen where the limit may explode."""
    # a branch of an activation of ours, which grows at most linearly, never does
    m = len(v0)
    tame = isinstance(limit.drift, BranchCovariance) or not limit.bounds(m).can_explode
    if stop_above is not None or tame:
        return stop_above
    return 8.0 * max(1.0, float(jnp.trace(v0)) / m)
