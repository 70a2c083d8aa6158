"""Laws of finite networks in closed form, where no SDE is needed.

Log-norms of ReLU ResNets and of products of random matrices, angles between two inputs,
and the neural tangent kernel.
"""

from ._base import AbstractLogNormLaw, LogGaussian
from .angles import AngleProcess, J, layer_mean, layer_variance
from .log_gaussian import (
    LogGaussianResNet,
    interlayer_bias,
    interlayer_covariance,
    kernel_limit_variance,
)
from .ntk import OnDiagonalNTK, conditional_ntk
from .products import LinearProduct, ReLUProduct

__all__ = [
    "AbstractLogNormLaw",
    "AngleProcess",
    "J",
    "LinearProduct",
    "LogGaussian",
    "LogGaussianResNet",
    "OnDiagonalNTK",
    "ReLUProduct",
    "conditional_ntk",
    "interlayer_bias",
    "interlayer_covariance",
    "kernel_limit_variance",
    "layer_mean",
    "layer_variance",
]
