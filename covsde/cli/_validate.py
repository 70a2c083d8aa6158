"""`covsde validate`: the limit against finite networks."""

import time
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import typer

from ..validation import Report
from ..validation import validate as compare
from . import _options as opt
from ._errors import (
    at_least,
    in_words_of_the_command_line,
    refuse,
    with_options,
    writing,
)
from ._groups import PANEL_HOW, PANEL_WHAT, PANEL_WHERE, command
from ._inputs import Data
from ._network import Network
from ._parameters import Parameters
from ._read import one_of, whole
from ._scheme import How, check_memory

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


@command
def validate(
    data: Data,
    *,
    architecture: opt.ArchitectureOption = "mlp",
    activation: Annotated[
        list[str] | None,
        typer.Option(
            "--activation",
            parser=opt.activation,
            metavar="NAME",
            help=f"{opt.ACTIVATION_NAMES}; may be given several times (default: relu and "
            "tanh).",
            rich_help_panel=PANEL_WHAT,
            show_default=False,
        ),
    ] = None,
    parameters: Parameters,
    t1: opt.T1Option = 0.5,
    widths: Annotated[
        str,
        typer.Option(
            "--widths",
            metavar="N,N,…",
            help="Widths n of the networks, of round(t1 × n) layers.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = "32,64,128",
    paths: opt.PathsOption = 10_000,
    networks: Annotated[
        int,
        typer.Option(
            "--networks",
            parser=whole,
            metavar="N",
            help="Networks of each width.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = 4_000,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            parser=one_of(("gram", "weights")),
            metavar="gram|weights",
            help="How networks are sampled: gram is fast and exact in law; weights draws "
            "every weight.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = "gram",
    how: How,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for figures and data, with a folder for each table: tanh for an "
            "mlp, resnet-tanh, attention.",
            rich_help_panel=PANEL_WHERE,
        ),
    ] = Path("out"),
) -> None:
    """The command; `HELP` tells what it does."""
    network = Network(architecture, parameters)
    names = network.activations(activation or [], ["relu", "tanh"])
    how.check(t1, paths)
    at_least("--networks", networks, 2, "It is how many networks of each width to sample.")
    several = parse_widths(widths, t1)

    began = time.perf_counter()
    how.start()
    with in_words_of_the_command_line():
        limits = {network.label(name): network.limit(name) for name in names}
        inputs = data.read(next(iter(limits.values())))
        v0 = inputs.covariance(how.dtype)
        schemes = {x: how.scheme(limit, v0, t1) for x, limit in limits.items()}
    network.check_width(several[0], len(v0))
    times = jnp.asarray(figure_times(t1, several[0]))
    check_memory("--paths", paths, times.size, v0)
    check_memory("--networks", networks * len(several), times.size, v0)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    typer.echo(inputs.words)
    undrawn = {}
    for label, limit in limits.items():
        with in_words_of_the_command_line(), _bars(label) as progress:
            report = compare(
                limit,
                v0,
                t1,
                **schemes[label]._asdict(),
                width=several,
                key=jax.random.key(how.seed),
                num_paths=paths,
                num_networks=networks,
                method=method,
                dt0=how.dt0,
                saveat=times,
                progress=progress,
            )
        typer.echo(f"\n{report.table()}")
        how.tell_level(label, schemes[label])
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


def parse_widths(text: str, t1: float) -> tuple[int, ...]:
    """`32,64,128`, of a layer at least."""
    hint = "Give integers separated by commas, e.g. 32,64,128."
    try:
        widths = [whole(part) for part in text.split(",")]
    except typer.BadParameter as error:
        raise refuse("--widths", f"must be integers; got {text!r}. {hint}") from error
    if min(widths) < 1 or len(set(widths)) < len(widths):
        raise refuse(
            "--widths", f"must be different integers of at least 1; got {text!r}. {hint}"
        )
    if round(t1 * min(widths)) < 1:
        raise refuse(
            "--widths",
            "must make networks of at least one layer, round(t1 × n); got n = "
            f"{min(widths)} with --t1 {t1:g}. Give widths of at least "
            f"{np.ceil(1 / t1):.6g}.",
        )
    return tuple(sorted(widths))


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
        reason = " ".join(str(error).split()).rstrip(".")
        return with_options(reason) or type(error).__name__
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
