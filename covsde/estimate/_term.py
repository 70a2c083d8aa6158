"""One term of the telescoping sum: drawn on demand, and what is known of it."""

from collections import deque

import numpy as np

from ._controls import fit_controls
from ._ledger import Ledger
from ._simulation import Simulation, check_finite


class Sums:
    """Mean and variance of numbers that come in batches, held as sums."""

    def __init__(self):
        self.count, self.origin, self.total, self.squares = 0, 0.0, 0.0, 0.0

    def add(self, y: np.ndarray) -> None:
        """Numbers near those of the first batch, whose mean is taken for the origin."""
        if self.count == 0:
            self.origin = float(y.mean())
        self.count += y.size
        self.total += float(np.sum(y - self.origin))
        self.squares += float(np.sum((y - self.origin) ** 2))

    @property
    def mean(self) -> float:
        """Of all numbers."""
        return self.origin + self.total / self.count

    @property
    def variance(self) -> float:
        """Of one number, unbiased."""
        centred = self.squares - self.total**2 / self.count
        return max(centred, 0.0) / (self.count - 1)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return (self.variance / self.count) ** 0.5


class Term:
    """`E f_l`, or `E[f_l − f_{l−1}]`.

    Its pilot decides how it is run: the slopes of its control variates, and how many paths.
    The run has paths of its own, so that its mean is unbiased and its variance is that
    which the slopes leave.
    """

    def __init__(self, simulation: Simulation, ledger: Ledger, level: int, alone: bool):
        self.simulation, self.ledger = simulation, ledger
        self.level, self.alone = level, alone
        self.work = simulation.work(level, alone)
        self.pilot, self.run, self.chunks = Sums(), Sums(), 0
        self.ready = deque()  # chunks that were simulated beside others
        y, controls = self._next()
        self.pilot.add(y)
        self.slopes, self.variance = fit_controls(controls, y)

    def look_again(self) -> None:
        """Four times the paths of the pilot, for a mean of half its error."""
        for _ in range(3 * self.chunks):
            self.pilot.add(self._next()[0])
        self.variance = self.pilot.variance

    def draw(self) -> None:
        """A chunk of the run."""
        y, controls = self._next()
        self.run.add(y - controls @ self.slopes)
        self.variance = self.run.variance

    def _next(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.ready:
            some = self.simulation.chunks(self.level, self.alone, self.chunks)
            self.ready.extend(some)
        chunk = self.ready.popleft()
        check_finite(chunk[0])
        self.chunks += 1
        self.ledger.spend(self.work)
        return chunk
