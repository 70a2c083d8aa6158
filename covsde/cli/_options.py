"""The options that the commands share, and what they build."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array

from .. import activations, solvers
from .._names import full_name
from ..activations import AbstractActivation
from ..drifts import ActivationDrift
from ..limits import (
    AbstractLimit,
    BranchCovariance,
    LeakyReLU,
    ShapedAttention,
    ShapedTransformer,
    UnshapedMLP,
)
from ..limits.unshaped import STEP
from ..solve import default_solver, default_step
from ._errors import at_least, number, refuse

_MOST_STEPS = 100_000
_WHAT, _HOW, _WHERE = "Network", "Simulation", "Output"


class Activation(StrEnum):
    """Activations by name."""

    relu = "relu"
    tanh = "tanh"
    silu = "silu"
    gelu = "gelu"
    softplus = "softplus"
    sin = "sin"
    erf = "erf"
    sigmoid = "sigmoid"
    linear = "linear"


class Solver(StrEnum):
    """Solvers by name."""

    geodesic = "geodesic"
    palindromic = "palindromic"
    wishart = "wishart"
    factor = "factor"
    projected = "projected"
    ninomiya = "ninomiya"


class Method(StrEnum):
    """Ways to sample a finite network."""

    gram = "gram"
    weights = "weights"


def gelu(x):
    """`x Φ(x)`, exactly."""
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS = ", ".join(Activation)

FUNCTIONS = {
    Activation.tanh: jnp.tanh,
    Activation.silu: jax.nn.silu,
    Activation.gelu: gelu,
    Activation.softplus: jax.nn.softplus,
    Activation.sin: jnp.sin,
    Activation.erf: jax.scipy.special.erf,
    Activation.sigmoid: jax.nn.sigmoid,
}

_SOLVERS = {
    Solver.geodesic: solvers.GeodesicStrang,
    Solver.palindromic: solvers.PalindromicStrang,
    Solver.wishart: solvers.WishartEuler,
    Solver.factor: solvers.FactorEuler,
    Solver.projected: solvers.ProjectedEuler,
    Solver.ninomiya: solvers.NinomiyaNinomiya,
}


def real(text: str) -> float:
    """A number typed by a person."""
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be a number; got {text!r}.") from error


def whole(text: str) -> int:
    """An integer typed by a person."""
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be an integer; got {text!r}.") from error


InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="Inputs, one a row, in a .npy or .csv file. They are used as they are.",
        rich_help_panel=_WHAT,
    ),
]
DigitsOption = Annotated[
    int | None,
    typer.Option(
        "--digits",
        parser=whole,
        metavar="N",
        help="Handwritten digits 0, 1, …, N−1 as inputs, up to 10. (default: 7, or 2 for "
        "unshaped)",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
ActivationOption = Annotated[
    Activation | None,
    typer.Option(
        "--activation",
        metavar="NAME",
        help=f"{ACTIVATIONS}. (default: relu)",
        rich_help_panel=_WHAT,
    ),
]
CPlusOption = Annotated[
    float | None,
    typer.Option(
        "--c-plus",
        parser=real,
        metavar="X",
        help="relu: its positive slope is 1 + c₊/√n. (default: 0)",
        rich_help_panel=_WHAT,
    ),
]
CMinusOption = Annotated[
    float | None,
    typer.Option(
        "--c-minus",
        parser=real,
        metavar="X",
        help="relu: its negative slope is 1 + c₋/√n. (default: -1)",
        rich_help_panel=_WHAT,
    ),
]
AOption = Annotated[
    float | None,
    typer.Option(
        "--a",
        parser=real,
        metavar="X",
        help="Smooth activations: the shaping a > 0, φ(x/(a√n)); larger is nearer to "
        "linear. (default: 1)",
        rich_help_panel=_WHAT,
    ),
]
CenterOption = Annotated[
    float | None,
    typer.Option(
        "--center",
        parser=real,
        metavar="X",
        help="Smooth activations: the point about which φ is used. (default: 0)",
        rich_help_panel=_WHAT,
    ),
]
POption = Annotated[
    float | None,
    typer.Option(
        "--p",
        parser=real,
        metavar="X",
        help="Exponent of the shaping, n^p for √n. Above 0.5 there is no drift; below, mlp "
        "has a deterministic limit, in the time layers/n^2p. (default: 0.5)",
        rich_help_panel=_WHAT,
    ),
]
T1Option = Annotated[
    float,
    typer.Option(
        "--t1",
        parser=real,
        metavar="X",
        help="Final time: depth/width, or layers/depth of a kernel-resnet.",
        rich_help_panel=_WHAT,
    ),
]
PathsOption = Annotated[
    int,
    typer.Option(
        "--paths",
        parser=whole,
        metavar="N",
        help="Paths of the limit.",
        rich_help_panel=_HOW,
    ),
]
SolverOption = Annotated[
    Solver | None,
    typer.Option(
        "--solver",
        metavar="NAME",
        help=f"Scheme for the limit: {', '.join(Solver)}. (default: geodesic, or ninomiya "
        "with attention)",
        rich_help_panel=_HOW,
    ),
]
Dt0Option = Annotated[
    float | None,
    typer.Option(
        "--dt0",
        parser=real,
        metavar="X",
        help="Longest step of the solver, in depth/width. (default: from the solver)",
        rich_help_panel=_HOW,
    ),
]
StopAboveOption = Annotated[
    float | None,
    typer.Option(
        "--stop-above",
        parser=real,
        metavar="X",
        help="Stop a path once tr V/m exceeds this level. (default: never, or "
        "8 × max(1, tr V₀/m) where the limit may explode)",
        rich_help_panel=_HOW,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        parser=whole,
        metavar="N",
        help="Seed of all random numbers.",
        rich_help_panel=_HOW,
    ),
]
SaveTimesOption = Annotated[
    int,
    typer.Option(
        "--save-times",
        parser=whole,
        metavar="N",
        help="How many times to save, equally spaced from 0 to t1; 1 saves t1 only.",
        rich_help_panel=_WHERE,
    ),
]
Float32Option = Annotated[
    bool,
    typer.Option(
        "--float32", help="Compute in float32, not float64.", rich_help_panel=_HOW
    ),
]
PANEL_WHAT, PANEL_HOW, PANEL_WHERE = _WHAT, _HOW, _WHERE


class Shaping(NamedTuple):
    """The options of activations; None where one was not given."""

    c_plus: float | None
    c_minus: float | None
    a: float | None
    center: float | None
    p: float | None = None

    @property
    def options(self) -> dict[str, float | None]:
        """All of them, by name."""
        return {
            "--c-plus": self.c_plus,
            "--c-minus": self.c_minus,
            "--a": self.a,
            "--center": self.center,
            "--p": self.p,
        }

    def check(self, names: list[Activation]) -> None:
        """Refuses a number that means nothing, or has no activation to act on."""
        relu = {"--c-plus": self.c_plus, "--c-minus": self.c_minus}
        smooth = {"--a": self.a, "--center": self.center}
        shaped = any(name is not Activation.linear for name in names)
        for options, wanted, usable in (
            ({"--p": self.p}, "a shaped activation", shaped),
            (relu, "relu", Activation.relu in names),
            (smooth, "a smooth activation", any(name in FUNCTIONS for name in names)),
        ):
            check_use(options, wanted, usable, names)
        number("--a", self.a, "It is the shaping constant; 1 is usual.")
        number("--p", self.p, "It is the exponent of the shaping; 0.5 is usual.")
        for option in ("--c-plus", "--c-minus", "--center"):
            number(option, self.options[option], "0 is the usual value.", positive=False)

    def activation(self, name: Activation) -> AbstractActivation:
        """The shaped activation of this name."""
        if name is Activation.linear:
            return activations.Identity()
        p = 0.5 if self.p is None else self.p
        if name is Activation.relu:
            c_plus = 0.0 if self.c_plus is None else self.c_plus
            c_minus = -1.0 if self.c_minus is None else self.c_minus
            return activations.ShapedReLU(c_plus, c_minus, p)
        a = 1.0 if self.a is None else self.a
        center = 0.0 if self.center is None else self.center
        return activations.ShapedSmooth(FUNCTIONS[name], a, center, p)


def check_use(
    options: dict[str, float | None], wanted: str, usable: bool, names: list[Activation]
) -> None:
    """Refuses options that no activation of these has a use for; None was not given."""
    for option, value in options.items():
        if value is not None and not usable:
            chosen = ", ".join(name.value for name in names)
            raise refuse(
                option,
                f"acts on {wanted} only; got --activation {chosen}. Leave it out, or "
                "choose another --activation.",
            )


class Scheme(NamedTuple):
    """How a limit is solved; None where there is nothing to choose."""

    solver: diffrax.AbstractSolver | None = None
    stop_above: float | None = None


def make_scheme(
    limit: AbstractLimit | UnshapedMLP,
    name: Solver | None,
    v0: Array,
    t1: float,
    dt0: float | None,
    stop_above: float | None,
) -> Scheme:
    """The scheme for a limit; refuses one that cannot solve it, or would never end."""
    if isinstance(limit, UnshapedMLP):
        check_steps(STEP if dt0 is None else dt0, t1, dt0)
        return Scheme()
    m = len(v0)
    solver = make_solver(name, limit, m)
    step = default_step(solver, limit, m, v0, t1) if dt0 is None else dt0
    check_steps(step, t1, dt0)
    check_strength(step, t1, limit, m)
    chosen = None if name is None else solver
    return Scheme(chosen, stop_level(limit, v0, stop_above))


def make_solver(name: Solver | None, limit: AbstractLimit, m: int):
    """The solver of a name, or that of the limit; refuses one that cannot solve it."""
    if name is None:
        return default_solver(limit)
    solver = _SOLVERS[name]()
    try:
        solver.max_step(limit, m)
    except TypeError as error:
        able = (Solver.ninomiya, Solver.projected)
        raise refuse(
            "--solver",
            f"must be {' or '.join(able)} for the noise of attention; got {name.value}. "
            "Leave it out to have one chosen.",
        ) from error
    return solver


def check_simulation(
    t1: float, paths: int, dt0: float | None, stop_above: float | None, seed: int
) -> None:
    """Refuses the numbers of a simulation that mean nothing."""
    number("--t1", t1, "It is depth/width: 0.5 for a network half as deep as wide.")
    number("--dt0", dt0, "Leave it out to have a step chosen.")
    number("--stop-above", stop_above, "It stops a path once tr V/m exceeds it.")
    at_least("--paths", paths, 2, "It is how many paths of the limit to simulate.")
    if not 0 <= seed < 2**63:
        raise refuse("--seed", f"must be an integer from 0 to 2^63 − 1; got {seed}. Try 0.")


def check_save_times(save_times: int) -> None:
    """Refuses to save no time."""
    at_least(
        "--save-times", save_times, 1, "It is how many times to save; 1 saves t1 only."
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
    activation = cast(ActivationDrift, part.drift).activation
    raise refuse(
        "--activation",
        f"{full_name(activation)} has so strong a drift {takes}. Weaken its shaping "
        "(a larger --a, another --center, --c-plus nearer to --c-minus), or set --dt0.",
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


def parse_widths(text: str) -> tuple[int, ...]:
    """`32,64,128`."""
    hint = "Give integers separated by commas, e.g. 32,64,128."
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise refuse("--widths", f"must be integers; got {text!r}. {hint}") from error
    if min(widths) < 1 or len(set(widths)) < len(widths):
        raise refuse(
            "--widths", f"must be different integers of at least 1; got {text!r}. {hint}"
        )
    return tuple(sorted(widths))


def stop_level(limit: AbstractLimit, v0, stop_above: float | None) -> float | None:
    """The level at which to stop: one is chosen where the limit may explode."""
    # a branch of an activation of ours, which grows at most linearly, never does
    m = len(v0)
    tame = isinstance(limit.drift, BranchCovariance) or not limit.bounds(m).can_explode
    if stop_above is not None or tame:
        return stop_above
    return 8.0 * max(1.0, float(jnp.trace(v0)) / m)
