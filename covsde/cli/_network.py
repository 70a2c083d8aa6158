"""The network that is asked for: its architecture, and the limit that it has."""

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from ..drifts import ActivationDrift
from ..limits import (
    AbstractLimit,
    KernelODE,
    ShapedAttention,
    ShapedMLP,
    ShapedResNet,
    ShapedTransformer,
)
from ._errors import refuse
from ._options import PANEL_WHAT, Activation, Shaping, real, whole


class Architecture(StrEnum):
    """Architectures by name."""

    mlp = "mlp"
    resnet = "resnet"
    attention = "attention"
    transformer = "transformer"


ARCHITECTURES = ", ".join(Architecture)
# the architectures that an option acts on; all others act on those with an activation
_ACTIVATED = (Architecture.mlp, Architecture.resnet, Architecture.transformer)
_ATTENTIVE = (Architecture.attention, Architecture.transformer)
_ACTS_ON = {
    "--gamma": (Architecture.resnet, *_ATTENTIVE),
    "--tau0": _ATTENTIVE,
    "--heads": _ATTENTIVE,
    "--output-projection": _ATTENTIVE,
    "--hidden-ratio": (Architecture.transformer,),
    "--feed-forward-gamma": (Architecture.transformer,),
}

ArchitectureOption = Annotated[
    Architecture,
    typer.Option(
        "--architecture",
        metavar="NAME",
        help=f"{ARCHITECTURES}.",
        rich_help_panel=PANEL_WHAT,
    ),
]
GammaOption = Annotated[
    float | None,
    typer.Option(
        "--gamma",
        parser=real,
        metavar="X",
        help="All but mlp: the weight γ of residual branches, in (0, 1]. (default: 0.5)",
        rich_help_panel=PANEL_WHAT,
    ),
]
Tau0Option = Annotated[
    float | None,
    typer.Option(
        "--tau0",
        parser=real,
        metavar="X",
        help="Attention: the temperature τ₀ > 0 of the softmax. (default: 1)",
        rich_help_panel=PANEL_WHAT,
    ),
]
HeadsOption = Annotated[
    int | None,
    typer.Option(
        "--heads",
        parser=whole,
        metavar="N",
        help="Attention: its number of heads. (default: 1)",
        rich_help_panel=PANEL_WHAT,
    ),
]
OutputProjectionOption = Annotated[
    bool,
    typer.Option(
        "--output-projection",
        help="Attention: concatenate the heads and project them; else they are summed.",
        rich_help_panel=PANEL_WHAT,
    ),
]
HiddenRatioOption = Annotated[
    float | None,
    typer.Option(
        "--hidden-ratio",
        parser=real,
        metavar="X",
        help="Transformer: hidden neurons of its feed-forward layer over the width. "
        "(default: 1)",
        rich_help_panel=PANEL_WHAT,
    ),
]
FeedForwardGammaOption = Annotated[
    float | None,
    typer.Option(
        "--feed-forward-gamma",
        parser=real,
        metavar="X",
        help="Transformer: a γ of its own for the feed-forward layer. (default: --gamma)",
        rich_help_panel=PANEL_WHAT,
    ),
]


class Network(NamedTuple):
    """An architecture and its options; None where one was not given."""

    architecture: Architecture
    shaping: Shaping
    gamma: float | None = None
    tau0: float | None = None
    heads: int | None = None
    output_projection: bool = False
    hidden_ratio: float | None = None
    feed_forward_gamma: float | None = None

    def activations(
        self, given: list[Activation], default: list[Activation]
    ) -> list[Activation | None]:
        """Those to use, each once; None where the architecture applies none.

        Refuses options of activations and architectures that have nothing to act on.
        """
        options: dict[str, Any] = {
            "--gamma": self.gamma,
            "--tau0": self.tau0,
            "--heads": self.heads,
            "--output-projection": self.output_projection or None,
            "--hidden-ratio": self.hidden_ratio,
            "--feed-forward-gamma": self.feed_forward_gamma,
            "--activation": given or None,
            **self.shaping.options,
        }
        for option, value in options.items():
            users = _ACTS_ON.get(option, _ACTIVATED)
            if value is not None and self.architecture not in users:
                raise refuse(
                    option,
                    f"acts on {', '.join(users)} only; got --architecture "
                    f"{self.architecture.value}. Leave it out, or choose another "
                    "--architecture.",
                )
        if self.architecture not in _ACTIVATED:
            return [None]
        names = list(dict.fromkeys(given or default))
        self.shaping.check(names)
        strong = self.shaping.p is not None and self.shaping.p < 0.5
        if strong and self.architecture is not Architecture.mlp:
            raise refuse(
                "--p",
                f"must be at least 0.5 for --architecture {self.architecture.value}; got "
                f"{self.shaping.p:g}. Only mlp has a limit below.",
            )
        return [*names]

    def limit(self, name: Activation | None) -> AbstractLimit:
        """The limit, with this activation."""
        gamma = 0.5 if self.gamma is None else self.gamma
        tau0 = 1.0 if self.tau0 is None else self.tau0
        heads = 1 if self.heads is None else self.heads
        if name is None:
            return ShapedAttention(gamma, tau0, heads, self.output_projection)
        activation = self.shaping.activation(name)
        if self.architecture is Architecture.mlp:
            if activation.exponent < 0.5:
                return KernelODE(ActivationDrift(activation))
            return ShapedMLP(activation)
        if self.architecture is Architecture.resnet:
            return ShapedResNet(activation, gamma)
        return ShapedTransformer(
            activation,
            gamma,
            tau0,
            heads=heads,
            output_projection=self.output_projection,
            hidden_ratio=1.0 if self.hidden_ratio is None else self.hidden_ratio,
            feed_forward_gamma=self.feed_forward_gamma,
        )

    def label(self, name: Activation | None) -> str:
        """`tanh` for an MLP, `resnet-tanh`, `attention`."""
        if name is None or self.architecture is Architecture.mlp:
            return (name or self.architecture).value
        return f"{self.architecture.value}-{name.value}"

    def check_width(self, narrowest: int, inputs: int) -> None:
        """Refuses residual networks too narrow to start at the inputs' covariance."""
        if self.architecture is not Architecture.mlp and narrowest < inputs:
            raise refuse(
                "--widths",
                f"must be at least the number of inputs, {inputs}, for --architecture "
                f"{self.architecture.value}; got {narrowest}. Give larger widths.",
            )
