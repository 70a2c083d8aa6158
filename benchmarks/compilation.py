"""Compilation: CPU time of the first call of `covsde.solve`, less that of the second.

`python -m benchmarks.compilation` starts a process for each number of inputs and repeat,
and prints the median: what is checked, traced and compiled of a default solve. Importing
JAX and covsde is not counted. `--loop` counts what 20 calls of `solve` compile, and 6 of
each other, that differ in time, parameters, paths, level and saved times.
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


def loop(call: str, number: int) -> list[int]:
    """Programs that each of so many calls compiles."""
    counts, draw = [], np.random.default_rng(0)

    def listen(name: str, seconds: float, **_) -> None:
        counts[-1] += name.endswith("backend_compile_duration")

    v0, key, rho = start(2), jax.random.key(0), covsde.observables.Correlation(0, 1)
    jax.monitoring.register_event_duration_secs_listener(listen)
    for i in range(number):
        t1, num_paths = draw.uniform(0.2, 2.0), int(draw.integers(500, 20_000))
        asked = {
            "key": jax.random.fold_in(key, i),
            "num_paths": num_paths,
            "saveat": np.linspace(0, t1, 5 + i % 4),
            "stop_above": 4.0 + i,
        }
        counts.append(0)
        if call == "ensemble":
            covsde.ensemble(shaped(-1 / (1 + i)), v0, t1, observables=rho, **asked)
            continue
        if call == "sweep":
            grid = {"c_minus": np.linspace(-1, -0.1, 8 + i)}
            covsde.sweep(shaped, grid, v0, t1, observables=rho, **asked)
            continue
        if call == "estimate":
            del asked["num_paths"], asked["saveat"]
            tol = draw.uniform(0.02, 0.1)
            covsde.estimate(shaped(-1 / (1 + i)), v0, t1, rho, tol=tol, **asked)
            continue
        if i % 2:
            activation = covsde.ShapedSmooth(lambda x: jax.numpy.tanh(x), 1.0 + i)
            level = None if i % 4 == 1 else 4.0 + i
        else:
            activation, level = covsde.ShapedReLU(0.0, -1.0 / (1 + i)), None
        asked["stop_above"] = level
        covsde.solve(covsde.ShapedMLP(activation), v0, t1, **asked)
    return counts


def shaped(c_minus: float) -> covsde.ShapedMLP:
    """An MLP of this shape."""
    return covsde.ShapedMLP(covsde.ShapedReLU(0.0, c_minus))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=[2, 4, 8, 16, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--loop", action="store_true", help="count what 20 calls compile")
    arguments = parser.parse_args()
    if arguments.loop:
        print("programs that each call compiles")
        for call in ("solve", "ensemble", "sweep", "estimate"):
            print(f"{call:<10}", *loop(call, 20 if call == "solve" else 6))
        return
    if arguments.one is not None:
        print(first_call(arguments.one))
        return
    print("CPU-s of the first default solve, less the second (median; least, most)")
    for m in arguments.m:
        times = [measure(m) for _ in range(arguments.repeats)]
        print(f"m = {m:<4}{np.median(times):6.2f}   {min(times):.2f}, {max(times):.2f}")


if __name__ == "__main__":
    main()
