"""The shaped multilayer perceptron."""

from ..activations import AbstractActivation
from ..diffusions import CongruenceDiffusion
from ..drifts import ActivationDrift
from ._base import AbstractLimit
from ._checks import check_activation


class ShapedMLP(AbstractLimit):
    """The Neural Covariance SDE, `dV = b(V) dt + F dS Fᵀ`, `V = F Fᵀ`.

    The limit, as depth and width grow together with depth/width → T, of the network
    `z_1 = W_0 x/√n_in`, `z_{l+1} = √(c/n) W_l φ_s(z_l)`, whose state is
    `V_0 = ⟨x^a, x^b⟩/n_in`, `V = (c/n) ⟨φ_s(z^a), φ_s(z^b)⟩`. Given `V_T`, its outputs
    are Gaussian with covariance `V_T`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorems 3.2 and 3.9.
    """

    activation: AbstractActivation

    def __init__(self, activation: AbstractActivation):
        """**Arguments:**

        - `activation`: the shaped activation, which sets the drift `b`.
        """
        self.activation = check_activation(activation)

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The activation's drift."""
        return ActivationDrift(self.activation)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The noise of the random weights, with Γ = 1."""
        return CongruenceDiffusion(1.0)
