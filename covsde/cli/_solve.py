"""`covsde solve`: paths of the limit alone, into a file."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array

from .. import solve as _library_solve
from .._names import full_name
from .._results import AbstractSolution
from ..describe import describe
from ..observables import correlation
from ..plotting import typical_pairs
from . import _options as opt
from ._errors import in_words_of_the_command_line, writing
from ._groups import command
from ._inputs import Data
from ._network import Network
from ._parameters import Parameters
from ._scheme import How, check_memory, check_save_times

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

HELP = "\n\n".join(
    (
        "Solve the limit, and write its covariance paths to a netCDF file.",
        "The file holds v (path, time, a, b), the covariances; time, in depth/width; and "
        "stopped_at, the time at which a path was stopped, inf where it never was. Of "
        "unshaped networks it holds u (path, time), the nearness 1/(n √(1−ρ)) of two "
        "inputs.",
    )
)


@command
def solve(
    data: Data,
    *,
    architecture: opt.ArchitectureOption = "mlp",
    activation: opt.ActivationOption = None,
    parameters: Parameters,
    t1: opt.T1Option = 0.5,
    paths: opt.PathsOption = 10_000,
    how: How,
    save_times: opt.SaveTimesOption = 1,
    out: opt.FileOption = Path("out/solution.nc"),
) -> None:
    """The command; `HELP` tells what it does."""
    network = Network(architecture, parameters)
    name = network.activation(activation)
    how.check(t1, paths)
    check_save_times(save_times)
    opt.check_file(out)

    began = time.perf_counter()
    how.start()
    with in_words_of_the_command_line():
        limit = network.limit(name)
        inputs = data.read(limit)
        v0 = inputs.covariance(how.dtype)
        scheme = how.scheme(limit, v0, t1)
        check_memory("--paths", paths, save_times, v0)
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        solution = _library_solve(
            limit,
            v0,
            t1,
            **scheme._asdict(),
            key=jax.random.key(how.seed),
            num_paths=paths,
            dt0=how.dt0,
            saveat=jnp.linspace(0, t1, save_times) if save_times > 1 else None,
        )
        jax.block_until_ready(solution)
    how.tell_level(network.label(name), scheme)
    with in_words_of_the_command_line(), writing(out):
        solution.save(out)
    typer.echo(f"{inputs.words}\n{summary(solution, v0)}")
    times = "time" if solution.ts.size == 1 else "times"
    typer.echo(
        f"Written: {out} ({paths} paths, {solution.ts.size} {times}, "
        f"{out.stat().st_size / 1e6:.1f} MB) in {time.perf_counter() - began:.0f} s."
    )


def summary(solution: AbstractSolution, v0: Array) -> str:
    """Means and quantiles of a few observables at the last time, as plain text."""
    limit, t = solution.limit, float(solution.ts[-1])
    lines = [f"{full_name(limit)} at t = {t:g}", describe(limit).time]
    running, m = solution.running, len(v0)
    final = solution.readings[running, -1]
    stopped = running.size - len(final)
    lines.append(
        f"stopped: {stopped} of {running.size} paths ({stopped / running.size:.2%})"
    )
    lost = np.sum(solution.lost)
    if lost:
        lines.append(f"of these, lost, and NaN: {lost} ({lost / running.size:.2%})")
    if not len(final):
        return "\n".join(lines)
    shown = [None, (0, 0)]
    if m > 1:
        shown += typical_pairs(np.asarray(correlation(v0)))
    every = m <= 4
    told = [f for f in limit.observables(m) if every or f.inputs in shown]

    def numbers(t: float, state: Array) -> dict[str, np.ndarray]:
        known = {f.label: f(state) for f in told} | limit.derived(t, state)
        return {name: np.asarray(x) for name, x in known.items()}

    lines += ["", *_quantiles(numbers(0.0, limit.initial(v0)), numbers(t, final))]
    if not every:
        lines.append("(three typical pairs; the file has all)")
    return "\n".join(lines) + "\n"


def _quantiles(start: dict[str, np.ndarray], sample: dict[str, np.ndarray]) -> list[str]:
    """A line for each number: its name, its start, and its sample."""
    heads = "".join(f"{q:>9.0%}" for q in _LEVELS)
    lines = [f"{'':12}{'t = 0':>8}{'mean':>9}{heads}"]
    for name, x in sample.items():
        with np.errstate(invalid="ignore"):  # log det V of equal inputs is −∞
            cells = [np.mean(x), *_at_levels(x)]
        lines.append(f"{name:12}{_cell(start[name], 8)}" + "".join(map(_cell, cells)))
    return lines


def _at_levels(x: np.ndarray) -> np.ndarray:
    """Quantiles; between infinite values they are infinite, where NumPy has NaN."""
    low, high = (np.quantile(x, _LEVELS, method=end) for end in ("lower", "higher"))
    within = np.quantile(x, _LEVELS)
    return np.where(np.isfinite(low) & np.isfinite(high), within, low + high)


def _cell(y: float | np.ndarray, width: int = 9) -> str:
    return f"{y:{width}.3f}" if abs(y) < 1e4 or not np.isfinite(y) else f"{y:{width}.2g}"
