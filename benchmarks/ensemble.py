"""Ensembles: time per path, memory and the cost of statistics, and two devices over one.

`python -m benchmarks.ensemble` measures, on two inputs of a shaped ReLU network, T = 1
by default steps, with `log V` of an input and the correlation as observables,

- (a) ensembles of 1e5 to `--paths` paths: CPU and wall time per path, the first call of
  each not counted, and the largest memory that the process ever had;
- (b) the reduction: the time per path with statistics less that of a sum alone;
- (c) two host devices over one, in turn in a process that has two: wall time.

CPU time is of the whole process, all threads.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde.observables import Correlation, LogNorm
from covsde.solve import paths_at_a_time
from covsde.statistics import Moments

jax.config.update("jax_enable_x64", True)
LIMIT = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
V0, KEY = jnp.array([[1.0, 0.3], [0.3, 1.0]]), jax.random.key(0)
T = 1.0
OBSERVABLES = {"log V": LogNorm(0), "rho": Correlation(0, 1)}


def run(num_paths: int, **options) -> covsde.Ensemble:
    """The ensemble that is measured."""
    options = dict(observables=OBSERVABLES, devices=1) | options
    return covsde.ensemble(LIMIT, V0, T, key=KEY, num_paths=num_paths, **options)


def timed(num_paths: int, **options) -> tuple[float, float]:
    """CPU and wall nanoseconds per path."""
    cpu, wall = time.process_time(), time.perf_counter()
    run(num_paths, **options)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / num_paths * 1e9, wall / num_paths * 1e9


def peak() -> float:
    """The largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def sizes(most: int, repeats: int) -> list[dict]:
    """Ensembles of growing size; of small ones the least of several, for others' work on
    the machine only adds."""
    counts = [10**k for k in range(5, 10) if 10**k <= most]
    for count in (*counts[:2], 3 * paths_at_a_time(2)):
        run(count)  # compile: from 1e7 on, for whole blocks
    rows = []
    for count in counts:
        times = [timed(count) for _ in range(repeats if count <= 1_000_000 else 1)]
        cpu, wall = np.min(times, axis=0).tolist()
        rows.append({"paths": count, "cpu_ns": cpu, "wall_ns": wall, "peak_gb": peak()})
        print(f"{count:12,}{cpu:12.0f}{wall:12.0f}{peak():12.2f}", flush=True)
    return rows


class Sum(Moments):
    """The least that can be kept of the values: their number and their sum."""

    def update(self, state, values, where=None):
        """Adds to the mean alone."""
        return state | {"mean": state["mean"] + jnp.sum(values, axis=-1)}


def reduction(repeats: int, num_paths: int = 500_000) -> dict[str, float]:
    """CPU-ns per path that statistics of two observables add to the simulation."""
    kinds = {
        "a sum": (Sum(),),
        "Moments": (Moments(),),
        "Quantiles": (covsde.statistics.Quantiles(),),
        "Covariance": (covsde.statistics.Covariance(),),
        "the default": None,
    }
    for statistics in kinds.values():
        run(num_paths, statistics=statistics)  # compile
    times = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, statistics in kinds.items():
            times[kind].append(timed(num_paths, statistics=statistics)[0])
    base = np.array(times["a sum"])
    added = {kind: float(np.median(np.array(x) - base)) for kind, x in times.items()}
    return {"simulation": float(np.median(base))} | {
        kind: x for kind, x in added.items() if kind != "a sum"
    }


def compare_devices(pairs: int, num_paths: int = 2_000_000) -> list[tuple[float, float]]:
    """Wall nanoseconds per path on one and on two host devices, in turn.

    Both in this process, so that the machine's other work falls on both alike.
    """
    for devices in (1, 2):
        run(num_paths, devices=devices)  # compile
    return [
        (timed(num_paths, devices=1)[1], timed(num_paths, devices=2)[1])
        for _ in range(pairs)
    ]


def on_two_devices(pairs: int) -> list[list[float]]:
    """`compare_devices` in a process that has two of them."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ensemble", "--devices", str(pairs)],
        env=os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=10_000_000, help="of the largest")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=20, help="of one and two devices")
    parser.add_argument("--out", type=Path, help="write the measurements as JSON")
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.devices:
        print(json.dumps(compare_devices(arguments.devices)))
        return

    print(f"{'paths':>12}{'CPU-ns':>12}{'wall-ns':>12}{'peak GB':>12}")
    results: dict = {"sizes": sizes(arguments.paths, arguments.repeats)}

    added = reduction(arguments.repeats)
    print(f"\nsimulation and a sum: {added.pop('simulation'):.0f} CPU-ns a path; on top")
    for kind, x in added.items():
        print(f"  {kind:14}{x:8.1f}")
    results["reduction"] = added

    pairs = np.array(on_two_devices(arguments.pairs))
    low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], (0.25, 0.5, 0.75))
    least = pairs.min(axis=0)
    print(
        f"\none device {least[0]:.0f}, two {least[1]:.0f} wall-ns a path at best; ratio of "
        f"pairs {middle:.2f} (quartiles {low:.2f}, {high:.2f})"
    )
    results["devices"] = pairs.tolist()
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
