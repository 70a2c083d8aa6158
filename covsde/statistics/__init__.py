"""Statistics that are added to batch by batch, and whose states are merged."""

from ._base import AbstractStatistic, Part, State, on_host
from .covariance import Covariance
from .extremes import Extremes
from .histogram import Histogram
from .moments import Moments
from .quantiles import Quantiles
from .share import Share

__all__ = [
    "AbstractStatistic",
    "Covariance",
    "Extremes",
    "Histogram",
    "Moments",
    "Part",
    "Quantiles",
    "Share",
    "State",
    "on_host",
]
