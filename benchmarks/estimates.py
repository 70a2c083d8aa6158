"""Whether `estimate` keeps what it promises: errors, intervals, and what they cost.

`python -m benchmarks.estimates` asks for three expectations that are known, 200 times each
at three tolerances, and prints the root mean square error over the tolerance (at most 1),
the share of 95 % intervals that hold the answer, and the slope of log cost against log
tolerance (−2 is that of plain sampling without bias), for which a tenth of the runs ask for
a smaller one, too.

`python -m benchmarks.estimates --m 1 4 6 7 8 9 16 --runs 100` does so for any numbers of
inputs, of three observables each, at one tolerance, which takes more than the least run.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.integrate import quad

import covsde
from covsde import AbstractLimit, Identity, ShapedMLP, ShapedReLU
from covsde.estimate import Estimate
from covsde.observables import Correlation, correlation

TOLERANCES = (1e-2, 3e-3, 1e-3)
SMALLEST = 3e-4
RELU, LINEAR = ShapedMLP(ShapedReLU(0.0, -1.0)), ShapedMLP(Identity())
PAIR = jnp.array([[1.0, 0.3], [0.3, 1.0]])


class Known(NamedTuple):
    """An expectation whose value is known."""

    name: str
    limit: AbstractLimit
    v0: jax.Array
    t1: float
    observable: Callable
    answer: float
    tolerances: tuple[float, ...] = (*TOLERANCES, SMALLEST)


def alike(m: int) -> jax.Array:
    """`m` inputs, each two of correlation .3."""
    return 0.7 * jnp.eye(m) + 0.3


def squared(v):
    """ρ² of the first two inputs."""
    return correlation(v)[:, 0, 1] ** 2


def mean_squared(v):
    """ρ², the mean over all pairs."""
    m = v.shape[-1]
    return (jnp.sum(correlation(v) ** 2, axis=(1, 2)) - m) / (m * (m - 1))


def bounded_norm(v):
    """`V/(1 + V)` of the first input."""
    return v[:, 0, 0] / (1 + v[:, 0, 0])


def last_norm(v):
    """V of the last input."""
    return v[:, -1, -1]


def exact_square(t1: float) -> float:
    """`E ρ²` from ρ₀ = .3: every pair of any number of inputs has the same law."""
    law = covsde.laws.of(RELU, Correlation(0, 1), PAIR, t1)
    return float(law.expectation(np.square))


def exact_norm(t1: float) -> float:
    """`E V/(1 + V)`, `log V ~ N(−T, 2T)`."""

    def density(x):
        return stats.norm.pdf(x, -t1, np.sqrt(2 * t1)) / (1 + np.exp(-x))

    return quad(density, -30, 30, epsabs=1e-12)[0]


def at_tolerances() -> list[Known]:
    """What is asked for at several tolerances."""
    return [
        Known("E ρ², m = 2, T = 1", RELU, PAIR, 1.0, squared, exact_square(1.0)),
        Known("E V/(1+V), m = 2, T = 1", RELU, PAIR, 1.0, bounded_norm, exact_norm(1.0)),
        Known("E ρ², m = 4, T = .5", RELU, alike(4), 0.5, squared, exact_square(0.5)),
    ]


def of_inputs(m: int, t1: float = 0.25) -> list[Known]:
    """What is asked for at a number of inputs: of one, of a few and of all entries of V."""
    v0 = alike(m)
    norms = [
        Known("E V/(1+V)", RELU, v0, t1, bounded_norm, exact_norm(t1), (1e-3,)),
        Known("E V of the last, linear", LINEAR, v0, t1, last_norm, 1.0, (1e-2,)),
    ]
    if m == 1:
        return norms
    exact = exact_square(t1)
    return [
        Known("E ρ²", RELU, v0, t1, squared, exact, (4e-3,)),
        Known("E ρ² over all pairs", RELU, v0, t1, mean_squared, exact, (2e-3,)),
        norms[1],
    ]


class Repeated(NamedTuple):
    """Many runs of one estimate."""

    ratio: float  # root mean square error over the tolerance
    covered: float  # the share of intervals that hold the answer
    cost: float
    seconds: float

    def __str__(self) -> str:
        numbers = f"{self.ratio:10.3f}{self.covered:9.3f}"
        return f"{numbers}{self.cost:11.3g}{self.seconds:8.2f}"


def repeat(problem: Known, tol: float, runs: int) -> Repeated:
    """Runs with a key of their own each."""
    begin, found = time.process_time(), list[Estimate]()
    for number in range(runs):
        key = jax.random.fold_in(jax.random.key(round(1 / tol)), number)
        of = problem.limit, problem.v0, problem.t1, problem.observable
        found.append(covsde.estimate(*of, tol=tol, key=key))
    seconds = (time.process_time() - begin) / runs
    errors = np.array([one.value for one in found]) - problem.answer
    held = [one.interval[0] <= problem.answer <= one.interval[1] for one in found]
    ratio = float(np.sqrt(np.mean(errors**2))) / tol
    cost = float(np.mean([one.cost for one in found]))
    return Repeated(ratio, float(np.mean(held)), cost, seconds)


def table_of_tolerances(runs: int) -> None:
    """A row for each problem and tolerance, and how the cost grows."""
    print(f"{'':26}{'tol':>8}{'RMSE/tol':>10}{'covered':>9}{'steps':>11}{'CPU-s':>8}")
    for problem in at_tolerances():
        costs, every = [], problem.tolerances
        for tol in every:
            row = repeat(problem, tol, runs if tol > SMALLEST else max(2, runs // 10))
            costs.append(row.cost)
            print(f"{problem.name:26}{tol:8.0e}{row}", flush=True)
        for first in (0, 2):
            slope = stats.linregress(np.log(every[first:]), np.log(costs[first:])).slope
            since = f"{problem.name:26} from {every[first]:.0e}"
            print(f"{since} on cost grows like tol^{slope:.2f}")


def table_of_inputs(ms: list[int], runs: int) -> None:
    """A row for each number of inputs and observable."""
    noise = 1 / np.sqrt(2 * runs), np.sqrt(0.05 * 0.95 / runs)
    print(
        f"standard errors: {noise[0]:.3f} of RMSE/tol (relative), {noise[1]:.3f} of "
        f"covered\n"
        f"{'':5}{'':26}{'tol':>8}{'RMSE/tol':>10}{'covered':>9}{'steps':>11}{'CPU-s':>8}"
    )
    for m in ms:
        for problem in of_inputs(m):
            (tol,) = problem.tolerances
            row = repeat(problem, tol, runs)
            print(f"m={m:<3}{problem.name:26}{tol:8.0e}{row}", flush=True)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--m", type=int, nargs="+", help="numbers of inputs")
    arguments = parser.parse_args()
    print(f"{arguments.runs} runs each")
    if arguments.m:
        table_of_inputs(arguments.m, arguments.runs)
    else:
        table_of_tolerances(arguments.runs)


if __name__ == "__main__":
    main()
