"""Diffrax solvers for covariance SDEs, one scheme a file."""

from ._base import AbstractFactorSolver, AbstractStrangSolver, Pending
from .factor_euler import FactorEuler
from .geodesic import GeodesicStrang
from .magnus import MagnusStrang
from .ninomiya import NinomiyaNinomiya
from .palindromic import PalindromicStrang
from .parabola import LinearParabola
from .projected import ProjectedEuler
from .wishart import WishartEuler

__all__ = [
    "AbstractFactorSolver",
    "AbstractStrangSolver",
    "FactorEuler",
    "GeodesicStrang",
    "LinearParabola",
    "MagnusStrang",
    "NinomiyaNinomiya",
    "PalindromicStrang",
    "Pending",
    "ProjectedEuler",
    "WishartEuler",
]
