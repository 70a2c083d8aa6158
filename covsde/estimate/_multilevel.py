"""Multilevel Monte Carlo: which levels, and how many paths of each."""

import math

import numpy as np
import scipy

from .._names import full_name
from ._ledger import Ledger
from ._result import Estimate, Level
from ._simulation import CHUNK, Simulation
from ._term import Term

# Shares of the squared tolerance: left to the bias, and to variances being estimates.
_BIAS_SHARE, _RESERVE = 0.1, 0.1
# Share of the budget that pilots may take.
_PILOTS = 0.5
_LEAST_LEVELS, _MOST_LEVELS = 2, 12


def least_budget(simulation: Simulation) -> int:
    """Steps of a pilot and a run of the first levels, a chunk each."""
    corrections = range(1, _LEAST_LEVELS + 1)
    works = [simulation.work(level, False) for level in corrections]
    return 2 * (simulation.work(0, True) + sum(works))


def multilevel(
    simulation: Simulation, tol: float, confidence: float, ledger: Ledger
) -> Estimate:
    """Levels are chosen by pilots, and their terms run until the variance is what the
    tolerance leaves, or the budget is spent.
    """
    pilots = Pilots(simulation, ledger)
    last = _last_level(pilots, tol)
    bias, terms = pilots.bias(last), pilots.cheapest(last)
    weights = np.ones(len(terms))
    weights[-1] += 1 / (2**simulation.order - 1)  # the rest is a geometric series
    allowed = (1 - _BIAS_SHARE - _RESERVE) * tol**2
    variance, needed = _run(terms, weights, allowed, bias, ledger)
    error, quantile = (
        math.hypot(variance**0.5, bias),
        float(scipy.special.ndtri(0.5 + confidence / 2)),
    )
    if error <= tol:
        needed = ledger.spent
    else:
        needed += _levels_to_come(simulation, last, bias / (_BIAS_SHARE**0.5 * tol))
    problem = simulation.scheme.problem
    value = float(weights @ [term.run.mean for term in terms])
    half = max(quantile * error, bias)
    levels = (
        Level(simulation.steps(term.level), term.run.mean, term.variance, term.run.count)
        for term in terms
    )
    return Estimate(
        value=value,
        interval=(value - half, value + half),
        standard_error=variance**0.5,
        bias=bias,
        tol=tol,
        confidence=confidence,
        levels=tuple(levels),
        cost=ledger.spent,
        needed=int(needed),
        name=f"{full_name(problem.limit)} at t = {problem.t1:g}",
    )


def _run(
    terms: list[Term], weights: np.ndarray, allowed: float, bias: float, ledger: Ledger
) -> tuple[float, float]:
    """Draws the term that gains most for its work, again and again; the variance of the
    weighted sum in the end, and the steps that the allowed one takes.
    """
    works = np.array([term.work for term in terms])
    piloted = ledger.spent
    for i, term in enumerate(terms):
        ledger.tell(works[i:].sum(), math.inf)
        term.draw()
    while True:
        squares = weights**2 * [term.variance for term in terms]
        paths = np.array([term.run.count for term in terms])
        variance = float(np.sum(squares / paths))
        # by the best shares, which a Lagrange multiplier finds
        needed = piloted + float(np.sum((squares * works / CHUNK) ** 0.5)) ** 2 / allowed
        gains = squares / (paths * (paths + CHUNK) * works)
        gains[ledger.spent + works > ledger.budget] = 0
        best = int(np.argmax(gains))
        done = variance <= allowed or gains[best] == 0
        to_come = 0 if done else max(needed - ledger.spent, works[best])
        ledger.tell(to_come, math.hypot(variance**0.5, bias))
        if done:
            return variance, needed
        terms[best].draw()


class Pilots:
    """Terms by level and kind, each with a pilot that is run when it is first asked for."""

    def __init__(self, simulation: Simulation, ledger: Ledger):
        self.simulation, self.ledger = simulation, ledger
        self.terms: dict[tuple[int, bool], Term] = {}

    def __call__(self, level: int, alone: bool = False) -> Term:
        if (level, alone) not in self.terms:
            self.ledger.tell(self.simulation.work(level, alone), math.inf)
            term = Term(self.simulation, self.ledger, level, alone)
            self.terms[level, alone] = term
        return self.terms[level, alone]

    def affords(self, level: int, alone: bool) -> bool:
        """Whether a pilot is there, or within its share of the budget."""
        work = self.simulation.work(level, alone)
        return (level, alone) in self.terms or self.ledger.affords(work, _PILOTS)

    def bias(self, last: int) -> float:
        """What the levels beyond `last` add, from the larger of two corrections."""
        return self.beyond(last, self.larger(last))

    def beyond(self, last: int, level: int) -> float:
        """What the levels beyond `last` add, if corrections shrink from this level on."""
        factor = 2**self.simulation.order
        return abs(self(level).pilot.mean) / factor ** (last - level) / (factor - 1)

    def larger(self, last: int) -> int:
        """The one of the last two levels that tells of the larger bias."""
        return max(last, last - 1, key=lambda level: self.beyond(last, level))

    def cheapest(self, last: int) -> list[Term]:
        """The terms to `last` from the best level to begin with; next to it is plain
        Monte Carlo.
        """
        sums, costs = [], []
        for base in range(last):
            if not self.affords(base, True):
                break
            corrections = [self(level) for level in range(base + 1, last + 1)]
            sums.append([self(base, True), *corrections])
            costs.append(sum((term.variance * term.work) ** 0.5 for term in sums[-1]))
            if base > 0 and costs[-1] > costs[-2]:
                break
        return sums[int(np.argmin(costs))]


def _last_level(pilots: Pilots, tol: float) -> int:
    """The first level that leaves the bias its share, or the last that can be afforded.

    Never before the second: of steps that are too long for the weak order, one correction
    may be small by chance, where errors of the other sign end.
    """
    pilots(0, True)
    last = _LEAST_LEVELS
    while pilots.bias(last) ** 2 > _BIAS_SHARE * tol**2:
        told_by = pilots(pilots.larger(last))
        if abs(told_by.pilot.mean) < 3 * told_by.pilot.error:  # noise: measure it better
            if not pilots.ledger.affords(3 * told_by.chunks * told_by.work, _PILOTS):
                break
            told_by.look_again()
        elif last == _MOST_LEVELS:
            raise ValueError(
                f"`tol` must be reached within {pilots.simulation.steps(last)} steps; got "
                f"{tol:g}, and a bias of {pilots.bias(last):.2g}. Raise it."
            )
        elif pilots.affords(last + 1, False):
            last += 1
        else:
            break
    return last


def _levels_to_come(simulation: Simulation, last: int, too_large: float) -> float:
    """Steps that a bias so many times too large asks for: a chunk of each further level
    for its pilot, and one for its run.
    """
    more = max(0, math.ceil(math.log2(max(too_large, 1)) / simulation.order))
    return sum(2.0 * simulation.work(last + i, False) for i in range(1, more + 1))
