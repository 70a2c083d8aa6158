"""Limits: one architecture a file, each a drift and a diffusion."""

from ._base import AbstractLimit
from ._bounds import Bounds
from ._excursion import Excursion
from ._registry import Registry
from .attention import AttentionDrift, ShapedAttention, SoftmaxDiffusion
from .block import Block
from .kernel import BranchCovariance, KernelODE, LeakyReLU
from .mlp import ShapedMLP
from .resnet import ShapedResNet
from .transformer import ShapedFeedForward, ShapedTransformer
from .unshaped import UnshapedMLP, UnshapedSolution

__all__ = [
    "AbstractLimit",
    "AttentionDrift",
    "Block",
    "Bounds",
    "BranchCovariance",
    "Excursion",
    "KernelODE",
    "LeakyReLU",
    "Registry",
    "ShapedAttention",
    "ShapedFeedForward",
    "ShapedMLP",
    "ShapedResNet",
    "ShapedTransformer",
    "SoftmaxDiffusion",
    "UnshapedMLP",
    "UnshapedSolution",
]
