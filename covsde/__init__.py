"""covsde: SDE solver and stochastic processes for the covariance of deep networks.

At initialisation a deep network's outputs are Gaussian given a random covariance matrix
`V`. As depth and width grow together, `V` follows a matrix-valued SDE. covsde solves it.
"""

from . import activations, matrices, observables, oracles, solvers
from .activations import AbstractActivation, Identity, ShapedReLU, ShapedSmooth
from .brownian import BrownianGrid
from .diffusions import AbstractDiffusion, CongruenceDiffusion
from .drifts import AbstractDrift, ActivationDrift
from .inputs import gram
from .limits import AbstractLimit, ShapedMLP
from .solution import Solution
from .solve import default_step, solve
from .solvers import (
    FactorEuler,
    GeodesicStrang,
    PalindromicStrang,
    ProjectedEuler,
    WishartEuler,
)
from .validation import Report, validate

__version__ = "0.1.0"

__all__ = [
    "AbstractActivation",
    "AbstractDiffusion",
    "AbstractDrift",
    "AbstractLimit",
    "ActivationDrift",
    "BrownianGrid",
    "CongruenceDiffusion",
    "FactorEuler",
    "GeodesicStrang",
    "Identity",
    "PalindromicStrang",
    "ProjectedEuler",
    "Report",
    "ShapedMLP",
    "ShapedReLU",
    "ShapedSmooth",
    "Solution",
    "WishartEuler",
    "activations",
    "default_step",
    "gram",
    "matrices",
    "observables",
    "oracles",
    "solve",
    "solvers",
    "validate",
]
