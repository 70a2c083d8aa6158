"""Cores: wall time on one device of the CPU and on two, and whether bits are the same.

`python -m benchmarks.cores` starts a process with one device and one with two, again and
again in turn, and prints for each case the least wall time of each, past compilation, their
ratio (and its quartiles over the pairs), and whether all numbers are the same to the bit.
`validate` is the command of the command line, figures and all. Other processes must leave
two cores alone; the ratio of CPU seconds says what sharing costs.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde import ShapedAttention, ShapedMLP, ShapedReLU, ShapedSmooth, oracles
from covsde.observables import Correlation, LogNorm

from .speed import LIMIT, start

KEY = jax.random.key
TANH = ShapedSmooth(jnp.tanh, 1.0)


def solve(
    m: int, num_paths: int, limit: covsde.AbstractLimit = LIMIT, t1: float = 0.5
) -> np.ndarray:
    """Paths by default steps."""
    return np.asarray(covsde.solve(limit, start(m), t1, key=KEY(0), num_paths=num_paths).vs)


def sweep() -> np.ndarray:
    """Thirty-two points, with a derivative."""
    table = covsde.sweep(
        lambda c_minus: ShapedMLP(ShapedReLU(0.0, c_minus)),
        {"c_minus": np.linspace(-2.0, -0.5, 32)},
        start(3),
        0.5,
        key=KEY(1),
        num_paths=4_000,
        observables=[LogNorm(0), Correlation(0, 1)],
        gradients=["c_minus"],
    )
    return np.concatenate([np.asarray(x, float).ravel() for x in table.values()])


def estimate() -> np.ndarray:
    """An expectation to three digits."""
    limit, first = ShapedMLP(TANH), Correlation(0, 1)
    told = covsde.estimate(limit, start(4), 1.0, first, key=KEY(2), tol=3e-4)
    return np.asarray([told.value, *told.interval, told.cost])


def networks(method: str, width: int, number: int) -> np.ndarray:
    """Finite networks of seven inputs."""
    sampled = oracles.sample(
        ShapedMLP(TANH),
        start(7),
        0.5,
        width=width,
        key=KEY(3),
        num_networks=number,
        method=method,
    )
    return np.asarray(sampled.vs)


def validate() -> np.ndarray:
    """The main study on the command line: its files, but for the figures."""
    import h5netcdf

    from covsde.cli import app

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            app(["validate", "--out", folder], standalone_mode=False)
        told = []
        for file in sorted(Path(folder).rglob("*.nc")):
            with h5netcdf.File(file) as data:
                arrays = (np.asarray(x[()]) for x in data.variables.values())
                told += [x.ravel() for x in arrays if x.dtype.kind == "f"]
    return np.concatenate(told)


CASES: dict[str, Callable[[], np.ndarray]] = {
    "solve, 2 inputs": lambda: solve(2, 400_000),
    "solve, 4 inputs": lambda: solve(4, 200_000),
    "solve, attention, 4 inputs": lambda: solve(4, 40_000, ShapedAttention(0.5, 1.0)),
    "solve, 32 inputs": lambda: solve(32, 1_000, t1=0.1),
    "sweep": sweep,
    "estimate": estimate,
    "networks, gram": lambda: networks("gram", 64, 8_000),
    "networks, weights": lambda: networks("weights", 64, 2_000),
    "validate": validate,
}


def timed(devices: int, names: list[str], repeats: int) -> dict[str, list]:
    """Past the first call: least wall and CPU seconds of a case, a hash of its numbers."""
    assert jax.local_device_count() == devices
    jax.config.update("jax_enable_x64", True)
    results = {}
    for name in names:
        numbers, times = CASES[name](), []
        for _ in range(repeats):
            before = time.perf_counter(), time.process_time()
            again = CASES[name]()
            times.append([time.perf_counter() - before[0], time.process_time() - before[1]])
            assert again.tobytes() == numbers.tobytes()
        wall, cpu = np.min(times, axis=0)
        results[name] = [wall, cpu, hashlib.sha256(numbers.tobytes()).hexdigest()]
    return results


def measure(devices: int, names: list[str], repeats: int, folder: str) -> dict[str, list]:
    """The same in a new process, which keeps what it compiles in a folder."""
    command = [sys.executable, "-m", "benchmarks.cores", *names]
    command += ["--devices", str(devices), "--repeats", str(repeats), "--folder", folder]
    env = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="; ".join(CASES))
    parser.add_argument("--pairs", type=int, default=5, help="of processes")
    parser.add_argument("--repeats", type=int, default=3, help="of a case in a process")
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.cases or list(CASES)
    if arguments.devices:
        jax.config.update("jax_compilation_cache_dir", arguments.folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        print(json.dumps(timed(arguments.devices, names, arguments.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        pairs = [
            [measure(devices, names, arguments.repeats, folder) for devices in (1, 2)]
            for _ in range(arguments.pairs)
        ]
    print(
        f"{'wall-s past compilation':28}{'one':>8}{'two':>8}{'ratio':>7}  quartiles   bits"
    )
    for name in names:
        one, two = ([pair[i][name] for pair in pairs] for i in (0, 1))
        walls = np.array([[x[0] for x in one], [x[0] for x in two]])
        low, high = np.quantile(walls[0] / walls[1], [0.25, 0.75])
        least, same = walls.min(axis=1), len({x[2] for x in one + two}) == 1
        cpu = min(x[1] for x in two) / min(x[1] for x in one)
        print(
            f"{name:28}{least[0]:8.3f}{least[1]:8.3f}{least[0] / least[1]:7.2f}  "
            f"{low:.2f} – {high:.2f}  {'same' if same else 'DIFFER'}  (CPU {cpu:.2f})"
        )


if __name__ == "__main__":
    main()
