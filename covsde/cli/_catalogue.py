"""What there is to ask for, by name: architectures, activations and solvers."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from .. import solvers
from ..activations import Identity, ShapedReLU, ShapedSmooth
from ..limits import (
    BranchCovariance,
    LeakyReLU,
    ShapedAttention,
    ShapedMLP,
    ShapedResNet,
    ShapedTransformer,
    UnshapedMLP,
)

# The limit of each architecture, or the drift of one without noise.
ARCHITECTURES: dict[str, Callable] = {
    "mlp": ShapedMLP,
    "resnet": ShapedResNet,
    "attention": ShapedAttention,
    "transformer": ShapedTransformer,
    "unshaped": UnshapedMLP,
    "kernel-resnet": BranchCovariance,
}


def gelu(x):
    """`x Φ(x)`, exactly."""
    return jax.nn.gelu(x, approximate=False)


SMOOTH = {
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": gelu,
    "softplus": jax.nn.softplus,
    "sin": jnp.sin,
    "erf": jax.scipy.special.erf,
    "sigmoid": jax.nn.sigmoid,
}


def _itself(fn: Callable) -> Callable:
    return fn


_SHAPED = {
    "relu": ShapedReLU,
    **{name: partial(ShapedSmooth, fn) for name, fn in SMOOTH.items()},
    "linear": Identity,
}
_PLAIN = {
    "relu": LeakyReLU,
    **{name: partial(_itself, fn) for name, fn in SMOOTH.items()},
    "linear": partial(LeakyReLU, 1.0, 1.0),
}
# By the parameter that takes one: shaped by the width, or any function as it is.
ACTIVATIONS: dict[str, Mapping[str, Callable]] = {"activation": _SHAPED, "fn": _PLAIN}
GROUPS = {"smooth activation": tuple(SMOOTH), "shaped activation": ("relu", *SMOOTH)}

SOLVERS = {
    "geodesic": solvers.GeodesicStrang,
    "palindromic": solvers.PalindromicStrang,
    "wishart": solvers.WishartEuler,
    "factor": solvers.FactorEuler,
    "projected": solvers.ProjectedEuler,
    "ninomiya": solvers.NinomiyaNinomiya,
}

# Parameters whose name says little on a command line, and what those without a default are
# if they are not given.
RENAMED = {"c": "branch_variance"}
DEFAULTS = {"gamma": 0.5, "tau0": 1.0, "c_plus": 0.0, "c_minus": -1.0, "a": 1.0}
