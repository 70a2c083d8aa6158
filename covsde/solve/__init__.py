"""One call from a limit to its solution, and the parts that it is made of."""

from ._checks import check_drift, check_singular, check_step
from ._defaults import default_solver, default_step, max_step
from ._integrate import Paths, brownian, cells_per_step, integrate, on_grid
from ._kind import check_covariances
from ._plan import Run, paths_at_a_time, plan, simulate
from ._range import check_range
from ._solve import solve
from ._solver import check_solver
from ._steps import step_times

__all__ = [
    "Paths",
    "Run",
    "brownian",
    "cells_per_step",
    "check_covariances",
    "check_drift",
    "check_range",
    "check_singular",
    "check_solver",
    "check_step",
    "default_solver",
    "default_step",
    "integrate",
    "max_step",
    "on_grid",
    "paths_at_a_time",
    "plan",
    "simulate",
    "solve",
    "step_times",
]
