"""Which solvers are right for covariance SDEs."""

import diffrax

from .._checks import found


def check_solver(solver) -> diffrax.AbstractSolver:
    """Refuses what would converge to the wrong law, or is no solver."""
    accepted = (
        "`solver` must be a solver of covsde (`GeodesicStrang()`, `PalindromicStrang()`, "
        "`NinomiyaNinomiya()`, `WishartEuler()`, `FactorEuler()`, `ProjectedEuler()`) or "
        "`diffrax.Euler()`"
    )
    if isinstance(solver, type):
        raise TypeError(
            f"{accepted}; got the class {solver.__name__}. Call it: `{solver.__name__}()`."
        )
    if not isinstance(solver, diffrax.AbstractSolver):
        raise TypeError(f"{accepted}; got {found(solver)}. None picks the default.")
    name = type(solver).__name__
    if isinstance(solver, diffrax.ItoMilstein):
        raise ValueError(
            f"{accepted}; got {name}, which assumes commutative noise. The noise of "
            "covariance SDEs does not commute, and it would converge to the wrong law."
        )
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        raise ValueError(
            f"{accepted}; got the wrapper {name}, which would step off the Brownian grid "
            "or stop twice. Pass the solver inside it."
        )
    if not isinstance(solver, diffrax.AbstractItoSolver):
        raise ValueError(
            f"{accepted}; got {name}, which does not solve Itô equations: it would "
            "converge to another law."
        )
    return solver
