"""Measuring the order of a solver, with intervals that know how exact each error is.

`study` runs solvers with several numbers of steps, on paths or by quadrature over the
normals of a step, and fits their orders. `nested` shows paths by ever shorter steps.
"""

from ._extrapolated import Extrapolated
from ._nested import nested
from ._order import NOISE as NOISE
from ._order import Errors, Order
from ._study import Study, study

__all__ = ["Errors", "Extrapolated", "Order", "Study", "nested", "study"]
