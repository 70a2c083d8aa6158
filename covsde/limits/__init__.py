"""Limits: one architecture a file, each a drift and a diffusion."""

from ._base import AbstractLimit
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
    "BranchCovariance",
    "KernelODE",
    "LeakyReLU",
    "ShapedAttention",
    "ShapedFeedForward",
    "ShapedMLP",
    "ShapedResNet",
    "ShapedTransformer",
    "SoftmaxDiffusion",
    "UnshapedMLP",
    "UnshapedSolution",
]
