"""Limits: one architecture a file, each a drift and a diffusion."""

from ._base import AbstractLimit
from .mlp import ShapedMLP

__all__ = ["AbstractLimit", "ShapedMLP"]
