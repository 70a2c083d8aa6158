"""The application: what the program is, and its commands."""

import sys
from typing import Annotated

import typer

from .. import __version__
from ._cache import keep_programs
from ._describe import HELP as DESCRIBE
from ._describe import describe
from ._ensemble import HELP as ENSEMBLE
from ._ensemble import MERGE_HELP as MERGE
from ._ensemble import ensemble, merge
from ._solve import HELP as SOLVE
from ._solve import solve
from ._validate import HELP as VALIDATE
from ._validate import validate

HELP = "\n\n".join(
    (
        "The covariance of deep networks, as a stochastic differential equation.",
        "At initialisation, a deep network's outputs on m inputs are Gaussian given a "
        "random m×m covariance matrix V. As depth and width grow together, V follows an "
        "SDE, the neural covariance SDE. This program solves it, and holds it against "
        "finite networks.",
        "Units: time is depth/width, so a network of width 128 and depth 64 ends at t = "
        "0.5. A diagonal entry of V is the mean square of a layer; ρ is the correlation of "
        "two inputs.",
        "[bold]Examples[/bold]",
        "[cyan]covsde validate[/cyan]\n"
        "  The main study: seven handwritten digits, two activations, three widths, in\n"
        "  about a minute. Prints tables; figures and data go to out/.",
        "[cyan]covsde validate --inputs x.npy --activation gelu --a 2 --widths 50,100"
        "[/cyan]\n"
        "  Your own inputs, one a row, with another activation.",
        "[cyan]covsde solve --digits 4 --t1 1 --save-times 11 --out v.nc[/cyan]\n"
        "  Covariance paths of the limit alone, into a netCDF file.",
        "[cyan]covsde ensemble --digits 4 --paths 10000000 --checkpoint run[/cyan]\n"
        "  Statistics of ten million paths, which can be interrupted.",
        "[cyan]covsde validate --architecture transformer --gamma 0.4 --digits 3[/cyan]\n"
        "  Transformer blocks: attention and a feed-forward layer.",
        "[cyan]covsde validate --architecture unshaped --widths 100,200,400[/cyan]\n"
        "  How fast two inputs of a ReLU network without shaping become one.",
        "[cyan]covsde describe attention --tau0 2[/cyan]\n"
        "  The equation, what its letters mean, and the papers; --latex, --bibtex.",
    )
)

app = typer.Typer(
    name="covsde",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.command(help=VALIDATE)(validate)
app.command(help=SOLVE)(solve)
app.command(help=ENSEMBLE)(ensemble)
app.command(help=MERGE)(merge)
app.command(help=DESCRIBE)(describe)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"covsde {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    del version
    keep_programs()
    for stream in (sys.stdout, sys.stderr):
        # a terminal without Greek letters shows question marks, not an error
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
