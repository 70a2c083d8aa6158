"""The shaped multilayer perceptron."""

import functools
from typing import Any, ClassVar

import jax

from ..activations import AbstractActivation
from ..diffusions import CongruenceDiffusion
from ..drifts import ActivationDrift
from ..equations import DRIFT_TERM, SYMBOLS, WEIGHTS_TERM, Equation
from ..references import NEURAL_COVARIANCE_SDE, SHAPED_AND_UNSHAPED
from ._base import AbstractLimit
from ._checks import check_activation


@functools.cache
def _noise(dtype: Any) -> CongruenceDiffusion:
    """Γ = 1 in the dtype of parameters: one for all, so that a sweep makes one."""
    del dtype
    with jax.ensure_compile_time_eval():
        return CongruenceDiffusion(1.0)


class ShapedMLP(AbstractLimit):
    """The Neural Covariance SDE, `dV = b(V) dt + F dS Fᵀ`, `V = F Fᵀ`.

    The limit, as depth and width grow together with depth/width → T, of the network
    `z_1 = W_0 x/√n_in`, `z_{l+1} = √(c/n) W_l φ_s(z_l)`, whose state is
    `V_0 = ⟨x^a, x^b⟩/n_in`, `V = (c/n) ⟨φ_s(z^a), φ_s(z^b)⟩`. Given `V_T`, its outputs
    are Gaussian with covariance `V_T`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorems 3.2 and 3.9.
    """

    activation: AbstractActivation
    finite_width_bias: ClassVar[str] = "of O(1/n)"

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
        return _noise(jax.dtypes.canonicalize_dtype(float))

    @property
    def equations(self):
        """The SDE in LaTeX."""
        b = self.drift.activation.equation.within("activation")
        papers = (
            NEURAL_COVARIANCE_SDE.at("Theorem 3.2"),
            SHAPED_AND_UNSHAPED.at("on its relation to unshaped networks"),
        )
        return (
            Equation(
                "ShapedMLP",
                (DRIFT_TERM, WEIGHTS_TERM),
                (*b.symbols, *SYMBOLS),
                (*b.references, *papers),
            ),
        )
