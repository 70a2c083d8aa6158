"""Speed: CPU time per path and step against the programs a user would write first.

`python -m benchmarks.speed` times, in one process and in turn (so that a drift of the
machine's speed cancels in the ratios), Euler–Maruyama

- as written first: `vmap` over paths of `diffeqsolve`, the m(m+1)/2-square Σ of one path,
  its symmetric root by `eigh`, a `VirtualBrownianTree`;
- as written second: the root by Cholesky, an `UnsafeBrownianPath`;
- as written best for Diffrax: no root, the noise `L S Lᵀ` as an operator, by `vmap`;
- as a loop over paths that Numba compiles, where it is installed;
- through `covsde.solve` with `diffrax.Euler()`, and the default weak-order-2 solver.

CPU time is of the whole process, all threads; the first call of each is not counted.
"""

import argparse
import importlib.util
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import covsde
from covsde._jit import jit
from covsde._normals import Normals
from covsde.matrices import num_entries
from covsde.solve import paths_at_a_time

from ._baselines import first_program, operator_program

STEPS = 50
T = 0.25
LIMIT = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
# paths per run: enough for every program to be past its overheads
PATHS = {2: 200_000, 4: 50_000, 8: 10_000, 16: 1_000, 32: 256}
BEST = "best of Diffrax: L S Lᵀ, an operator"
COMPILED = "a loop that Numba compiles"
NAIVE_PATHS = {2: 4_000, 4: 1_000, 8: 100, 16: 10, 32: 1}


def start(m: int) -> jax.Array:
    """A well-conditioned start, all correlations .3."""
    return 0.7 * jnp.eye(m) + 0.3


def naive(m: int, num_paths: int, root: str, brownian: str) -> Callable:
    """Euler–Maruyama as a user of Diffrax writes it from the paper's formulas."""
    return first_program(LIMIT, start(m), T, STEPS, num_paths, root=root, brownian=brownian)


def ours(m: int, num_paths: int, solver, normals: Normals = "box-muller") -> Callable:
    """The same through the public call."""
    v0 = start(m)
    return lambda key: (
        covsde.solve(
            LIMIT,
            v0,
            T,
            key=key,
            num_paths=num_paths,
            dt0=T / STEPS,
            solver=solver,
            normals=normals,
        ).vs
    )


def alone(m: int, num_paths: int, normals: Normals = "box-muller") -> Callable:
    """The increments of all steps, added up and nothing else."""
    size = min(num_paths, paths_at_a_time(m))

    @jit
    def run(key):
        def part(first_path):
            path = covsde.BrownianGrid(
                jnp.linspace(0.0, T, STEPS + 1),
                m,
                key=key,
                num_paths=size,
                first_path=first_path,
                normals=normals,
            )
            return path.evaluate(path.t0, path.t1)

        return lax.map(part, size * jnp.arange(-(-num_paths // size), dtype=jnp.uint32))

    return run


def of_jax(m: int, num_paths: int) -> Callable:
    """As many normals by `jax.random.normal`, added up and nothing else."""
    size = min(num_paths, paths_at_a_time(m))
    shape = num_entries(m), size

    @jit
    def run(key):
        def part(key):
            def add(i, total):
                return total + jax.random.normal(jax.random.fold_in(key, i), shape)

            return lax.fori_loop(0, STEPS, add, jnp.zeros(shape))

        return lax.map(part, jax.random.split(key, -(-num_paths // size)))

    return run


def programs(m: int) -> dict[str, tuple[Callable, int]]:
    """Name → (program, paths it runs)."""
    n, few = PATHS[m], NAIVE_PATHS[m]
    some = n // 10  # as many as stay in the cache
    loop = {}
    if importlib.util.find_spec("numba") is not None:
        from ._compiled import compiled_loop

        loop[COMPILED] = compiled_loop(LIMIT, start(m), T, STEPS, some), some
    return {
        "first: eigh root, VirtualBrownianTree": (naive(m, few, "eigh", "tree"), few),
        "second: Cholesky root, UnsafeBrownianPath": (
            naive(m, few, "cholesky", "unsafe"),
            few,
        ),
        BEST: (operator_program(LIMIT, start(m), T, STEPS, some), some),
        **loop,
        "covsde, diffrax.Euler": (ours(m, n, diffrax.Euler()), n),
        "covsde, FactorEuler": (ours(m, n, covsde.FactorEuler()), n),
        "covsde, default (weak order 2)": (ours(m, n, covsde.GeodesicStrang()), n),
        "the normals of Euler alone": (alone(m, n), n),
        "Euler, normals by inversion": (ours(m, n, diffrax.Euler(), "inverse"), n),
        "these normals alone": (alone(m, n, "inverse"), n),
        "normals of `jax.random.normal` alone": (of_jax(m, n), n),
    }


def cpu_time(program: Callable, key) -> float:
    """CPU seconds of one run."""
    begin = time.process_time()
    jax.block_until_ready(program(key))
    return time.process_time() - begin


def measure(m: int, repeats: int) -> dict[str, list[float]]:
    """CPU-ns per path and step of each program, run in turn `repeats` times."""
    table = programs(m)
    key = jax.random.key(0)
    for program, _ in table.values():
        jax.block_until_ready(program(key))  # compile
    times = {name: [] for name in table}
    for i in range(repeats):
        for name, (program, paths) in table.items():
            seconds = cpu_time(program, jax.random.fold_in(key, i))
            times[name].append(seconds / paths / STEPS * 1e9)
    return times


def main() -> None:
    """Prints the table, with ratios to the first program and to the best run by run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--m", type=int, nargs="*", default=[2, 4, 8, 16])
    parser.add_argument("--out", type=Path, help="write the measurements as JSON")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {jax.devices()[0].device_kind}, float64"
    print(f"{machine}, {STEPS} steps, CPU-ns per path and step (median of paired runs)")
    results: dict[str, Any] = {"machine": machine}
    for m in arguments.m:
        times = measure(m, arguments.repeats)
        results[str(m)] = times
        names = list(times)
        print(f"\nm = {m:<38}{'CPU-ns':>10}{'first / this':>14}{'best / this':>13}")
        for name in names:
            ratios = [
                np.median(np.array(times[base]) / np.array(times[name]))
                for base in (names[0], BEST)
            ]
            print(
                f"  {name:40}{np.median(times[name]):10.0f}"
                f"{ratios[0]:14.1f}{ratios[1]:13.1f}"
            )
        took = {name: np.array(values) for name, values in times.items()}
        euler = took["covsde, diffrax.Euler"]
        inverted = took["Euler, normals by inversion"]
        for name, ratio in {
            "second / Euler": took[names[1]] / euler,
            "Euler / its normals": euler / took["the normals of Euler alone"],
            "by inversion": inverted / took["these normals alone"],
            "Euler / jax's normals": euler / took["normals of `jax.random.normal` alone"],
            "default / Euler": took["covsde, default (weak order 2)"] / euler,
        }.items():
            print(f"  {name:40}{np.median(ratio):10.2f}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
