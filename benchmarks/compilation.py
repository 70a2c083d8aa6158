"""Compilation: CPU time of the first call of `covsde.solve`, less that of the second.

`python -m benchmarks.compilation` starts a process for each number of inputs and repeat,
and prints the median: what is checked, traced and compiled of a default solve. Importing
JAX and covsde is not counted.
"""

import argparse
import subprocess
import sys

import jax
import numpy as np

import covsde

from .speed import LIMIT, cpu_time, start


def first_call(m: int) -> float:
    """CPU seconds, in a process in which nothing was compiled for it yet."""
    v0, key = start(m), jax.random.key(0)
    jax.block_until_ready((v0, key))

    def program(key):
        # more steps add nothing to the program
        return covsde.solve(LIMIT, v0, 0.02, key=key, num_paths=1000, dt0=1e-3).vs

    return cpu_time(program, key) - cpu_time(program, key)


def measure(m: int) -> float:
    """The same in a new process."""
    command = [sys.executable, "-m", "benchmarks.compilation", "--one", str(m)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=[2, 4, 8, 16, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(first_call(arguments.one))
        return
    print("CPU-s of the first default solve, less the second (median; least, most)")
    for m in arguments.m:
        times = [measure(m) for _ in range(arguments.repeats)]
        print(f"m = {m:<4}{np.median(times):6.2f}   {min(times):.2f}, {max(times):.2f}")


if __name__ == "__main__":
    main()
