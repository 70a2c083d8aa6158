"""Shaped activations: what a network of width n applies, and the drift it induces."""

from ._base import AbstractActivation, Identity
from ._base import check_shaped as check_shaped
from ._relu import ShapedReLU, nu
from ._smooth import ShapedSmooth
from ._smooth import expanded as expanded

__all__ = ["AbstractActivation", "Identity", "ShapedReLU", "ShapedSmooth", "nu"]
