"""What a run has spent, what it may spend, and what it tells of that."""

import math

from .._progress import Report


class Ledger:
    """Steps of one path that were spent, of those that may be."""

    def __init__(self, budget: float | None, report: Report):
        self.budget = math.inf if budget is None else budget
        self.report = report
        self.spent = 0

    def affords(self, steps: float, share: float) -> bool:
        """Whether so many more are within a share of the budget."""
        return self.spent + steps <= share * self.budget

    def spend(self, steps: int) -> None:
        """Counts them."""
        self.spent += steps

    def tell(self, to_come: float, error: float) -> None:
        """Reports how many are to come, within the budget, and the error so far."""
        total = self.spent + math.ceil(min(to_come, self.budget - self.spent))
        self.report(self.spent, total, error)
