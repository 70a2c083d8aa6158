"""Drifts: `b(t, V)` of `dV = b dt + …`, written for one matrix, batched by the library."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Scalar

from ._checks import is_concrete, parameter
from .activations import AbstractActivation, Identity, check_shaped
from .flows import fourth_order_flow, positive_definite_flow
from .matrices import Lower, Symmetric, apart


class AbstractDrift(eqx.Module):
    """The drift of a covariance SDE.

    A new drift is one method, `__call__(t, v, args) -> b`, for one m×m matrix. It is
    batched by the library and moved by a flow that keeps `V` a covariance for every step;
    override `flow` where the drift has a better one of its own.

    It must not point out of the cone: `xᵀ b x ≥ 0` where `V x = 0`, or no solution stays a
    covariance. `solve` refuses a drift that is seen to do so at the start; a path that
    such a drift takes to the boundary later is stopped there, and its time recorded.
    """

    # Whether `flow` accepts a singular V0 (duplicate inputs, more inputs than features):
    # that which all have does; a class with another, which does not, must say False.
    accepts_singular: ClassVar[bool] = True

    @abc.abstractmethod
    def __call__(self, t: Array, v: Float[Array, "m m"], args: Any) -> Array:
        """`b(t, V)`, m×m and symmetric, for one covariance `V`.

        `V` is singular, in the last digits, only where the start is.
        """

    def batched(self, t: Array, v: Symmetric, args: Any) -> Symmetric:
        """`b(t, V)` for a batch of matrices."""
        return v.map_dense(lambda one: self(t, one, args))

    def flow(self, t: Array, h: Array, factor: Lower, args: Any) -> Lower:
        """Moves the factor of `V` by `dV = b dt` from `t` to `t + h`, within the cone.

        `h` is one time, or one for each path. The drift is that of the middle of the step.
        """
        middle = middle_of_step(t, h)
        return positive_definite_flow(lambda v: self.batched(middle, v, args), factor, h)

    def fourth_order_flow(self, t: Array, h: Array, factor: Lower, args: Any) -> Lower:
        """`flow`, of order 4 in `h` where the drift does not change with time.

        For means that are extrapolated; `V` should not be close to singular.
        """
        middle = middle_of_step(t, h)
        return fourth_order_flow(lambda v: self.batched(middle, v, args), factor, h)

    @property
    def max_step(self) -> float | Scalar:
        """Longest time for which `flow` is proven to stay within the cone."""
        return jnp.inf

    @property
    def rate(self) -> float | Scalar | None:
        """Inverse time scale of the drift (width/depth); sets the default step.

        None if it is not known: then it is looked at, at the start (`rate_at`).
        """
        return None

    def speed(self, factor: Lower) -> Array:
        """Inverse time scale at `V = L Lᵀ`, per path, of a drift that grows with `V`."""
        return jnp.zeros(factor.batch, factor.dtype)

    @property
    def speeds_up(self) -> bool:
        """Whether `speed` depends on V, so that each path needs a clock of its own."""
        return type(self).speed is not AbstractDrift.speed

    @property
    def can_explode(self) -> bool:
        """Whether the drift may take `V` to infinity in finite time."""
        return True

    @property
    def growth(self) -> float | Scalar | None:
        """`b^{aa}/V^{aa}` where it is one number; None where it depends on V.

        It makes the norms geometric Brownian motions under a noise `√Γ F dS Fᵀ`.
        """
        return None

    def __add__(self, other: "AbstractDrift") -> "AbstractDrift":
        """The drift of a block of both."""
        return SumDrift((*self.summands, *other.summands))

    @property
    def summands(self) -> "tuple[AbstractDrift, ...]":
        """The drifts that this one is the sum of."""
        return (self,)


def middle_of_step(t: Array, h: Array) -> Array:
    """`t + h/2`, of the whole step where some paths are slowed within it."""
    return t + (jnp.max(h) if t.ndim == 0 else h) / 2


class SumDrift(AbstractDrift):
    """The sum of drifts, as of the sub-layers of a block.

    Each part moves `V` by its own flow, so none of them may point out of the cone.
    """

    parts: tuple[AbstractDrift, ...]

    @property
    def summands(self):
        """The parts, none of which is a sum."""
        return self.parts

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
            factor = _flow(part, t, h / 2, factor, args)
        factor = _flow(inner, t, h, factor, args)
        middle = middle_of_step(t, h)
        for part in reversed(outer):
            factor = _flow(part, middle, h / 2, factor, args)
        return factor

    def speed(self, factor):
        """The sum of the speeds."""
        return jnp.sum(jnp.stack([part.speed(factor) for part in self.parts]), axis=0)

    @property
    def speeds_up(self):
        return any(part.speeds_up for part in self.parts)

    @property
    def max_step(self):
        *outer, inner = (part.max_step for part in self.parts)
        return jnp.min(jnp.asarray([inner, *(2 * longest for longest in outer)]))

    @property
    def rate(self):
        """The sum of the rates, if all are known."""
        total = 0.0
        for rate in (part.rate for part in self.parts):
            if rate is None:
                return None
            total = total + rate
        return total

    @property
    def can_explode(self):
        return any(part.can_explode for part in self.parts)

    @property
    def growth(self):
        """The sum of the growths, if all are numbers."""
        total = 0.0
        for growth in (part.growth for part in self.parts):
            if growth is None:
                return None
            total = total + growth
        return total


@apart
def _flow(drift: AbstractDrift, t: Array, h: Array, factor: Lower, args: Any) -> Lower:
    """A flow, compiled once for its two halves, and for all parts that are alike."""
    return drift.flow(t, h, factor, args)


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
        shaped = check_shaped(activation)
        self.activation = Identity() if shaped.exponent > 0.5 else shaped
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
        rate = self.activation.rate
        return None if rate is None else rate * self.gain

    def speed(self, factor):
        """The activation's own speed, times γ²."""
        return self.activation.speed(factor) * self.gain.astype(factor.dtype)

    @property
    def growth(self):
        """0 where the stability index is known to be."""
        index = self.activation.stability_index
        return 0.0 if is_concrete(index) and float(index) == 0 else None

    @property
    def speeds_up(self):
        return self.activation.speeds_up

    @property
    def can_explode(self):
        return self.activation.can_explode


# Times at which a drift is looked at, and turns of the power iteration there.
_TIMES, _TURNS = 9, 12


def rate_at(drift: AbstractDrift, v0: Float[Array, "m m"], t1: float) -> float:
    """Inverse time scale of a drift at a start, from 0 to `t1`; of a sum that of the parts.

    A rate that is not known is the largest of

    - the norm of `∂b/∂V` at `v0`, by power iteration. Rows are scaled to unit variances
      and no more: whitened, a start that is almost singular would have no end of a rate,
      which the flow does not feel.
    - `ω min(1, √‖b‖)`, with the rate `ω = max‖∂b/∂t‖/max‖b‖` at which `b` changes with
      time: in steps `h` a change costs `O(h² ω² b)`.

    All values must be known. 1 where `b` has no finite derivative there.
    """
    return float(sum(_rate_of(part, v0, t1) for part in drift.summands))


def _rate_of(drift: AbstractDrift, v0: Array, t1: float):
    if drift.rate is not None:
        return drift.rate
    try:
        rate = float(_looked_at(drift, v0, jnp.linspace(0.0, t1, _TIMES, dtype=v0.dtype)))
    except Exception as error:
        raise TypeError(
            f"`limit.drift`: {type(drift).__name__} could not be differentiated for its "
            f"rate ({type(error).__name__}). Write it with `jax.numpy`, give it a `rate`, "
            "or pass `dt0`."
        ) from error
    return rate if np.isfinite(rate) else 1.0


@eqx.filter_jit
def _looked_at(drift: AbstractDrift, v0: Array, times: Array) -> Array:
    deviations = jnp.sqrt(jnp.diagonal(v0))
    scale = deviations[:, None] * deviations[None, :]
    start = v0 / scale

    def b(t: Array, x: Array) -> Array:
        return drift(t, x * scale, None) / scale

    direction = jax.random.normal(jax.random.key(0), v0.shape, v0.dtype)

    def at(t: Array) -> tuple[Array, Array, Array]:
        value, change = jax.jvp(lambda t: b(t, start), (t,), (jnp.ones_like(t),))
        _, derivative = jax.linearize(lambda x: b(t, x), start)

        def turn(now, _):
            moved = derivative(now)
            size = jnp.linalg.norm(moved)
            return moved / jnp.where(size == 0, 1.0, size), size

        unit = direction + direction.T
        _, sizes = lax.scan(turn, unit / jnp.linalg.norm(unit), None, length=_TURNS)
        return jnp.linalg.norm(value), jnp.linalg.norm(change), jnp.max(sizes)

    size, change, rate = jax.tree.map(jnp.max, lax.map(at, times))
    in_time = jnp.where(change == 0, 0.0, change / size) * jnp.minimum(1.0, jnp.sqrt(size))
    return jnp.maximum(rate, in_time)
