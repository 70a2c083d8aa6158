"""`covsde validate`: the limit against finite networks."""

import math
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import typer

from .. import inputs as _library_inputs
from ..validation import Report
from ..validation import validate as compare
from . import _network as net
from . import _options as opt
from ._errors import at_least, in_words_of_the_command_line, refuse, writing
from ._inputs import read_inputs
from ._network import Architecture, Network
from ._options import Activation, Method, Shaping

HELP = "\n\n".join(
    (
        "Hold the limit against finite networks.",
        "Solves the limit, samples networks of several widths, and compares the laws at t1 "
        "of the norms log V, the correlations ρ, and log det V; of unshaped networks, of "
        "the nearness u = 1/(n √(1−ρ)) of two inputs. Without options it is the main "
        "study, on handwritten digits.",
        "Each activation gets a table here, and a folder with figures (.png), the whole "
        "table (.txt, .nc) and all paths (.nc). Architectures without a choice of "
        "activation have one table.",
    )
)


def validate(
    inputs: opt.InputsOption = None,
    digits: opt.DigitsOption = None,
    architecture: net.ArchitectureOption = Architecture.mlp,
    activation: Annotated[
        list[Activation] | None,
        typer.Option(
            "--activation",
            metavar="NAME",
            help=f"{opt.ACTIVATIONS}; may be given several times (default: relu and tanh).",
            rich_help_panel=opt.PANEL_WHAT,
            show_default=False,
        ),
    ] = None,
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
    widths: Annotated[
        str,
        typer.Option(
            "--widths",
            metavar="N,N,…",
            help="Widths n of the networks, of round(t1 × n) layers.",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = "32,64,128",
    paths: opt.PathsOption = 10_000,
    networks: Annotated[
        int,
        typer.Option(
            "--networks",
            parser=opt.whole,
            metavar="N",
            help="Networks of each width.",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = 4_000,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="How networks are sampled: gram is fast and exact in law; weights draws "
            "every weight.",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = Method.gram,
    solver: opt.SolverOption = None,
    dt0: opt.Dt0Option = None,
    stop_above: opt.StopAboveOption = None,
    seed: opt.SeedOption = 0,
    float32: opt.Float32Option = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for figures and data, with a folder for each table: tanh for an "
            "mlp, resnet-tanh, attention.",
            rich_help_panel=opt.PANEL_WHERE,
        ),
    ] = Path("out"),
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
    names = network.activations(activation or [], [Activation.relu, Activation.tanh])
    network.check_use(
        {
            "--solver": solver,
            "--stop-above": stop_above,
            "--float32": float32 or None,
            "--method": None if method is Method.gram else method,
        }
    )
    opt.check_simulation(t1, paths, dt0, stop_above, seed)
    at_least("--networks", networks, 2, "It is how many networks of each width to sample.")
    several = opt.parse_widths(widths)
    if round(t1 * several[0]) < 1:
        raise refuse(
            "--widths",
            "must make networks of at least one layer, round(t1 × n); got n = "
            f"{several[0]} with --t1 {t1:g}. Give widths of at least {math.ceil(1 / t1)}.",
        )
    data = read_inputs(inputs, digits, network.digits)
    network.check_inputs(len(data.x), "--digits" if inputs is None else "--inputs")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)

    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    with in_words_of_the_command_line():
        v0 = _library_inputs.gram(jnp.asarray(data.x)).astype(
            np.float32 if float32 else np.float64
        )
        limits = {network.label(name): network.limit(name) for name in names}
        schemes = {
            label: opt.make_scheme(limit, solver, v0, t1, dt0, stop_above)
            for label, limit in limits.items()
        }
    network.check_width(several[0], len(v0))
    times = jnp.asarray(figure_times(t1, several[0]))
    opt.check_memory("--paths", paths, times.size, v0)
    opt.check_memory("--networks", networks * len(several), times.size, v0)
    typer.echo(data.words)
    undrawn = {}
    for label, limit in limits.items():
        scheme = schemes[label]
        with in_words_of_the_command_line(), _bars(label) as progress:
            report = compare(
                limit,
                v0,
                t1,
                width=several,
                key=jax.random.key(seed),
                num_paths=paths,
                num_networks=networks,
                method=method.value,
                dt0=dt0,
                solver=scheme.solver,
                saveat=times,
                stop_above=scheme.stop_above,
                progress=progress,
            )
        typer.echo(f"\n{report.table()}")
        if scheme.stop_above is not None and stop_above is None:
            typer.echo(
                f"Note: {label} may explode; paths stop at tr V/m > {scheme.stop_above:g}."
            )
        typer.echo(f"Data: {_save(report, out / label)}")
        reason = _draw(report, out / label)
        if reason is not None:
            undrawn[label] = reason
    if undrawn:
        raise typer.BadParameter(
            f"No figures of {', '.join(undrawn)}: {next(iter(undrawn.values()))}. All data "
            f"are in {str(out)!r}."
        )
    typer.echo(f"\nDone in {time.perf_counter() - began:.0f} s.")


def figure_times(t1: float, width: int) -> np.ndarray:
    """Times for figures over depth: layers of the narrowest network, dense at first."""
    fractions = np.array([1, 2, 4, 8, 12]) / 16
    layers = np.unique(np.round(fractions * round(t1 * width)))
    times = layers[layers > 0] / width
    return np.append(times[times < t1 - 0.5 / width], t1)


def _save(report: Report, folder: Path) -> str:
    """Before anything is drawn, so that a figure that fails loses nothing."""
    with in_words_of_the_command_line(), writing(folder):
        files = report.save(folder)
    return _told(files, folder)


def _draw(report: Report, folder: Path) -> str | None:
    """Why its figures could not be drawn, if they could not; for others may be."""
    try:
        files = report.figures(folder)
    except Exception as error:  # whatever a drawing library raises
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    typer.echo(f"Figures: {_told(files, folder)}")
    return None


def _told(files: list[Path], folder: Path) -> str:
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return f"{folder}/ ({len(files)} files, {megabytes:.1f} MB)"


@contextmanager
def _bars(name: str):
    """A progress bar while something runs, on a terminal only."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                words = "compiling and solving the limit" if what == "limit" else what
                pulse = None if what == "limit" else total
                tasks[what] = bars.add_task(f"{name}: {words}", total=pulse)
            bars.update(tasks[what], completed=done, total=total if done else None)

        yield progress
