"""Statistics of any number of paths, in memory that does not grow with them."""

from ._ensemble import ensemble
from ._merge import merge
from ._result import Ensemble
from ._samples import Samples

__all__ = ["Ensemble", "Samples", "ensemble", "merge"]
