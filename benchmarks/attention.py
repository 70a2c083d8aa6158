"""Attention: CPU time per path and step against a shaped MLP's, by inputs and paths.

`python -m benchmarks.attention` times the default solvers in one process and in turn, by as
many steps of as many paths each, and prints the least of several runs and the ratio to the
MLP of as many inputs. No number of paths should be much dearer than its neighbours.

`--first` prints CPU seconds of the first call instead, less those of the second: what is
checked, traced and compiled, each in a process of its own.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

import jax

import covsde

from .speed import LIMIT, cpu_time, start

LIMITS = {
    "MLP": LIMIT,
    "attention": covsde.ShapedAttention(0.5, 1.0),
    "Transformer": covsde.ShapedTransformer(LIMIT.activation, 0.5, 1.0),
}
DT0 = 0.005  # no path is fast enough to take less
SIZES, PATHS = [4, 8, 16], [500, 512, 10_000, 100_000]
FIRST = [2, 4, 8]


def steps_of(num_paths: int) -> int:
    """As many steps as make a run of about a second."""
    return max(4, min(40, 100_000 // num_paths))


def program(name: str, m: int, num_paths: int, steps: int) -> Callable:
    """The public call, as a function of the key."""
    limit, v0, t1 = LIMITS[name], start(m), DT0 * steps

    def run(key):
        return covsde.solve(limit, v0, t1, key=key, num_paths=num_paths, dt0=DT0).vs

    return run


def measure(m: int, num_paths: int, repeats: int) -> dict[str, float]:
    """The least CPU-µs per path and step of each limit, run in turn."""
    steps = steps_of(num_paths)
    table = {name: program(name, m, num_paths, steps) for name in LIMITS}
    key = jax.random.key(0)
    for run in table.values():
        jax.block_until_ready(run(key))  # compile
    least = dict.fromkeys(table, float("inf"))
    for i in range(repeats):
        for name, run in table.items():
            seconds = cpu_time(run, jax.random.fold_in(key, i))
            least[name] = min(least[name], seconds / num_paths / steps * 1e6)
    return least


def first_call(name: str, m: int) -> float:
    """CPU seconds of the first call, less those of the second, in this process."""
    run, key = program(name, m, 500, 4), jax.random.key(0)
    jax.block_until_ready((start(m), key))
    return cpu_time(run, key) - cpu_time(run, key)


def print_first_calls() -> None:
    """Each in a process of its own."""
    print("CPU-s of the first default solve, less the second")
    print(f"{'m':>4}" + "".join(f"{name:>14}" for name in LIMITS))
    for m in FIRST:
        row = f"{m:4}"
        for name in LIMITS:
            command = [sys.executable, "-m", "benchmarks.attention", "--one", name, str(m)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row += f"{float(done.stdout):14.2f}"
        print(row, flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, nargs="*", default=SIZES)
    parser.add_argument("--paths", type=int, nargs="*", default=PATHS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--first", action="store_true", help="CPU-s of the first call")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(first_call(arguments.one[0], int(arguments.one[1])))
        return
    if arguments.first:
        print_first_calls()
        return
    print("default solvers, float64: CPU-µs per path and step (times the MLP's)")
    print(f"{'m':>4}{'paths':>9}" + "".join(f"{name:>18}" for name in LIMITS))
    for m in arguments.m:
        for num_paths in arguments.paths:
            least = measure(m, num_paths, arguments.repeats)
            cells = [f"{x:9.2f} ({x / least['MLP']:5.2f})" for x in least.values()]
            print(f"{m:4}{num_paths:9}" + "".join(f"{c:>18}" for c in cells), flush=True)


if __name__ == "__main__":
    main()
