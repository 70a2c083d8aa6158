"""`covsde describe`: the equation of a limit, its letters and its papers."""

from typing import Annotated

import jax
import typer

from ..describe import describe as _describe
from . import _options as opt
from ._errors import in_words_of_the_command_line, refuse
from ._groups import PANEL_WHERE, command
from ._network import Network
from ._parameters import Parameters

HELP = "\n\n".join(
    (
        "Describe a limit: its equation, what each letter means, and the papers.",
        "The options are those of the other commands, and the numbers in the equation are "
        "theirs.",
    )
)


@command
def describe(
    architecture: Annotated[
        str,
        typer.Argument(
            parser=opt.architecture, metavar="ARCHITECTURE", help=opt.ARCHITECTURE_HELP
        ),
    ] = "mlp",
    *,
    activation: opt.ActivationOption = None,
    parameters: Parameters,
    latex: Annotated[
        bool,
        typer.Option("--latex", help="Print the LaTeX alone.", rich_help_panel=PANEL_WHERE),
    ] = False,
    bibtex: Annotated[
        bool,
        typer.Option(
            "--bibtex", help="Print the BibTeX alone.", rich_help_panel=PANEL_WHERE
        ),
    ] = False,
) -> None:
    """The command; `HELP` tells what it does."""
    if latex and bibtex:
        raise refuse("--bibtex", "cannot be given together with --latex. Choose one.")
    network = Network(architecture, parameters)
    name = network.activation(activation)
    jax.config.update("jax_enable_x64", True)
    with in_words_of_the_command_line():
        description = _describe(network.limit(name))
    if latex or bibtex:
        typer.echo(description.latex if latex else description.bibtex)
    else:
        typer.echo(str(description))
