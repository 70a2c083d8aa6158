"""Drifts: `b(t, V)` of `dV = b dt + …`, written for one matrix, batched by the library."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ._checks import parameter
from .activations import AbstractActivation, Identity
from .flows import fourth_order_flow, positive_definite_flow
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

    def flow(self, t: Scalar, h: Array, factor: Lower, args: Any) -> Lower:
        """Moves the factor of `V` by `dV = b dt` from `t` to `t + h`, within the cone.

        `h` is one time, or one for each path. The drift is that of the middle of the step.
        """
        middle = middle_of_step(t, h)
        return positive_definite_flow(lambda v: self.batched(middle, v, args), factor, h)

    def fourth_order_flow(self, t: Scalar, h: Array, factor: Lower, args: Any) -> Lower:
        """`flow`, of order 4 in `h` where the drift does not change with time.

        For means that are extrapolated; `V` must not be singular.
        """
        middle = middle_of_step(t, h)
        return fourth_order_flow(lambda v: self.batched(middle, v, args), factor, h)

    @property
    def max_step(self) -> float | Scalar:
        """Longest time for which `flow` is proven to stay within the cone."""
        return jnp.inf

    @property
    def rate(self) -> float | Scalar:
        """Inverse time scale of the drift (width/depth); sets the default step."""
        return 1.0

    def speed(self, factor: Lower) -> Array:
        """Inverse time scale at `V = L Lᵀ`, per path, of a drift that grows with `V`."""
        return jnp.zeros(factor.batch, factor.dtype)

    @property
    def can_explode(self) -> bool:
        """Whether the drift may take `V` to infinity in finite time."""
        return True

    def __add__(self, other: "AbstractDrift") -> "AbstractDrift":
        """The drift of a block of both."""
        return SumDrift((self, other))


def middle_of_step(t: Scalar, h: Array) -> Array:
    """`t + h/2`, of the whole step where some paths are slowed within it."""
    return t + jnp.max(h) / 2


class SumDrift(AbstractDrift):
    """The sum of drifts, as of the sub-layers of a block."""

    parts: tuple[AbstractDrift, ...]

    @property
    def accepts_singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.accepts_singular for part in self.parts)

    def __call__(self, t, v, args):
        """The sum for one matrix."""
        return jnp.sum(jnp.stack([part(t, v, args) for part in self.parts]), axis=0)

    def batched(self, t, v, args):
        """The sum for a batch of matrices."""
        first, *rest = (part.batched(t, v, args) for part in self.parts)
        for b in rest:
            first = first + b
        return first

    def flow(self, t, h, factor, args):
        """The parts' flows as a palindrome (Strang splitting), of second order."""
        *outer, inner = self.parts
        for part in outer:
            factor = part.flow(t, h / 2, factor, args)
        factor = inner.flow(t, h, factor, args)
        middle = middle_of_step(t, h)
        for part in reversed(outer):
            factor = part.flow(middle, h / 2, factor, args)
        return factor

    def speed(self, factor):
        """The sum of the speeds."""
        return jnp.sum(jnp.stack([part.speed(factor) for part in self.parts]), axis=0)

    @property
    def max_step(self):
        *outer, inner = (part.max_step for part in self.parts)
        return jnp.min(jnp.asarray([inner, *(2 * longest for longest in outer)]))

    @property
    def rate(self):
        return jnp.sum(jnp.asarray([part.rate for part in self.parts]))

    @property
    def can_explode(self):
        return any(part.can_explode for part in self.parts)


class ActivationDrift(AbstractDrift):
    """The drift that a shaped activation induces, `γ² b(V^{aa}, V^{bb}, V^{ab})`.

    An activation shaped more weakly than by `1/√n`, `p > ½`, induces none in the time
    depth/width. For `p < ½` it is the drift in the time `l n^{-2p}`.
    """

    activation: AbstractActivation
    gain: Scalar

    def __init__(self, activation: AbstractActivation, gain: float | Scalar = 1.0):
        """**Arguments:**

        - `activation`: the shaped activation.
        - `gain`: γ², the share of the layer that passes through it; 1 for an MLP.
        """
        self.activation = Identity() if activation.exponent > 0.5 else activation
        way_out = "γ² = 1 is the drift of a multilayer perceptron."
        self.gain = parameter(
            "gain", gain, "a finite number, not negative", way_out, test=lambda x: x >= 0
        )

    @property
    def accepts_singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.activation.accepts_singular

    def __call__(self, t, v, args):
        """The drift of one matrix."""
        return self.batched(t, Symmetric.from_dense(v), args).to_dense()

    def batched(self, t, v, args):
        """The drift of a batch of matrices."""
        return self.activation.drift_of(v) * self.gain.astype(v.dtype)

    def flow(self, t, h, factor, args):
        """The activation's own flow, for the time `γ² h`."""
        return self.activation.flow(factor, self.gain.astype(factor.dtype) * h)

    def fourth_order_flow(self, t, h, factor, args):
        """The activation's own flow of order 4, for the time `γ² h`."""
        gain = self.gain.astype(factor.dtype)
        return self.activation.fourth_order_flow(factor, gain * h)

    @property
    def max_step(self):
        return self.activation.max_step / self.gain

    @property
    def rate(self):
        return self.activation.rate * self.gain

    @property
    def can_explode(self):
        return self.activation.can_explode
