"""`covsde solve`: paths of the limit alone, into a file."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import typer

from .. import solve as _library_solve
from .._names import full_name
from ..describe import describe
from ..limits import AbstractLimit, UnshapedMLP, UnshapedSolution
from ..plotting import typical_pairs
from ..solution import Solution
from ..validation import read
from . import _options as opt
from . import _unshaped
from ._errors import in_words_of_the_command_line, writing
from ._groups import command
from ._inputs import Data
from ._network import Network
from ._parameters import Parameters
from ._scheme import How, Scheme, check_memory, check_save_times

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
    _unshaped.check_options(network, how)
    how.check(t1, paths)
    check_save_times(save_times)
    opt.check_file(out)
    inputs = _unshaped.read(data, network)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)

    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    with in_words_of_the_command_line():
        v0 = inputs.covariance(how.dtype)
        limit = network.limit(name)
        scheme = how.scheme(limit, v0, t1)
        check_memory("--paths", paths, save_times, v0)
        solution = _simulate(
            limit,
            v0,
            t1,
            scheme,
            key=jax.random.key(how.seed),
            num_paths=paths,
            dt0=how.dt0,
            saveat=jnp.linspace(0, t1, save_times) if save_times > 1 else None,
        )
        jax.block_until_ready(solution)
    how.tell_level(network.label(name), scheme)
    with in_words_of_the_command_line(), writing(out):
        solution.save(out)
    typer.echo(f"{inputs.words}\n{summary(solution, np.asarray(v0))}")
    times = "time" if solution.ts.size == 1 else "times"
    typer.echo(
        f"Written: {out} ({paths} paths, {solution.ts.size} {times}, "
        f"{out.stat().st_size / 1e6:.1f} MB) in {time.perf_counter() - began:.0f} s."
    )


def _simulate(
    limit: AbstractLimit | UnshapedMLP, v0, t1, scheme: Scheme, **options
) -> Solution | UnshapedSolution:
    if isinstance(limit, UnshapedMLP):
        return _unshaped.solve(limit, v0, t1, **options)
    return _library_solve(limit, v0, t1, **scheme._asdict(), **options)


def summary(solution: Solution | UnshapedSolution, v0: np.ndarray) -> str:
    """Means and quantiles of a few observables at the last time, as plain text."""
    limit, t = solution.limit, float(solution.ts[-1])
    lines = [f"{full_name(limit)} at t = {t:g}", describe(limit).time]
    if isinstance(solution, UnshapedSolution):
        return "\n".join([*lines, "", *_unshaped.told(solution, _quantiles)]) + "\n"
    running = solution.running
    final = np.asarray(solution.vs[:, -1])[running]
    stopped = running.size - len(final)
    lines.append(
        f"stopped: {stopped} of {running.size} paths ({stopped / running.size:.2%})"
    )
    if not len(final):
        return "\n".join(lines)
    shown = [None, (0, 0)]
    if solution.m > 1:
        scale = np.sqrt(np.diagonal(v0))
        shown += typical_pairs(v0 / scale[:, None] / scale)
    every = solution.m <= 4
    rows = [
        (f.label, float(read(f, v0[None])[0]), read(f, final))
        for f in limit.observables(solution.m)
        if every or f.inputs in shown
    ]
    lines += ["", *_quantiles(rows)]
    if not every:
        lines.append("(three typical pairs; the file has all)")
    return "\n".join(lines) + "\n"


def _quantiles(rows: list[tuple[str, float, np.ndarray]]) -> list[str]:
    """A line for each observable: its name, its start, and its sample."""
    heads = "".join(f"{q:>9.0%}" for q in _LEVELS)
    lines = [f"{'':12}{'t = 0':>8}{'mean':>9}{heads}"]
    for name, start, x in rows:
        with np.errstate(invalid="ignore"):  # log det V of equal inputs is −∞
            cells = [np.mean(x), *_at_levels(x)]
        lines.append(f"{name:12}{_cell(start, 8)}" + "".join(map(_cell, cells)))
    return lines


def _at_levels(x: np.ndarray) -> np.ndarray:
    """Quantiles; between infinite values they are infinite, where NumPy has NaN."""
    low, high = (np.quantile(x, _LEVELS, method=end) for end in ("lower", "higher"))
    within = np.quantile(x, _LEVELS)
    return np.where(np.isfinite(low) & np.isfinite(high), within, low + high)


def _cell(y: float, width: int = 9) -> str:
    return f"{y:{width}.3f}" if abs(y) < 1e4 or not np.isfinite(y) else f"{y:{width}.2g}"
