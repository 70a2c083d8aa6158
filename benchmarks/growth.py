"""Growth: CPU time of a step in the number of inputs.

`python -m benchmarks.growth` times the default solver and Euler's at 16 to 128 inputs in
turn, and prints the exponents of m between neighbours and over the whole range.
"""

import argparse

import diffrax
import jax
import numpy as np

from .speed import STEPS, cpu_time, ours

PATHS = {16: 1024, 32: 256, 64: 64, 128: 64}
SOLVERS = {"default": None, "diffrax.Euler": diffrax.Euler()}


def measure(repeats: int) -> dict[str, dict[int, float]]:
    """CPU-µs per path and step, the median of `repeats` runs in turn."""
    programs = {
        (name, m): ours(m, count, solver)
        for name, solver in SOLVERS.items()
        for m, count in PATHS.items()
    }
    for program in programs.values():
        jax.block_until_ready(program(jax.random.key(0)))  # compile
    times = {which: [] for which in programs}
    for i in range(repeats):
        for (name, m), program in programs.items():
            seconds = cpu_time(program, jax.random.key(i + 1))
            times[name, m].append(seconds / PATHS[m] / STEPS * 1e6)
    return {name: {m: float(np.median(times[name, m])) for m in PATHS} for name in SOLVERS}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    found = measure(parser.parse_args().repeats)
    sizes = list(PATHS)
    print(f"CPU-µs per path and step{'':8}" + "".join(f"{f'm = {m}':>10}" for m in sizes))
    for name, times in found.items():
        print(f"{name:32}" + "".join(f"{times[m]:10.1f}" for m in sizes))
    ratios = [found["default"][m] / found["diffrax.Euler"][m] for m in sizes]
    print(f"{'default / Euler':32}" + "".join(f"{ratio:10.1f}" for ratio in ratios))
    for name, times in found.items():
        logs = np.log2([times[m] for m in sizes])
        steps = ", ".join(f"{x:.2f}" for x in np.diff(logs))
        whole = (logs[-1] - logs[0]) / (len(sizes) - 1)
        print(f"{name}: exponent {whole:.2f} from {sizes[0]} to {sizes[-1]} ({steps})")


if __name__ == "__main__":
    main()
