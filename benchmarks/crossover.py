"""Crossover: the numbers of inputs at which the layouts of matrices meet.

`python -m benchmarks.crossover` runs the default solvers of an MLP and of attention with
the layout of the matrices forced each way and prints CPU time per path and step, and the
time to compile. It is why `covsde.matrices.PACKED_MAX` and `ROWS_MAX` are what they are.
"""

import argparse
import subprocess
import sys
import time

SIZES = [2, 3, 4, 5, 6, 7, 8, 12, 16]
LIMITS = ("MLP", "attention")
LAYOUTS = ("packed", "rows", "whole")
MOST_PACKED = 7  # beyond, whole rows have long been the faster
STEPS = 20


def measure(
    name: str, m: int, layout: str, num_paths: int, repeats: int
) -> tuple[float, float]:
    """(CPU-ns per path and step, seconds to compile) of a limit in this process."""
    import jax
    import jax.numpy as jnp

    from covsde.matrices import _layout

    _layout.PACKED_MAX = m if layout == "packed" else m - 1
    _layout.ROWS_MAX = m if layout in ("packed", "rows") else m - 1
    import covsde

    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    if name == "attention":
        limit = covsde.ShapedAttention(0.5, 1.0)

    def run():
        solution = covsde.solve(
            limit,
            0.7 * jnp.eye(m) + 0.3,
            0.02 * STEPS,
            key=jax.random.key(0),
            num_paths=num_paths,
            dt0=0.02,
        )
        return jax.block_until_ready(solution.vs)

    begin = time.process_time()
    run()
    first = time.process_time() - begin
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    best = min(times)
    return best / num_paths / STEPS * 1e9, first - best


def main() -> None:
    """Each layout and size in a fresh process, in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--paths", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--limits", nargs="*", choices=LIMITS, default=LIMITS)
    parser.add_argument("--most-packed", type=int, default=MOST_PACKED)
    parser.add_argument("--one", nargs=3, metavar=("LIMIT", "M", "LAYOUT"))
    arguments = parser.parse_args()
    numbers = arguments.paths, arguments.repeats
    if arguments.one:
        name, m, layout = arguments.one
        print(*measure(name, int(m), layout, *numbers))
        return
    print("default solvers, float64: CPU-ns per path and step, the least (compile, CPU-s)")
    for name in arguments.limits:
        print(f"{name:>10}" + "".join(f"{layout:>26}" for layout in LAYOUTS))
        for m in arguments.sizes:
            row = f"{m:10}"
            for layout in LAYOUTS:
                cell = ""
                if layout != "packed" or m <= arguments.most_packed:
                    nanoseconds, seconds = in_new_process(name, m, layout, *numbers)
                    cell = f"{nanoseconds:16.0f} ({seconds:5.1f} s)"
                row += f"{cell:>26}"
            print(row, flush=True)


def in_new_process(
    name: str, m: int, layout: str, num_paths: int, repeats: int
) -> tuple[float, ...]:
    """`measure`, where nothing was compiled."""
    command = [sys.executable, "-m", "benchmarks.crossover"]
    command += ["--one", name, str(m), layout]
    command += ["--paths", str(num_paths), "--repeats", str(repeats)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(float(x) for x in printed.split())


if __name__ == "__main__":
    main()
