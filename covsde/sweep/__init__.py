"""Statistics of paths over a grid of parameters, by one compiled program."""

from ._sweep import sweep

__all__ = ["sweep"]
