"""Ensembles whose process is killed at random, over and over, against one that never was.

`python -m benchmarks.kills` runs `covsde.ensemble` with `save` and `checkpoint` in a
process of its own, in small chunks, each written to both. SIGKILL ends it at a random
moment: half of them from when the run begins or is taken up again, half from its first
chunk on. It is started again until it ends, and runs are begun anew until there were
enough kills. After each the file must open with xarray, and the paths that it has must be
right; in the end every byte of it, and all statistics, must be those of a run that was not
killed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray

import covsde
from covsde.observables import Correlation, LogNorm

ENDINGS = ("nc", "zarr")
# The latest that a process is killed (seconds) after it has begun, or written a chunk.
LATEST = {"begun": 2.0, "chunk": 2.0}


def run(folder: Path, ending: str) -> None:
    """The ensemble, in the process that is killed; it says how far it is."""
    print("begun", flush=True)
    told = iter(["chunk"])
    result = covsde.ensemble(
        covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0)),
        jnp.array([[1.0, 0.3], [0.3, 1.0]]),
        0.5,
        key=jax.random.key(7),
        num_paths=20_000,
        observables={"log V": LogNorm(0), "rho": Correlation(0, 1)},
        saveat=[0.25, 0.5],
        dt0=0.25,
        stop_above=1.5,
        chunk_size=250,
        devices=1,
        save=folder / f"paths.{ending}",
        checkpoint=folder / "state",
        checkpoint_every=0,
        progress=lambda done, total: [print(word, flush=True) for word in told],
    )
    result.save(folder / "result.nc")


def start(folder: Path, ending: str, cache: Path) -> subprocess.Popen:
    """A process that begins the run of a folder, or goes on with it."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
    }
    command = [sys.executable, "-m", "benchmarks.kills", "--folder", str(folder)]
    return subprocess.Popen(
        [*command, "--endings", ending], env=environment, stdout=subprocess.PIPE, text=True
    )


def ends(process: subprocess.Popen, word: str, delay: float) -> bool:
    """Whether a process ends before it is killed, so long after it said a word."""
    assert process.stdout is not None
    while (line := process.stdout.readline()) and line.strip() != word:
        pass
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    status = process.wait()
    process.stdout.close()
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"a run ended with the status {status}")
    return status == 0


def contents(path: Path) -> dict[str, bytes]:
    """All bytes of a file, or of the files of a folder."""
    files = [path] if path.is_file() else [x for x in path.rglob("*") if x.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def written(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which paths a file has, with their values and when they stopped."""
    options = {"consolidated": False} if path.suffix == ".zarr" else {}
    engine = {".nc": "h5netcdf", ".zarr": "zarr"}[path.suffix]
    with xarray.open_dataset(path, engine=engine, **options) as data:
        values, stopped_at = data["values"].values, data["stopped_at"].values
    return ~np.isnan(stopped_at), values, stopped_at


def holds(path: Path, whole: Path) -> bool:
    """Whether the paths that a file has are those of the whole one."""
    there, *found = written(path)
    _, *wanted = written(whole)
    return all(
        np.array_equal(x[there], y[there], equal_nan=True)
        for x, y in zip(found, wanted, strict=True)
    )


def same(one: Path, other: Path) -> bool:
    """Whether two runs have returned the same statistics, in every bit."""
    first, second = (covsde.Ensemble.load(path) for path in (one, other))
    return first.to_xarray().identical(second.to_xarray())


class Count(NamedTuple):
    """What has happened to the runs of an ending."""

    kills: int = 0
    before: int = 0  # kills before there was a file
    torn: int = 0  # kills that left a file that does not open, or has a wrong path
    resumes: int = 0  # starts that found a checkpoint
    ended: int = 0
    identical: int = 0


def killed(ending: str, kills: int, folder: Path, seed: int) -> Count:
    """Runs of an ending, until there were enough kills."""
    rng, count, cache = np.random.default_rng(seed), Count(), folder / "cache"
    whole, runs = folder / "whole", 0
    whole.mkdir()
    ends(start(whole, ending, cache), "begun", np.inf)
    while count.kills < kills:
        runs += 1
        one = folder / str(runs)
        one.mkdir()
        done = False
        while not done:
            found = any((one / "state").glob("*.npz"))
            count = count._replace(resumes=count.resumes + found)
            word = str(rng.choice(list(LATEST)))
            done = ends(start(one, ending, cache), word, rng.uniform(0, LATEST[word]))
            if not done:
                count = after_a_kill(count, one / f"paths.{ending}", whole)
        identical = contents(one / f"paths.{ending}") == contents(whole / f"paths.{ending}")
        identical = identical and same(one / "result.nc", whole / "result.nc")
        count = count._replace(ended=count.ended + 1, identical=count.identical + identical)
    return count


def after_a_kill(count: Count, path: Path, whole: Path) -> Count:
    """The count after one more kill."""
    count = count._replace(kills=count.kills + 1)
    if not path.exists():
        return count._replace(before=count.before + 1)
    try:
        right = holds(path, whole / path.name)
    except (OSError, KeyError, ValueError) as error:
        print(f"  {path.name}: {error}")
        right = False
    return count._replace(torn=count.torn + (not right))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=11, help="of each ending, at least")
    parser.add_argument("--endings", nargs="*", default=ENDINGS, choices=ENDINGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        run(arguments.folder, *arguments.endings)
        return
    print(
        f"{'':6}{'kills':>6}{'before a file':>15}{'torn':>6}{'resumes':>9}{'ended':>7}"
        f"{'identical':>11}"
    )
    for ending in arguments.endings:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            count = killed(ending, arguments.kills, Path(folder), arguments.seed)
        kills, before, torn, resumes, ended, identical = count
        print(
            f".{ending:5}{kills:6}{before:15}{torn:6}{resumes:9}{ended:7}{identical:11}"
            f"{time.perf_counter() - began:8.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
