"""Extrapolation to steps of length 0: one order more, or two if the error is even."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import numpy as np

from .._names import full_name
from .._problem import Problem
from ..solve import Scheme, check_solver


class Extrapolated(eqx.Module):
    """Extrapolated means of a solver of weak order p, `(2^p E_{h/2} − E_h)/(2^p − 1)`.

    One of the solvers of a [`covsde.convergence.study`][]; it has means, and no paths.
    `E_h` is a mean with steps of length h. The error loses its power `h^p`.
    That of [`covsde.PalindromicStrang`][] has even powers alone, if its drift flow does:
    `Extrapolated(PalindromicStrang(drift_order=4))` is of order 4, with errors named by
    the longer of its two steps.

    Source: Talay, Tubaro (1990), "Expansion of the global error for numerical schemes
    solving stochastic differential equations".
    """

    solver: diffrax.AbstractSolver

    def __init__(self, solver: diffrax.AbstractSolver):
        """**Arguments:**

        - `solver`: a solver of covsde, or `diffrax.Euler()`.
        """
        self.solver = check_solver(solver)


class Combination(NamedTuple):
    """A row of a study: a scheme, and the means of it that are combined.

    `power` is `2^p` of the extrapolation, and 0 where there is none.
    """

    name: str
    scheme: Scheme
    steps: tuple[int, ...]
    power: float

    @property
    def numbers(self) -> set[int]:
        """All numbers of steps that it takes."""
        return {*self.steps, *(2 * n for n in self.steps if self.power)}

    def weights(self, numbers: tuple[int, ...]) -> np.ndarray:
        """Of the means with these numbers of steps, `(len(steps), len(numbers))`."""
        taken = np.array(numbers)
        plain = np.equal.outer(self.steps, taken).astype(float)
        if not self.power:
            return plain
        finer = np.equal.outer(2 * np.array(self.steps), taken)
        return (self.power * finer - plain) / (self.power - 1)


def combination(problem: Problem, solver, steps: tuple[int, ...]) -> Combination:
    """The row of a solver, or of an extrapolated one."""
    name, power = full_name(solver), 0.0
    if isinstance(solver, Extrapolated):
        solver = solver.solver
        power = 2.0 ** getattr(solver, "weak_order", 1)
    return Combination(name, Scheme.of(problem, check_solver(solver)), steps, power)


def shared(rows: list[Combination]) -> list[tuple[list[int], tuple[int, ...]]]:
    """The rows that share a solver, and all the numbers of steps that they take."""
    groups: list[list[int]] = []
    for i, row in enumerate(rows):
        solver = row.scheme.solver
        same = (g for g in groups if eqx.tree_equal(rows[g[0]].scheme.solver, solver))
        found = next(same, None)
        if found is None:
            groups.append([i])
        else:
            found.append(i)
    return [(g, tuple(sorted(set().union(*(rows[i].numbers for i in g))))) for g in groups]
