"""Expectations to a tolerance, by multilevel Monte Carlo."""

from ._estimate import estimate
from ._result import Estimate, Level

__all__ = ["Estimate", "Level", "estimate"]
