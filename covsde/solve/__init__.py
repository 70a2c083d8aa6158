"""One call from a limit to its solution, and the parts that it is made of."""

from ._defaults import default_solver, default_step
from ._integrate import Paths, integrate
from ._kind import check_covariances, check_kind
from ._plan import Scheme, decide, longest_step, plan
from ._reuse import (
    block_of,
    part_of,
    room_for_more,
    simulated,
    with_room,
    with_room_for_steps,
)
from ._run import Run, cells_per_step
from ._simulate import paths_at_a_time, simulate
from ._solve import solve, solved
from ._solver import check_solver
from ._steps import step_times

__all__ = [
    "Paths",
    "Run",
    "Scheme",
    "block_of",
    "cells_per_step",
    "check_covariances",
    "check_kind",
    "check_solver",
    "decide",
    "default_solver",
    "default_step",
    "integrate",
    "longest_step",
    "part_of",
    "paths_at_a_time",
    "plan",
    "room_for_more",
    "simulate",
    "simulated",
    "solve",
    "solved",
    "step_times",
    "with_room",
    "with_room_for_steps",
]
