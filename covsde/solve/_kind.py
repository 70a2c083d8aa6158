"""Which calls and solvers are for covariances, and which for a limit of one number."""

from collections.abc import Mapping

import diffrax

from .._names import full_name
from ..functionals import AbstractFunctional
from ..limits import AbstractLimit
from ..solvers import LinearParabola


def check_kind(limit: AbstractLimit, solver: diffrax.AbstractSolver) -> None:
    """Refuses a solver of states that the limit does not have."""
    fits = isinstance(solver, LinearParabola)
    if fits and not limit.is_number:
        raise TypeError(
            f"`solver` must be of covariances; got LinearParabola() for "
            f"{full_name(limit)}, and that is of one number in a linear equation. Pass "
            "`default_solver(limit)`, or leave it out where one is chosen."
        )
    if limit.is_number and not fits:
        raise TypeError(
            f"`solver` must be LinearParabola() for {type(limit).__name__}, whose state "
            f"is a number; got {full_name(solver)}. Pass that one, or leave it out where "
            "one is chosen."
        )


def check_tilts(
    limit: AbstractLimit, functionals: Mapping[str, AbstractFunctional]
) -> None:
    """Refuses a tilt of a limit of one number."""
    for one in functionals.values() if limit.is_number else ():
        if type(one).tilt is not AbstractFunctional.tilt:
            raise TypeError(
                f"`functionals` must not tilt {type(limit).__name__}, whose state is a "
                f"number; got {full_name(one)}. A tilt is that of a covariance SDE."
            )


def check_covariances(limit: AbstractLimit, call: str) -> None:
    """Refuses a limit of one number where steps of the same path are coupled."""
    if limit.is_number:
        raise TypeError(
            f"`limit` must be a covariance SDE for `{call}`; got {full_name(limit)}, whose "
            "state is a number with known moments. Use `covsde.solve` or "
            "`covsde.ensemble`."
        )
