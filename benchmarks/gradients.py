"""What a gradient costs: reverse and forward mode against the solve alone.

`python -m benchmarks.gradients` runs, in one process and in turn, the mean correlation of
the default solver in 64 steps alone, its gradient with respect to `c_minus`, that to `V0`
as well, and its derivative in `c_minus` in forward mode; with the temporary memory that
each compiled program asks for. CPU time is of the whole process, all threads.
"""

import argparse
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde._jit import CPU_OPTIONS
from covsde.observables import correlation

STEPS, T = 64, 1.0
# parts of the paths are alike; more of them change the ratios only beyond 128 MB of states
PATHS = {2: 16_384, 4: 8_192, 8: 1_820}


def programs(m: int, num_paths: int):
    """Name → compiled program of `c_minus` and `V0`."""

    def mean(c_minus, v0):
        solution = covsde.solve(
            covsde.ShapedMLP(covsde.ShapedReLU(0.0, c_minus)),
            v0,
            T,
            key=jax.random.key(0),
            num_paths=num_paths,
            dt0=T / STEPS,
        )
        return jnp.mean(correlation(solution.vs[:, -1])[:, 0, 1])

    def along(c_minus, v0):
        return jax.jvp(lambda c: mean(c, v0), (c_minus,), (1.0,))

    functions = {
        "solve": mean,
        "reverse, c_minus": jax.value_and_grad(mean),
        "reverse, c_minus and V0": jax.value_and_grad(mean, argnums=(0, 1)),
        "forward, c_minus": along,
    }
    at = jnp.array(-1.0), 0.7 * jnp.eye(m) + 0.3
    for name, function in functions.items():
        begin = time.process_time()
        compiled = jax.jit(function, compiler_options=CPU_OPTIONS).lower(*at).compile()
        yield name, compiled, at, time.process_time() - begin


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--m", type=int, nargs="*", default=list(PATHS))
    parser.add_argument("--paths", type=int, help="instead of the default for each m")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, float64, {STEPS} steps")
    for m in arguments.m:
        num_paths = arguments.paths or PATHS[m]
        made = list(programs(m, num_paths))
        times = {name: [] for name, *_ in made}
        for turn in range(arguments.repeats + 1):
            for name, program, at, _ in made:
                begin = time.process_time()
                jax.block_until_ready(program(*at))
                if turn:
                    times[name].append(time.process_time() - begin)
        alone = np.array(times["solve"])
        head = f"{'CPU-ns':>10}{'ratio':>8}{'MB':>8}{'compile s':>11}"
        print(f"\n{f'm = {m}, {num_paths:,} paths':34}{head}")
        for name, program, _, seconds in made:
            took = np.array(times[name])
            size = program.memory_analysis().temp_size_in_bytes / 2**20
            print(
                f"  {name:32}{np.median(took) / num_paths / STEPS * 1e9:10.0f}"
                f"{np.median(took / alone):8.2f}{size:8.1f}{seconds:11.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
