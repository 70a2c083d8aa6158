"""`covsde solve`: paths of the limit alone, into a file."""

import time
from functools import singledispatch
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import typer

from .. import inputs as _library_inputs
from .. import solve as _library_solve
from .._names import full_name
from .._results import AbstractSolution
from ..describe import describe
from ..limits import UnshapedMLP, UnshapedSolution
from ..plotting import typical_pairs
from ..solution import Solution
from ..validation._rows import read
from ..validation._unshaped import check_pair
from . import _network as net
from . import _options as opt
from ._errors import in_words_of_the_command_line, refuse, writing
from ._inputs import read_inputs
from ._network import Architecture, Network
from ._options import Activation, Shaping

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


def solve(
    inputs: opt.InputsOption = None,
    digits: opt.DigitsOption = None,
    architecture: net.ArchitectureOption = Architecture.mlp,
    activation: opt.ActivationOption = None,
    c_plus: opt.CPlusOption = None,
    c_minus: opt.CMinusOption = None,
    a: opt.AOption = None,
    center: opt.CenterOption = None,
    p: opt.POption = None,
    gamma: net.GammaOption = None,
    tau0: net.Tau0Option = None,
    heads: net.HeadsOption = None,
    output_projection: net.OutputProjectionOption = False,
    hidden_ratio: net.HiddenRatioOption = None,
    feed_forward_gamma: net.FeedForwardGammaOption = None,
    slope_plus: net.SlopePlusOption = None,
    slope_minus: net.SlopeMinusOption = None,
    branch_variance: net.BranchVarianceOption = None,
    t1: opt.T1Option = 0.5,
    paths: opt.PathsOption = 10_000,
    solver: opt.SolverOption = None,
    dt0: opt.Dt0Option = None,
    stop_above: opt.StopAboveOption = None,
    seed: opt.SeedOption = 0,
    float32: opt.Float32Option = False,
    save_times: opt.SaveTimesOption = 1,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="A netCDF file.", rich_help_panel=opt.PANEL_WHERE
        ),
    ] = Path("out/solution.nc"),
) -> None:
    """The command; `HELP` tells what it does."""
    shaping = Shaping(c_plus, c_minus, a, center, p)
    network = Network(
        architecture,
        shaping,
        gamma,
        tau0,
        heads,
        output_projection,
        hidden_ratio,
        feed_forward_gamma,
        slope_plus,
        slope_minus,
        branch_variance,
    )
    given = [] if activation is None else [activation]
    (name,) = network.activations(given, [Activation.relu])
    network.check_use(
        {
            "--solver": solver,
            "--stop-above": stop_above,
            "--float32": float32 or None,
        }
    )
    opt.check_simulation(t1, paths, dt0, stop_above, seed)
    opt.check_save_times(save_times)
    if out.suffix != ".nc" or out.is_dir():
        raise refuse(
            "--out",
            f"must be the name of a file that ends in .nc; got {str(out)!r}. Try v.nc.",
        )
    data = read_inputs(inputs, digits, network.digits)
    network.check_inputs(len(data.x), "--digits" if inputs is None else "--inputs")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)

    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    with in_words_of_the_command_line():
        v0 = _library_inputs.gram(jnp.asarray(data.x)).astype(
            np.float32 if float32 else np.float64
        )
        limit = network.limit(name)
        scheme = opt.make_scheme(limit, solver, v0, t1, dt0, stop_above)
        opt.check_memory("--paths", paths, save_times, v0)
        solution = _simulate(
            limit,
            v0,
            t1,
            scheme,
            key=jax.random.key(seed),
            num_paths=paths,
            dt0=dt0,
            saveat=jnp.linspace(0, t1, save_times) if save_times > 1 else None,
        )
        jax.block_until_ready(solution)
    if scheme.stop_above is not None and stop_above is None:
        typer.echo(
            f"Note: {network.label(name)} may explode; paths stop at tr V/m > "
            f"{scheme.stop_above:g}."
        )
    with in_words_of_the_command_line(), writing(out):
        solution.save(out)
    typer.echo(f"{data.words}\n{summary(solution, np.asarray(v0))}")
    times = "time" if solution.ts.size == 1 else "times"
    typer.echo(
        f"Written: {out} ({paths} paths, {solution.ts.size} {times}, "
        f"{out.stat().st_size / 1e6:.1f} MB) in {time.perf_counter() - began:.0f} s."
    )


def _simulate(limit, v0, t1, scheme: opt.Scheme, **options) -> AbstractSolution:
    """Paths of a covariance SDE, or of the nearness of two inputs."""
    if isinstance(limit, UnshapedMLP):
        check_pair(limit, v0)
        return limit.solve(t1, **options)
    return _library_solve(limit, v0, t1, **scheme._asdict(), **options)


@singledispatch
def summary(solution: Solution, v0: np.ndarray) -> str:
    """Means and quantiles of a few observables at the last time, as plain text."""
    running = solution.running
    final = np.asarray(solution.vs[:, -1])[running]
    stopped = running.size - len(final)
    lines = [
        *_title(solution),
        f"stopped: {stopped} of {running.size} paths ({stopped / running.size:.2%})",
    ]
    if not len(final):
        return "\n".join(lines)
    shown = [None, (0, 0)]
    if solution.m > 1:
        scale = np.sqrt(np.diagonal(v0))
        shown += typical_pairs(v0 / scale[:, None] / scale)
    every = solution.m <= 4
    rows = [
        (f.label, float(read(f, v0[None])[0]), read(f, final))
        for f in solution.limit.observables(solution.m)
        if every or f.inputs in shown
    ]
    lines += ["", *_quantiles(rows)]
    if not every:
        lines.append("(three typical pairs; the file has all)")
    return "\n".join(lines) + "\n"


@summary.register(UnshapedSolution)
def _(solution: UnshapedSolution, v0: np.ndarray) -> str:
    del v0
    start = float((2 / solution.limit.attraction) ** 2)
    rows = [
        ("u", 0.0, np.asarray(solution.us[:, -1])),
        ("q = (t/u)²", start, np.asarray(solution.q[:, -1])),
    ]
    lines = [*_title(solution), "", *_quantiles(rows)]
    return "\n".join([*lines, "(at width n, ρ = 1 − 1/(n u)²)"]) + "\n"


def _title(solution: AbstractSolution) -> list[str]:
    limit, t = solution.limit, float(solution.ts[-1])
    return [f"{full_name(limit)} at t = {t:g}", describe(limit).time]


def _quantiles(rows: list[tuple[str, float, np.ndarray]]) -> list[str]:
    """A line for each observable: its name, its start, and its sample."""
    heads = "".join(f"{q:>9.0%}" for q in _LEVELS)
    lines = [f"{'':12}{'t = 0':>8}{'mean':>9}{heads}"]
    for name, start, x in rows:
        cells = [np.mean(x), *np.quantile(x, _LEVELS)]
        lines.append(f"{name:12}{start:8.3f}" + "".join(f"{y:9.3f}" for y in cells))
    return lines
