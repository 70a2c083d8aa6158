"""Busy cores: how long a default call takes beside processes that keep all cores busy.

`python -m benchmarks.busy` times, each in a fresh process and in turn, a default call at 32
inputs on an idle machine and beside two processes that only count. Wall time, of the second
call, which compiles nothing.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time

import jax
import numpy as np

from .speed import ours, start


def measure(m: int, num_paths: int) -> float:
    """Wall seconds of one call in this process."""
    jax.block_until_ready(start(m))
    call = ours(m, num_paths, None)
    jax.block_until_ready(call(jax.random.key(0)))  # compile
    begin = time.perf_counter()
    jax.block_until_ready(call(jax.random.key(1)))
    return time.perf_counter() - begin


def in_new_process(m: int, num_paths: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.busy", "--one"]
    command += ["--m", str(m), "--paths", str(num_paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def count_for_ever() -> None:
    """Keeps a core busy."""
    while True:
        pass


def beside(others: int, m: int, num_paths: int) -> float:
    """The same beside so many busy processes."""
    context = multiprocessing.get_context("spawn")
    busy = [context.Process(target=count_for_ever, daemon=True) for _ in range(others)]
    for process in busy:
        process.start()
    try:
        return in_new_process(m, num_paths)
    finally:
        for process in busy:
            process.terminate()
            process.join()


def main() -> None:
    """Prints both times and their ratio, the medians of paired runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--m", type=int, default=32)
    parser.add_argument("--paths", type=int, default=1024)
    parser.add_argument("--others", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    m, num_paths = arguments.m, arguments.paths
    if arguments.one:
        print(measure(m, num_paths))
        return
    idle, busy = [], []
    for _ in range(arguments.repeats):
        idle.append(in_new_process(m, num_paths))
        busy.append(beside(arguments.others, m, num_paths))
    ratio = np.median(np.array(busy) / np.array(idle))
    print(
        f"m = {m}, {num_paths:,} paths, wall s: alone {np.median(idle):.2f}, beside "
        f"{arguments.others} busy processes {np.median(busy):.2f}, ratio {ratio:.1f}"
    )


if __name__ == "__main__":
    main()
