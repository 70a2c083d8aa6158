"""The network that is asked for: its architecture, and the limit that it has."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from ..drifts import ActivationDrift
from ..limits import (
    AbstractLimit,
    BranchCovariance,
    KernelODE,
    LeakyReLU,
    ShapedAttention,
    ShapedMLP,
    ShapedResNet,
    ShapedTransformer,
    UnshapedMLP,
)
from ._errors import refuse
from ._options import FUNCTIONS, PANEL_WHAT, Activation, Shaping, check_use, real, whole


class Architecture(StrEnum):
    """Architectures by name."""

    mlp = "mlp"
    resnet = "resnet"
    attention = "attention"
    transformer = "transformer"
    unshaped = "unshaped"
    kernel_resnet = "kernel-resnet"


ARCHITECTURES = ", ".join(Architecture)
ARCHITECTURE_HELP = (
    f"{ARCHITECTURES}. unshaped: two inputs of a ReLU network without shaping. "
    "kernel-resnet: residual branches of size 1/√depth, whose limit is deterministic."
)
# the architectures that an option acts on; all others act on shaped activations
_SHAPED = (Architecture.mlp, Architecture.resnet, Architecture.transformer)
_ACTIVATED = (*_SHAPED, Architecture.kernel_resnet)
_ATTENTIVE = (Architecture.attention, Architecture.transformer)
_LEAKY = (Architecture.unshaped, Architecture.kernel_resnet)
_COVARIANCES = tuple(x for x in Architecture if x is not Architecture.unshaped)
_ACTS_ON = {
    "--activation": _ACTIVATED,
    "--gamma": (Architecture.resnet, *_ATTENTIVE),
    "--tau0": _ATTENTIVE,
    "--heads": _ATTENTIVE,
    "--output-projection": _ATTENTIVE,
    "--hidden-ratio": (Architecture.transformer,),
    "--feed-forward-gamma": (Architecture.transformer,),
    "--slope-plus": _LEAKY,
    "--slope-minus": _LEAKY,
    "--branch-variance": (Architecture.kernel_resnet,),
    "--solver": _COVARIANCES,
    "--stop-above": _COVARIANCES,
    "--float32": _COVARIANCES,
    "--method": _COVARIANCES,
}
# inputs that are taken if none are given
_DIGITS = 7

ArchitectureOption = Annotated[
    Architecture,
    typer.Option(
        "--architecture",
        metavar="NAME",
        help=ARCHITECTURE_HELP,
        rich_help_panel=PANEL_WHAT,
    ),
]
GammaOption = Annotated[
    float | None,
    typer.Option(
        "--gamma",
        parser=real,
        metavar="X",
        help="resnet, attention, transformer: the weight γ of residual branches, in "
        "(0, 1]. (default: 0.5)",
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
SlopePlusOption = Annotated[
    float | None,
    typer.Option(
        "--slope-plus",
        parser=real,
        metavar="X",
        help="unshaped, and relu in kernel-resnet: the slope s₊ for x > 0. (default: 1)",
        rich_help_panel=PANEL_WHAT,
    ),
]
SlopeMinusOption = Annotated[
    float | None,
    typer.Option(
        "--slope-minus",
        parser=real,
        metavar="X",
        help="unshaped, and relu in kernel-resnet: the slope s₋ for x < 0. (default: 0)",
        rich_help_panel=PANEL_WHAT,
    ),
]
BranchVarianceOption = Annotated[
    float | None,
    typer.Option(
        "--branch-variance",
        parser=real,
        metavar="X",
        help="kernel-resnet: the variance c > 0 of a branch's weights, times their fan-in. "
        "(default: 1)",
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
    slope_plus: float | None = None
    slope_minus: float | None = None
    branch_variance: float | None = None

    def activations(
        self, given: list[Activation], default: list[Activation]
    ) -> list[Activation | None]:
        """Those to use, each once; None where the architecture applies none.

        Refuses options of activations and architectures that have nothing to act on.
        """
        slopes = {"--slope-plus": self.slope_plus, "--slope-minus": self.slope_minus}
        self.check_use(
            {
                "--gamma": self.gamma,
                "--tau0": self.tau0,
                "--heads": self.heads,
                "--output-projection": self.output_projection or None,
                "--hidden-ratio": self.hidden_ratio,
                "--feed-forward-gamma": self.feed_forward_gamma,
                "--branch-variance": self.branch_variance,
                "--activation": given or None,
                **slopes,
                **self.shaping.options,
            }
        )
        if self.architecture not in _ACTIVATED:
            return [None]
        names = list(dict.fromkeys(given or default))
        self.shaping.check(names)
        check_use(slopes, "relu", Activation.relu in names, names)
        strong = self.shaping.p is not None and self.shaping.p < 0.5
        if strong and self.architecture is not Architecture.mlp:
            raise refuse(
                "--p",
                f"must be at least 0.5 for --architecture {self.architecture.value}; got "
                f"{self.shaping.p:g}. Only mlp has a limit below.",
            )
        return [*names]

    def check_use(self, options: dict[str, Any]) -> None:
        """Refuses options that the architecture has no use for; None was not given."""
        for option, value in options.items():
            users = _ACTS_ON.get(option, _SHAPED)
            if value is not None and self.architecture not in users:
                raise refuse(
                    option,
                    f"acts on {', '.join(users)} only; got --architecture "
                    f"{self.architecture.value}. Leave it out, or choose another "
                    "--architecture.",
                )

    @property
    def digits(self) -> int:
        """How many handwritten digits are its inputs if none are given."""
        return 2 if self.architecture is Architecture.unshaped else _DIGITS

    def limit(self, name: Activation | None) -> AbstractLimit | UnshapedMLP:
        """The limit, with this activation."""
        if self.architecture is Architecture.unshaped:
            return UnshapedMLP(*self._slopes)
        if self.architecture is Architecture.kernel_resnet and name is not None:
            c = 1.0 if self.branch_variance is None else self.branch_variance
            return KernelODE(BranchCovariance(self._function(name), c))
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

    @property
    def _slopes(self) -> tuple[float, float]:
        plus = 1.0 if self.slope_plus is None else self.slope_plus
        return plus, 0.0 if self.slope_minus is None else self.slope_minus

    def _function(self, name: Activation) -> Callable:
        """The activation of this name, without shaping."""
        if name is Activation.linear:
            return LeakyReLU(1.0, 1.0)
        return LeakyReLU(*self._slopes) if name is Activation.relu else FUNCTIONS[name]

    def label(self, name: Activation | None) -> str:
        """`tanh` for an MLP, `resnet-tanh`, `attention`."""
        if name is None or self.architecture is Architecture.mlp:
            return (name or self.architecture).value
        return f"{self.architecture.value}-{name.value}"

    def check_inputs(self, inputs: int, option: str) -> None:
        """Refuses more or fewer inputs than there is a limit for."""
        if self.architecture is Architecture.unshaped and inputs != 2:
            raise refuse(
                option,
                f"must give two inputs for --architecture unshaped; got {inputs}. Give two "
                "rows by --inputs, or --digits 2.",
            )

    def check_width(self, narrowest: int, inputs: int) -> None:
        """Refuses networks too narrow to start at the inputs' covariance."""
        if self.architecture is not Architecture.mlp and narrowest < inputs:
            raise refuse(
                "--widths",
                f"must be at least the number of inputs, {inputs}, for --architecture "
                f"{self.architecture.value}; got {narrowest}. Give larger widths.",
            )
