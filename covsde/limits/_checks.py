"""What the parameters of architectures have to be."""

import jax

from .._checks import parameter
from ..activations import AbstractActivation, check_shaped


def check_activation(activation) -> AbstractActivation:
    """A shaped activation, whose drift does not outrun the noise."""
    if check_shaped(activation).exponent < 0.5:
        raise ValueError(
            "`activation` must be shaped with p ≥ 0.5 here; got p = "
            f"{activation.exponent:g}, for which V moves without noise in the time "
            "l n^{-2p}. Use `KernelODE(ActivationDrift(activation))`."
        )
    return activation


def check_gamma(gamma, name: str = "gamma") -> jax.Array:
    """The weight of a residual branch."""
    way_out = "γ weighs the residual branch and √(1−γ²) the skip connection."
    return parameter(name, gamma, "a number in (0, 1]", way_out, test=lambda x: 0 < x <= 1)


def positive(name: str, x, way_out: str) -> jax.Array:
    """A positive finite number."""
    return parameter(name, x, "a positive finite number", way_out, test=lambda x: x > 0)
