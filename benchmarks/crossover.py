"""Crossover: the numbers of inputs at which the layouts of matrices meet.

`python -m benchmarks.crossover` runs the default solver with the layout of the matrices
forced each way and prints CPU time per path and step, and the time to compile. It is why
`covsde.matrices.PACKED_MAX` and `ROWS_MAX` are what they are.
"""

import argparse
import subprocess
import sys
import time

SIZES = [2, 3, 4, 6, 8, 12, 16]
LAYOUTS = ("packed", "rows", "whole")
MOST_PACKED = 6  # beyond, they take minutes to compile
STEPS = 20


def measure(m: int, layout: str, num_paths: int, repeats: int) -> tuple[float, float]:
    """(CPU-ns per path and step, seconds to compile) in this process."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from covsde.matrices import _layout

    _layout.PACKED_MAX = m if layout == "packed" else m - 1
    _layout.ROWS_MAX = m if layout in ("packed", "rows") else m - 1
    import covsde

    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))

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
    best = float(np.median(times))
    return best / num_paths / STEPS * 1e9, first - best


def main() -> None:
    """Each layout and size in a fresh process, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--one", nargs=2, metavar=("M", "LAYOUT"), help="one measurement")
    arguments = parser.parse_args()
    if arguments.one:
        m, layout = int(arguments.one[0]), arguments.one[1]
        print(*measure(m, layout, arguments.paths, arguments.repeats))
        return
    print("default solver, shaped ReLU, float64: CPU-ns per path and step (compile, CPU-s)")
    print(f"{'m':>4}" + "".join(f"{layout:>26}" for layout in LAYOUTS))
    for m in arguments.sizes:
        row = {}
        for layout in LAYOUTS if m <= MOST_PACKED else LAYOUTS[1:]:
            command = [
                sys.executable,
                "-m",
                "benchmarks.crossover",
                "--one",
                str(m),
                layout,
            ]
            command += [
                "--paths",
                str(arguments.paths),
                "--repeats",
                str(arguments.repeats),
            ]
            printed = subprocess.run(command, capture_output=True, text=True, check=True)
            row[layout] = [float(x) for x in printed.stdout.split()]
        cells = [
            f"{row[layout][0]:16.0f} ({row[layout][1]:5.1f} s)" if layout in row else ""
            for layout in LAYOUTS
        ]
        print(f"{m:4}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
