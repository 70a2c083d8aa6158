"""covsde: SDE solver and stochastic processes for the covariance of deep networks.

At initialisation a deep network's outputs are Gaussian given a random covariance matrix
`V`. As depth and width grow together, `V` follows a matrix-valued SDE. covsde solves it.
"""

from . import (
    activations,
    convergence,
    functionals,
    laws,
    matrices,
    observables,
    oracles,
    problems,
    solvers,
    statistics,
)
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
