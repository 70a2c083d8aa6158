"""`covsde ensemble` and `covsde merge`: statistics of any number of paths."""

import re
import time
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import typer

from .. import ensemble as _library_ensemble
from .. import merge as _library_merge
from ..ensemble import Ensemble
from . import _options as opt
from ._errors import at_least, in_words_of_the_command_line, refuse, writing
from ._groups import PANEL_HOW, command
from ._inputs import Data
from ._network import Network
from ._parameters import Parameters
from ._read import whole
from ._scheme import How, check_save_times

HELP = "\n\n".join(
    (
        "Statistics of any number of paths of the limit, in memory that does not grow.",
        "Of the norms log V, the correlations ρ and log det V, or of the nearness u of two "
        "inputs in unshaped networks: mean, standard error, deviation, extremes and "
        "quantiles at each saved time, in a table and in a netCDF file.",
        "With --checkpoint, a run that was interrupted goes on when it is called again. "
        "With --shard i/N, this run does the i-th of N shares of the paths, and `covsde "
        "merge` joins their files.",
    )
)
MERGE_HELP = "\n\n".join(
    (
        "Merge the shards of an ensemble.",
        "The files are those of `covsde ensemble --shard i/N --out FILE`, all N of them, "
        "in any order.",
    )
)


@command
def ensemble(
    data: Data,
    *,
    architecture: opt.ArchitectureOption = "mlp",
    activation: opt.ActivationOption = None,
    parameters: Parameters,
    t1: opt.T1Option = 0.5,
    paths: opt.PathsOption = 1_000_000,
    how: How,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            "--chunk-size",
            parser=whole,
            metavar="N",
            help="Paths that are done between two reports. (default: a fraction of a "
            "second's)",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FOLDER",
            help="Keep the run here, and go on from what is kept.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="i/N",
            help="Do the i-th of N shares of the paths, from 0/N on.",
            rich_help_panel=PANEL_HOW,
        ),
    ] = None,
    save_times: opt.SaveTimesOption = 1,
    out: opt.FileOption = Path("out/ensemble.nc"),
) -> None:
    """The command; `HELP` tells what it does."""
    network = Network(architecture, parameters)
    name = network.activation(activation)
    how.check(t1, paths)
    check_save_times(save_times)
    at_least("--chunk-size", chunk_size, 1, "Leave it out to have one chosen.")
    share = None if shard is None else parse_shard(shard)
    opt.check_file(out)

    began = time.perf_counter()
    how.start()
    with in_words_of_the_command_line():
        limit = network.limit(name)
        inputs = data.read(limit)
        v0 = inputs.covariance(how.dtype)
        scheme = how.scheme(limit, v0, t1)
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        with writing(checkpoint or out, "--checkpoint"):
            result = _library_ensemble(
                limit,
                v0,
                t1,
                **scheme._asdict(),
                key=jax.random.key(how.seed),
                num_paths=paths,
                observables=limit.observables(len(v0)),
                dt0=how.dt0,
                saveat=jnp.linspace(0, t1, save_times) if save_times > 1 else None,
                checkpoint=checkpoint,
                shard=share,
                chunk_size=chunk_size,
                progress=True,
            )
    how.tell_level(network.label(name), scheme)
    typer.echo(inputs.words)
    _write(result, out, began)


def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Shards, all of them.")
    ],
    out: opt.FileOption = Path("out/ensemble.nc"),
) -> None:
    """The command; `MERGE_HELP` tells what it does."""
    opt.check_file(out)
    began = time.perf_counter()
    with in_words_of_the_command_line():
        result = _library_merge(files)
    _write(result, out, began)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4`, counted from 0."""
    match = re.fullmatch(r"(\d{1,18})/(\d{1,18})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise refuse(
            "--shard",
            f"must be i/N with 0 ≤ i < N; got {text!r}. The shares of two are 0/2 and 1/2.",
        )
    return int(match[1]), int(match[2])


def _write(result: Ensemble, out: Path, began: float) -> None:
    with in_words_of_the_command_line(), writing(out):
        result.save(out)
    typer.echo(f"{result}\n")
    typer.echo(
        f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB) in "
        f"{time.perf_counter() - began:.0f} s."
    )
