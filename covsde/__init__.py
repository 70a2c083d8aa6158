"""covsde: SDE solver and stochastic processes for the covariance of deep networks.

At initialisation a deep network's outputs are Gaussian given a random covariance matrix
`V`. As depth and width grow together, `V` follows a matrix-valued SDE. covsde solves it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import activations, functionals, matrices, observables, solvers, statistics
from .activations import AbstractActivation, Identity, ShapedReLU, ShapedSmooth
from .brownian import BrownianGrid
from .describe import describe
from .diffusions import AbstractDiffusion, CongruenceDiffusion
from .drifts import AbstractDrift, ActivationDrift
from .ensemble import Ensemble, ensemble, merge
from .estimate import Estimate, estimate
from .inputs import gram
from .limits import (
    AbstractLimit,
    AttentionDrift,
    Block,
    BranchCovariance,
    KernelODE,
    LeakyReLU,
    ShapedAttention,
    ShapedFeedForward,
    ShapedMLP,
    ShapedResNet,
    ShapedTransformer,
    SoftmaxDiffusion,
    UnshapedMLP,
    UnshapedSolution,
)
from .solution import Solution
from .solve import default_solver, default_step, solve
from .solvers import (
    FactorEuler,
    GeodesicStrang,
    LinearParabola,
    MagnusStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    ProjectedEuler,
    WishartEuler,
)
from .sweep import sweep

if TYPE_CHECKING:
    from . import convergence, laws, oracles, problems
    from .validation import Report, validate

__version__ = "0.1.0"

__all__ = [
    "AbstractActivation",
    "AbstractDiffusion",
    "AbstractDrift",
    "AbstractLimit",
    "ActivationDrift",
    "AttentionDrift",
    "Block",
    "BranchCovariance",
    "BrownianGrid",
    "CongruenceDiffusion",
    "Ensemble",
    "Estimate",
    "FactorEuler",
    "GeodesicStrang",
    "Identity",
    "KernelODE",
    "LeakyReLU",
    "LinearParabola",
    "MagnusStrang",
    "NinomiyaNinomiya",
    "PalindromicStrang",
    "ProjectedEuler",
    "Report",
    "ShapedAttention",
    "ShapedFeedForward",
    "ShapedMLP",
    "ShapedReLU",
    "ShapedResNet",
    "ShapedSmooth",
    "ShapedTransformer",
    "SoftmaxDiffusion",
    "Solution",
    "UnshapedMLP",
    "UnshapedSolution",
    "WishartEuler",
    "activations",
    "convergence",
    "default_solver",
    "default_step",
    "describe",
    "ensemble",
    "estimate",
    "functionals",
    "gram",
    "laws",
    "matrices",
    "merge",
    "observables",
    "oracles",
    "problems",
    "solve",
    "solvers",
    "statistics",
    "sweep",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Loads what few programs ask for, which takes as long as what all of them need."""
    if name in ("convergence", "laws", "oracles", "problems"):
        return import_module(f".{name}", __name__)
    if name in ("Report", "validate"):
        return getattr(import_module(".validation", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
