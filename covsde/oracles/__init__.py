"""Oracles: the finite network of every limit and law, sampled; for validation only.

A new limit adds one file: its [`covsde.oracles.AbstractNetwork`][], registered with
[`covsde.oracles.finite_network`][].
"""

from . import (
    attention,
    kernel,
    mlp,
    ntk,
    relu_pair,
    relu_resnet,
    resnet,
    transformer,
    unshaped,
)
from ._network import AbstractNetwork, finite_network, residual_stream
from ._sample import check_method as check_method
from ._sample import layers_of as layers_of
from ._sample import network_of as network_of
from ._sample import sample
from ._sample import sampled as sampled

__all__ = [
    "AbstractNetwork",
    "attention",
    "finite_network",
    "kernel",
    "mlp",
    "ntk",
    "relu_pair",
    "relu_resnet",
    "residual_stream",
    "resnet",
    "sample",
    "transformer",
    "unshaped",
]
