"""The network that is asked for: its architecture, and the limit that it has."""

from collections.abc import Iterable
from typing import NamedTuple

from ..activations import AbstractActivation
from ..drifts import AbstractDrift, ActivationDrift
from ..limits import AbstractLimit, KernelODE
from ._catalogue import ARCHITECTURES
from ._errors import refuse
from ._parameters import Parameters, User, activations_of, group_of, option_of, users


class Network(NamedTuple):
    """An architecture and its options."""

    architecture: str
    parameters: Parameters

    def activation(self, given: str | None) -> str | None:
        """That to use: a ReLU if none was given, and None where none is applied."""
        (name,) = self.activations([] if given is None else [given], ["relu"])
        return name

    def activations(self, given: list[str], default: list[str]) -> list[str | None]:
        """Those to use, each once; None where the architecture applies none.

        Refuses what was given for an activation or an architecture that takes none of it.
        """
        applied = activations_of(self.architecture)
        if given:
            every = (name for name in ARCHITECTURES if activations_of(name))
            self.check_architecture("--activation", every)
        names: list[str | None] = [None]
        if applied:
            names = [*dict.fromkeys(given or default)]
        takers = users()
        for name, value in self.parameters.items():
            if value is not None:
                self._check_use(option_of(name), takers[name], names)
        return names

    def check_architecture(self, option: str, takers: Iterable[str]) -> None:
        """Refuses an option that the architecture takes none of."""
        takers = list(dict.fromkeys(takers))
        if self.architecture not in takers:
            raise refuse(
                option,
                f"acts on {', '.join(takers)} only; got --architecture "
                f"{self.architecture}. Leave it out, or choose another --architecture.",
            )

    def _check_use(self, option: str, takers: list[User], names: list[str | None]) -> None:
        self.check_architecture(option, (one.architecture for one in takers))
        able = [one.activation for one in takers if one.architecture == self.architecture]
        if not set(able) & {None, *names}:
            activations = [name for name in able if name is not None]
            group = group_of(activations)
            wanted = f"a {group}" if group else ", ".join(activations)
            raise refuse(
                option,
                f"acts on {wanted} only; got --activation {', '.join(map(str, names))}. "
                "Leave it out, or choose another --activation.",
            )

    def limit(self, name: str | None) -> AbstractLimit:
        """The limit, with this activation."""
        make = ARCHITECTURES[self.architecture]
        if name is None:
            made = self.parameters.make(make)
        else:
            activation = self.parameters.make(activations_of(self.architecture)[name])
            if isinstance(activation, AbstractActivation) and activation.exponent < 0.5:
                return KernelODE(self._without_noise(activation))
            made = self.parameters.make(make, activation)
        return KernelODE(made) if isinstance(made, AbstractDrift) else made

    def _without_noise(self, activation: AbstractActivation) -> ActivationDrift:
        """The drift of shaping so strong that there is no noise."""
        if self.architecture != "mlp":
            raise refuse(
                "--p",
                f"must be at least 0.5 for --architecture {self.architecture}; got "
                f"{activation.exponent:g}. Only mlp has a limit below.",
            )
        return ActivationDrift(activation)

    def label(self, name: str | None) -> str:
        """`tanh` for an MLP, `resnet-tanh`, `attention`."""
        if name is None or self.architecture == "mlp":
            return name or self.architecture
        return f"{self.architecture}-{name}"

    def check_width(self, narrowest: int, inputs: int) -> None:
        """Refuses networks too narrow to start at the inputs' covariance."""
        if self.architecture != "mlp" and narrowest < inputs:
            raise refuse(
                "--widths",
                f"must be at least the number of inputs, {inputs}, for --architecture "
                f"{self.architecture}; got {narrowest}. Give larger widths.",
            )
