"""The shaped residual network."""

from jaxtyping import Scalar

from ..activations import AbstractActivation
from ..diffusions import CongruenceDiffusion
from ..drifts import ActivationDrift
from ..equations import (
    DRIFT_TERM,
    RESIDUAL_WEIGHT,
    SYMBOLS,
    WEIGHTS_TERM,
    Equation,
    Symbol,
)
from ..references import NEURAL_COVARIANCE_SDE, SHAPED_AND_UNSHAPED, SHAPED_TRANSFORMER
from ._base import AbstractLimit
from ._checks import check_activation, check_gamma


class ShapedResNet(AbstractLimit):
    """`dV = γ² b(V) dt + √(γ²(2−γ²)) F dS Fᵀ`, with the drift `b` of the MLP.

    The limit of `z_{l+1} = λ z_l + γ √(c/n) W_l φ_s(z_l)`, `λ² + γ² = 1`, whose state is
    `V = ⟨z^a, z^b⟩/n`. With γ = 1 it is the limit of the MLP. It is not that limit with
    time changed: the noise is up to twice as strong.

    Source: the shaped MLP of "The Neural Covariance SDE" (Li, Nica, Roy 2022), with the
    residual branches of "The Shaped Transformer" (Noci et al. 2023), Section 3.
    """

    activation: AbstractActivation
    gamma: Scalar

    def __init__(self, activation: AbstractActivation, gamma: float | Scalar):
        """**Arguments:**

        - `activation`: the shaped activation, which sets the drift `b`.
        - `gamma`: weight γ of the residual branch, in (0, 1].
        """
        self.activation = check_activation(activation)
        self.gamma = check_gamma(gamma)

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The activation's drift, times γ²."""
        return ActivationDrift(self.activation, self.gamma**2)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The noise of the random weights, `Γ = γ²(2−γ²)`."""
        return CongruenceDiffusion(self.gamma**2 * (2 - self.gamma**2))

    @property
    def stability_index(self) -> Scalar | float:
        """`κ_eff = κ/(2−γ²)`: one input follows the MLP's one-input law with this index.

        In the time `γ²(2−γ²) t`: it explodes with positive probability if `κ_eff > 0`, and
        is stationary if `κ_eff < −1`.
        """
        return self.drift.activation.stability_index / (2 - self.gamma**2)

    @property
    def equations(self):
        """The SDE in LaTeX."""
        b = self.drift.activation.equation.within("activation")
        gain = r"\Gamma = \gamma^2 (2 - \gamma^2)"
        papers = (
            NEURAL_COVARIANCE_SDE.at("Theorem 3.2"),
            SHAPED_TRANSFORMER.at("Section 3"),
            SHAPED_AND_UNSHAPED.at("on residual branches and shaping"),
        )
        return (
            Equation(
                "ShapedResNet",
                (rf"\gamma^2 {DRIFT_TERM}", rf"\sqrt{{\Gamma}}\,{WEIGHTS_TERM}"),
                (
                    *b.symbols,
                    Symbol(
                        r"\Gamma", "strength of the noise", gain, self.diffusion.strength
                    ),
                    Symbol(r"\gamma", RESIDUAL_WEIGHT, "", self.gamma, "gamma"),
                    *SYMBOLS,
                ),
                (*b.references, *papers),
            ),
        )
