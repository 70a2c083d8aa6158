"""Oracles: the finite network of every limit, sampled; for validation only.

A new limit adds one file: its [`covsde.oracles.AbstractNetwork`][], registered with
[`covsde.oracles.finite_network`][].
"""

from . import attention, kernel, mlp, resnet, transformer
from ._network import AbstractNetwork, finite_network, residual_stream
from ._sample import sample

__all__ = [
    "AbstractNetwork",
    "attention",
    "finite_network",
    "kernel",
    "mlp",
    "residual_stream",
    "resnet",
    "sample",
    "transformer",
]
