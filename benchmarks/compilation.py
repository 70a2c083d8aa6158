"""Compilation: CPU time of the first call of `covsde.solve`, less that of the second.

`python -m benchmarks.compilation` starts a process for each number of inputs and repeat,
and prints the median: what is checked, traced and compiled of a default solve. Importing
JAX and covsde is not counted. `--loop` counts what 20 calls of `solve` compile, and 6 of
each other, that differ in time, parameters, paths, level and saved times. `--kept` compares
first calls, all of their time, in processes that find no programs on disk, find those of
the first, and keep none.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import jax
import numpy as np

import covsde
from covsde.cli._cache import keep_programs

from .speed import LIMIT, cpu_time, start

LIMITS = {
    "mlp": lambda: LIMIT,
    "attention": lambda: covsde.ShapedAttention(0.5, 1.0),
    "transformer": lambda: covsde.ShapedTransformer(LIMIT.activation, 0.5, 1.0),
}
# of larger Transformers a program takes long, and no other is known to be asked for
KEPT = {"mlp": (2, 4, 8, 16, 64), "attention": (2, 4, 8, 16, 64), "transformer": (2, 4, 8)}


def first_call(name: str, m: int) -> tuple[float, float]:
    """CPU seconds, in a process in which nothing was compiled for it yet; of the second."""
    keep_programs()
    limit, v0, key = LIMITS[name](), start(m), jax.random.key(0)
    jax.block_until_ready((v0, key))

    def program(key):
        # more steps add nothing to the program
        return covsde.solve(limit, v0, 0.02, key=key, num_paths=1000, dt0=1e-3).vs

    return cpu_time(program, key), cpu_time(program, key)


def measure(name: str, m: int, kept: str = "0") -> tuple[float, float]:
    """The same in a new process, which keeps its programs in a folder."""
    command = [sys.executable, "-m", "benchmarks.compilation", "--one", name, str(m)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COVSDE_CACHE": kept},
    )
    first, second = map(float, done.stdout.split())
    return first, second


def print_kept(names: list[str], ms: list[int] | None) -> None:
    """The first call where nothing is kept yet, where it was, and without a folder."""
    print("CPU-s of the first call   empty    kept   ratio    none")
    for name in names:
        for m in ms or KEPT[name]:
            with tempfile.TemporaryDirectory() as folder:
                empty, kept = (measure(name, m, folder)[0] for _ in range(2))
            none, _ = measure(name, m)
            told = f"{empty:8.2f}{kept:8.2f}{kept / empty:8.2f}{none:8.2f}"
            print(f"{name:<12} m = {m:<6}{told}", flush=True)


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
    parser.add_argument("--m", type=int, nargs="*")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kept", nargs="*", choices=[*LIMITS], help="what a folder saves")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--loop", action="store_true", help="count what 20 calls compile")
    arguments = parser.parse_args()
    if arguments.loop:
        print("programs that each call compiles")
        for call in ("solve", "ensemble", "sweep", "estimate"):
            print(f"{call:<10}", *loop(call, 20 if call == "solve" else 6))
        return
    if arguments.one is not None:
        print(*first_call(arguments.one[0], int(arguments.one[1])))
        return
    if arguments.kept is not None:
        print_kept(arguments.kept or [*LIMITS], arguments.m)
        return
    print("CPU-s of the first default solve, less the second (median; least, most)")
    for m in arguments.m or [2, 4, 8, 16, 64]:
        pairs = [measure("mlp", m) for _ in range(arguments.repeats)]
        times = [first - second for first, second in pairs]
        print(f"m = {m:<4}{np.median(times):6.2f}   {min(times):.2f}, {max(times):.2f}")


if __name__ == "__main__":
    main()
