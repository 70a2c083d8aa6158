"""What `estimate` returns: a value, what is known of its error, and what it cost."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One term of the telescoping sum.

    - `steps`: of the finer of the two grids; the first level has one grid alone.
    - `mean`, `variance`: of the term, for one path. `paths`: how many were simulated.
    """

    steps: int
    mean: float
    variance: float
    paths: int


@dataclass(frozen=True)
class Estimate:
    """`E f(V_T)`, with what is known of its error.

    - `value`: the estimate. `interval`: it contains the expectation with the probability
      `confidence`.
    - `standard_error`: of the sampling. `bias`: a bound of what the steps leave, measured
      on the last level.
    - `tol`: the root mean square error that was asked for. Whether it was `reached`, or the
      budget ended the run before.
    - `levels`: the terms. `cost`: steps of one path, in all, the pilot included.
    - `needed`: the cost of `tol`; a forecast where it was not reached, and a low one where
      the bias asks for further levels, whose variances are not known.
    """

    value: float
    interval: tuple[float, float]
    standard_error: float
    bias: float
    tol: float
    confidence: float
    levels: tuple[Level, ...]
    cost: int
    needed: int
    name: str

    @property
    def error(self) -> float:
        """Root mean square error, `√(standard_error² + bias²)`."""
        return math.hypot(self.standard_error, self.bias)

    @property
    def reached(self) -> bool:
        """Whether the error is at most `tol`."""
        return self.error <= self.tol

    def __str__(self) -> str:
        low, high = self.interval
        asked = f"asked for {self.tol:.2g}"
        if not self.reached:
            asked += f", NOT REACHED within the budget: it takes about {self.needed:.2g}"
            asked += " steps"
        lines = [
            self.name,
            f"{self.value:.6g} ± {self.error:.2g} ({asked}); "
            f"{self.confidence:.0%}: {low:.6g} … {high:.6g}",
            f"standard error {self.standard_error:.2g}, bias at most {self.bias:.2g}, "
            f"{self.cost:.3g} steps",
            "",
            f"{'steps':>6}{'paths':>12}{'mean':>13}{'deviation':>12}",
        ]
        lines += [
            f"{one.steps:6}{one.paths:12,}{one.mean:13.3e}{one.variance**0.5:12.3e}"
            for one in self.levels
        ]
        return "\n".join(lines)
