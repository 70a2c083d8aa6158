"""What a call takes beside its run: CPU seconds of calls after the first.

`python -m benchmarks.calls` prints the least of some repeats of

- `covsde.solve` of 64 paths by 8 steps, of one limit and of a new one each time, with a
  step that is given and with the automatic one;
- `covsde.sweep` of 1000 points of 1000 paths, beside one `covsde.solve` of as many paths;
- 8 steps of more paths, for what room for more steps costs.

Set `XLA_FLAGS=--xla_cpu_multi_thread_eigen=false` and `OMP_NUM_THREADS=1` on a machine that
does other things, too.
"""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np

import covsde

T1, PATHS, POINTS = 0.5, 1000, 1000


def shaped(c_minus: float) -> covsde.ShapedMLP:
    """An MLP of this shape."""
    return covsde.ShapedMLP(covsde.ShapedReLU(0.0, c_minus))


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The least CPU time of a call after the first."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    jax.config.update("jax_enable_x64", True)
    key, v0 = jax.random.key(0), np.eye(2) + 0.2
    limit, shapes = shaped(-1.0), iter(np.linspace(-1.0, -0.5, 10**6))

    def solve(limit: covsde.ShapedMLP, num_paths: int, dt0: float | None) -> jax.Array:
        solution = covsde.solve(limit, v0, T1, key=key, num_paths=num_paths, dt0=dt0)
        return solution.vs.block_until_ready()

    def sweep() -> object:
        return covsde.sweep(
            lambda c_minus: shaped(c_minus),
            {"c_minus": np.linspace(-1.0, -0.5, POINTS)},
            v0,
            T1,
            key=key,
            num_paths=PATHS,
            observables={"rho": covsde.observables.Correlation(0, 1)},
        )

    few = {
        "64 paths x 8 steps": lambda: solve(limit, 64, 1 / 16),
        "  automatic step": lambda: solve(limit, 64, None),
        "  a new limit": lambda: solve(shaped(next(shapes)), 64, None),
        "1,000 paths x 8 steps": lambda: solve(limit, PATHS, 1 / 16),
        "100,000 paths x 8 steps": lambda: solve(limit, 100 * PATHS, 1 / 16),
    }
    for name, call in few.items():
        print(f"{name:<28}{1e3 * seconds(call, 20 * repeats):8.2f} CPU-ms")
    swept = seconds(sweep, repeats)
    whole = seconds(lambda: solve(limit, POINTS * PATHS, None), repeats)
    print(f"{'sweep, 1000 x 1000 paths':<28}{swept:8.2f} CPU-s")
    print(f"{'solve, as many paths':<28}{whole:8.2f} CPU-s, ratio {swept / whole:.2f}")


if __name__ == "__main__":
    main()
