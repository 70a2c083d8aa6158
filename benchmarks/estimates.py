"""Whether `estimate` keeps what it promises: errors, intervals, and what they cost.

`python -m benchmarks.estimates` asks for three expectations that are known, 200 times each
at three tolerances, and prints the root mean square error over the tolerance (at most 1),
the share of 95 % intervals that hold the answer, and the slope of log cost against log
tolerance (−2 is that of plain sampling without bias), for which a tenth of the runs ask for
a smaller one, too.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.integrate import quad

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.observables import Correlation, correlation

TOLERANCES = (1e-2, 3e-3, 1e-3)
SMALLEST = 3e-4
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
PAIR = jnp.array([[1.0, 0.3], [0.3, 1.0]])
FOUR = 0.7 * jnp.eye(4) + 0.3


def squared(v):
    """ρ² of the first two inputs."""
    return correlation(v)[:, 0, 1] ** 2


def bounded_norm(v):
    """`V/(1 + V)` of the first input."""
    return v[:, 0, 0] / (1 + v[:, 0, 0])


def exact_square(t1: float) -> float:
    """`E ρ²` from ρ₀ = .3: every pair of any number of inputs has the same law."""
    law = covsde.laws.of(RELU, Correlation(0, 1), PAIR, t1)
    return float(law.expectation(np.square))


def exact_norm(t1: float) -> float:
    """`E V/(1 + V)`, `log V ~ N(−T, 2T)`."""

    def density(x):
        return stats.norm.pdf(x, -t1, np.sqrt(2 * t1)) / (1 + np.exp(-x))

    return quad(density, -30, 30, epsabs=1e-12)[0]


PROBLEMS = {
    "E ρ², m = 2, T = 1": (PAIR, 1.0, squared, exact_square),
    "E V/(1+V), m = 2, T = 1": (PAIR, 1.0, bounded_norm, exact_norm),
    "E ρ², m = 4, T = .5": (FOUR, 0.5, squared, exact_square),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{arguments.runs} runs each")
    print(f"{'':26}{'tol':>8}{'RMSE/tol':>10}{'covered':>9}{'steps':>11}{'CPU-s':>8}")
    for name, (v0, t1, observable, exact) in PROBLEMS.items():
        answer, costs, every = exact(t1), [], (*TOLERANCES, SMALLEST)
        for tol in every:
            begin, runs = time.process_time(), []
            count = arguments.runs if tol > SMALLEST else max(2, arguments.runs // 10)
            for number in range(count):
                key = jax.random.fold_in(jax.random.key(round(1 / tol)), number)
                runs.append(covsde.estimate(RELU, v0, t1, observable, tol=tol, key=key))
            seconds = (time.process_time() - begin) / count
            errors = np.array([one.value for one in runs]) - answer
            held = [one.interval[0] <= answer <= one.interval[1] for one in runs]
            costs.append(np.mean([one.cost for one in runs]))
            ratio = np.sqrt(np.mean(errors**2)) / tol
            print(
                f"{name:26}{tol:8.0e}{ratio:10.3f}{np.mean(held):9.3f}{costs[-1]:11.3g}"
                f"{seconds:8.2f}",
                flush=True,
            )
        for first in (0, 2):
            slope = stats.linregress(np.log(every[first:]), np.log(costs[first:])).slope
            print(f"{name:26} from {every[first]:.0e} on cost grows like tol^{slope:.2f}")


if __name__ == "__main__":
    main()
