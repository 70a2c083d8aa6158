"""Laws that are known, where no SDE has to be solved.

Of the limits: norms, determinants, moments, pairs of inputs, one input, two tokens, and
the spectrum; `of` finds that of an observable. Of finite networks: log-norms of ReLU
ResNets and of products of random matrices, angles between two inputs, and the neural
tangent kernel.
"""

from ._base import AbstractLaw, AbstractLogNormLaw, LogGaussian, LogNormal
from ._known import of
from .angles import AngleProcess, J, layer_mean, layer_variance
from .attention import TwoTokens
from .constant import Constant
from .log_gaussian import (
    LogGaussianResNet,
    interlayer_bias,
    interlayer_covariance,
    kernel_limit_variance,
)
from .moments import EntryMoments, linear_network_moment, zero_drift_moment
from .norms import log_det_law, log_norm_law, log_pivot_law
from .ntk import OnDiagonalNTK, conditional_ntk
from .one_input import GammaLaw, NormLaw, NormPaths, OneInput
from .pair import PairLaw
from .products import LinearProduct, ReLUProduct
from .spectrum import FreeLogNormal

__all__ = [
    "AbstractLaw",
    "AbstractLogNormLaw",
    "AngleProcess",
    "Constant",
    "EntryMoments",
    "FreeLogNormal",
    "GammaLaw",
    "J",
    "LinearProduct",
    "LogGaussian",
    "LogGaussianResNet",
    "LogNormal",
    "NormLaw",
    "NormPaths",
    "OnDiagonalNTK",
    "OneInput",
    "PairLaw",
    "ReLUProduct",
    "TwoTokens",
    "conditional_ntk",
    "interlayer_bias",
    "interlayer_covariance",
    "kernel_limit_variance",
    "layer_mean",
    "layer_variance",
    "linear_network_moment",
    "log_det_law",
    "log_norm_law",
    "log_pivot_law",
    "of",
    "zero_drift_moment",
]
