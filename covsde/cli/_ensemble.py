"""`covsde ensemble` and `covsde merge`: statistics of any number of paths."""

import re
import time
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import typer

from .. import ensemble as _library_ensemble
from .. import inputs as _library_inputs
from .. import merge as _library_merge
from ..ensemble import Ensemble
from . import _network as net
from . import _options as opt
from ._errors import at_least, in_words_of_the_command_line, refuse, writing
from ._inputs import read_inputs
from ._network import Architecture, Network
from ._options import Activation, Shaping

_ARCHITECTURES = tuple(x for x in Architecture if x is not Architecture.unshaped)

HELP = "\n\n".join(
    (
        "Statistics of any number of paths of the limit, in memory that does not grow.",
        "Of the norms log V, the correlations ρ and log det V: mean, standard error, "
        "deviation, extremes and quantiles at each saved time, in a table and in a netCDF "
        "file.",
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


def ensemble(
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
    paths: opt.PathsOption = 1_000_000,
    solver: opt.SolverOption = None,
    dt0: opt.Dt0Option = None,
    stop_above: opt.StopAboveOption = None,
    seed: opt.SeedOption = 0,
    float32: opt.Float32Option = False,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            "--chunk-size",
            parser=opt.whole,
            metavar="N",
            help="Paths that are done between two reports. (default: a fraction of a "
            "second's)",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FOLDER",
            help="Keep the run here, and go on from what is kept.",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="i/N",
            help="Do the i-th of N shares of the paths, from 0/N on.",
            rich_help_panel=opt.PANEL_HOW,
        ),
    ] = None,
    save_times: opt.SaveTimesOption = 1,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="A netCDF file.", rich_help_panel=opt.PANEL_WHERE
        ),
    ] = Path("out/ensemble.nc"),
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
    if architecture is Architecture.unshaped:
        raise refuse(
            "--architecture",
            f"must be one of {', '.join(_ARCHITECTURES)} here; got unshaped. Its two "
            "inputs are solved by `covsde solve`.",
        )
    opt.check_simulation(t1, paths, dt0, stop_above, seed)
    opt.check_save_times(save_times)
    at_least("--chunk-size", chunk_size, 1, "Leave it out to have one chosen.")
    share = None if shard is None else parse_shard(shard)
    _check_out(out)
    data = read_inputs(inputs, digits, network.digits)
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
        with writing(checkpoint or out, "--checkpoint"):
            result = _library_ensemble(
                limit,  # pyright: ignore[reportArgumentType]  # the unshaped one is refused
                v0,
                t1,
                **scheme._asdict(),
                key=jax.random.key(seed),
                num_paths=paths,
                observables=limit.observables(len(v0)),
                dt0=dt0,
                saveat=jnp.linspace(0, t1, save_times) if save_times > 1 else None,
                checkpoint=checkpoint,
                shard=share,
                chunk_size=chunk_size,
                progress=True,
            )
    if scheme.stop_above is not None and stop_above is None:
        typer.echo(
            f"Note: {network.label(name)} may explode; paths stop at tr V/m > "
            f"{scheme.stop_above:g}."
        )
    typer.echo(data.words)
    _write(result, out, began)


def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Shards, all of them.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="A netCDF file.", rich_help_panel=opt.PANEL_WHERE
        ),
    ] = Path("out/ensemble.nc"),
) -> None:
    """The command; `MERGE_HELP` tells what it does."""
    _check_out(out)
    began = time.perf_counter()
    with in_words_of_the_command_line():
        result = _library_merge(files)
    _write(result, out, began)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4`, counted from 0."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise refuse(
            "--shard",
            f"must be i/N with 0 ≤ i < N; got {text!r}. The shares of two are 0/2 and 1/2.",
        )
    return int(match[1]), int(match[2])


def _check_out(out: Path) -> None:
    if out.suffix != ".nc" or out.is_dir():
        raise refuse(
            "--out",
            f"must be the name of a file that ends in .nc; got {str(out)!r}. Try a.nc.",
        )


def _write(result: Ensemble, out: Path, began: float) -> None:
    with in_words_of_the_command_line(), writing(out):
        result.save(out)
    typer.echo(f"{result}\n")
    typer.echo(
        f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB) in "
        f"{time.perf_counter() - began:.0f} s."
    )
