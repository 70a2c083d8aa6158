"""Literal networks: CPU time of a sample against that of a path of their limit.

`python -m benchmarks.literal` draws all weights of shaped ReLU networks of width and depth
200, and solves their limit to the same time, T = 1, by default steps or in `--steps` of
them. A sample of either has the same variance, so that equal numbers have equal Monte-Carlo
errors.
"""

import argparse

import jax
import numpy as np

import covsde
from covsde import oracles

from .speed import LIMIT, cpu_time, start

WIDTH, T = 200, 1.0
# networks and paths of a run
COUNTS = {2: (200, 200_000), 8: (100, 20_000)}


def programs(m: int, steps: int | None):
    """A run of networks, and one of paths."""
    networks, paths = COUNTS[m]
    dt0 = None if steps is None else T / steps
    literal_weights = {"width": WIDTH, "num_networks": networks, "method": "weights"}

    def literal(key):
        return oracles.sample(LIMIT, start(m), T, key=key, **literal_weights).vs

    def limit(key):
        return covsde.solve(LIMIT, start(m), T, key=key, num_paths=paths, dt0=dt0).vs

    return literal, limit


def main() -> None:
    """Prints a line for each number of inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of the limit; else its default")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    print(f"CPU-µs a sample, n = {WIDTH}, T = {T:g}, float64 (weights in float32)")
    print(f"{'m':>3}{'network':>12}{'path':>10}{'ratio':>10}")
    for m, counts in COUNTS.items():
        pair = programs(m, arguments.steps)
        for program in pair:
            jax.block_until_ready(program(jax.random.key(0)))  # compile
        times = np.array(
            [
                [
                    cpu_time(program, jax.random.key(i + 1)) / count * 1e6
                    for program, count in zip(pair, counts, strict=True)
                ]
                for i in range(repeats)
            ]
        )
        network, path = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(f"{m:3}{network:12.0f}{path:10.2f}{ratio:10.0f}")


if __name__ == "__main__":
    main()
