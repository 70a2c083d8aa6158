"""Drifts: `b(t, V)` of `dV = b dt + …`, written for one matrix, batched by the library."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from .activations import AbstractActivation
from .flows import positive_definite_flow
from .matrices import Lower, Symmetric


class AbstractDrift(eqx.Module):
    """The drift of a covariance SDE.

    A new drift is one method, `__call__(t, v, args) -> b`, for one m×m matrix. It is
    batched by the library and moved by a flow that keeps `V` positive definite for
    every step; override `flow` where the drift has a better one of its own.
    """

    # Whether `flow` accepts a singular V0 (duplicate inputs, more inputs than features).
    accepts_singular: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, t: Scalar, v: Float[Array, "m m"], args: Any) -> Array:
        """`b(t, V)`, m×m and symmetric, for one symmetric positive-definite `V`."""

    def batched(self, t: Scalar, v: Symmetric, args: Any) -> Symmetric:
        """`b(t, V)` for a batch of matrices."""
        return v.map_dense(lambda one: self(t, one, args))

    def flow(self, t: Scalar, h: Scalar, factor: Lower, args: Any) -> Lower:
        """Moves the factor of `V` by `dV = b dt` from `t` to `t + h`, within the cone."""
        return positive_definite_flow(lambda v: self.batched(t, v, args), factor, h)

    @property
    def max_step(self) -> float | Scalar:
        """Longest time for which `flow` is proven to stay within the cone."""
        return jnp.inf

    @property
    def rate(self) -> float | Scalar:
        """Inverse time scale of the drift (width/depth); sets the default step."""
        return 1.0

    @property
    def can_explode(self) -> bool:
        """Whether the drift may take `V` to infinity in finite time."""
        return True


class ActivationDrift(AbstractDrift):
    """The drift that a shaped activation induces, `b^{ab} = b(V^{aa}, V^{bb}, V^{ab})`."""

    activation: AbstractActivation

    @property
    def accepts_singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.activation.accepts_singular

    def __call__(self, t, v, args):
        """The drift of one matrix."""
        return self.batched(t, Symmetric.from_dense(v), args).to_dense()

    def batched(self, t, v, args):
        """The drift of a batch of matrices."""
        return v.pairwise(self.activation.drift)

    def flow(self, t, h, factor, args):
        """The activation's own flow."""
        return self.activation.flow(factor, h)

    @property
    def max_step(self):
        return self.activation.max_step

    @property
    def rate(self):
        return self.activation.rate

    @property
    def can_explode(self):
        return self.activation.can_explode
