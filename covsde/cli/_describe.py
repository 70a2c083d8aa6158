"""`covsde describe`: the equation of a limit, its letters and its papers."""

from typing import Annotated

import jax
import typer

from ..describe import describe as _describe
from . import _network as net
from . import _options as opt
from ._errors import in_words_of_the_command_line, refuse
from ._network import Architecture, Network
from ._options import Activation, Shaping

HELP = "\n\n".join(
    (
        "Describe a limit: its equation, what each letter means, and the papers.",
        "The options are those of the other commands, and the numbers in the equation are "
        "theirs.",
    )
)


def describe(
    architecture: Annotated[
        Architecture,
        typer.Argument(metavar="ARCHITECTURE", help=net.ARCHITECTURE_HELP),
    ] = Architecture.mlp,
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
    latex: Annotated[
        bool,
        typer.Option(
            "--latex", help="Print the LaTeX alone.", rich_help_panel=opt.PANEL_WHERE
        ),
    ] = False,
    bibtex: Annotated[
        bool,
        typer.Option(
            "--bibtex", help="Print the BibTeX alone.", rich_help_panel=opt.PANEL_WHERE
        ),
    ] = False,
) -> None:
    """The command; `HELP` tells what it does."""
    if latex and bibtex:
        raise refuse("--bibtex", "cannot be given together with --latex. Choose one.")
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
    jax.config.update("jax_enable_x64", True)
    with in_words_of_the_command_line():
        description = _describe(network.limit(name))
    if latex or bibtex:
        typer.echo(description.latex if latex else description.bibtex)
    else:
        typer.echo(str(description))
