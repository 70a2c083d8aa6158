"""Diffusions: the noise of a covariance SDE as an operator on the factor, never a root."""

from typing import Any, ClassVar, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from ._built import Built, plain
from ._checks import is_concrete, parameter
from .brownian import NoiseShape, arrange, count_entries
from .matrices import (
    Lower,
    Square,
    Symmetric,
    congruence,
    factorise,
    gram,
    multiply_square,
)

# As many times as a gain that changes is looked at, for bounds and default steps.
_TIMES = 65


class Tangent(eqx.Module):
    """`dF = Y F + F A`: how a square factor of `V = F Fᵀ` moves.

    - `left`: `Y`, or None if there is no left multiplication.
    - `right`: `A`, or None if there is no right multiplication.
    """

    left: Square | None = None
    right: Square | None = None

    def __add__(self, other: "Tangent") -> "Tangent":
        return Tangent(_added(self.left, other.left), _added(self.right, other.right))

    def __mul__(self, number: float | Array) -> "Tangent":
        """Times a number, or one for each path."""
        sides = (self.left, self.right)
        return Tangent(*(None if side is None else side * number for side in sides))

    def of(self, frame: Square) -> Square:
        """`dF` at `F`."""
        left = None if self.left is None else multiply_square(self.left, frame)
        right = None if self.right is None else multiply_square(frame, self.right)
        moved = _added(left, right)
        return frame * 0.0 if moved is None else moved


def _added(one: Square | None, other: Square | None) -> Square | None:
    """Their sum, where None is nothing."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


class AbstractDiffusion(eqx.Module):
    """The noise of a covariance SDE, driven by a Brownian motion of matrices.

    A noise of random weights, `√Γ F dS Fᵀ`, is one method: `gain(t) -> Γ`. Any other is
    its vector fields on a factor, `tangent` and `correction`, and its `noise_shape`; with
    `apply` in their place it is for solvers that move `V` itself.
    """

    # Whether it is known to be the same at all times.
    autonomous: ClassVar[bool] = False

    @property
    def noise_shape(self) -> NoiseShape:
        """The Brownian motion it needs."""
        return "triangle"

    @property
    def vanishes(self) -> bool:
        """Whether there is known to be no noise, so that all paths are one."""
        return False

    def gain(self, t: float | Array) -> float | Scalar | None:
        """Γ at time `t` if the noise is `√Γ F dS Fᵀ` at all times; None for any other."""
        del t
        return None

    def gains(self, t: float | Array) -> float | Array | None:
        """Γ at one time, or at that of each path."""
        if self.autonomous or jnp.ndim(t) == 0:
            return self.gain(t)
        return jax.vmap(self.gain)(t)

    @Built
    def is_congruence(self) -> bool:
        """Whether it is `√Γ F dS Fᵀ`: whether it has a gain."""
        return self.gain(0.0 if self.autonomous else jnp.zeros(())) is not None

    @plain
    def largest_gain(self, t1: float) -> float | None:
        """The largest Γ over `[0, t1]`, for bounds and steps; None if there is no gain.

        Of the parameters' known values. A Γ that changes is looked at some dozens of times.
        """
        if self.autonomous:
            return self._constant_gain
        times = np.linspace(0.0, t1, _TIMES)
        return _largest(self, jax.vmap(self.gain)(jnp.asarray(times)), times)

    @Built
    def _constant_gain(self) -> float | None:
        """Γ, where it is the same at all times."""
        return _largest(self, self.gain(0.0), np.zeros(1))

    @plain
    def rate(self, m: int, t1: float = 1.0) -> float | Scalar:
        """Inverse time scale over `[0, t1]` (width/depth); sets the default step.

        By default `Γ m^{3/2}/2` for the largest Γ, and for 1 where there is no gain.
        """
        gain = self.largest_gain(t1)
        return (1.0 if gain is None else gain) * m**1.5 / 2

    def speed(self, t: Array, factor: Lower, args: Any) -> Array:
        """Inverse time scale at `V = L Lᵀ`, per path, of a noise that grows with `V`."""
        del t, args
        return jnp.zeros(factor.batch, factor.dtype)

    @property
    def speeds_up(self) -> bool:
        """Whether `speed` depends on V, so that each path needs a clock of its own."""
        return type(self).speed is not AbstractDiffusion.speed

    def tangent(self, t: Array, frame: Square, increment: Any, args: Any) -> Tangent:
        """`∘dF` at the factor `frame` of any `V`, for an increment of `noise_shape`.

        By default `½ √Γ F dS`.
        """
        del args
        gain = self._given_gain(t, "tangent", frame.dtype)
        half = symmetric_gaussian(increment) * (0.5 * jnp.sqrt(gain))
        return Tangent(right=Square.from_triangle(half))

    def correction(self, t: Array, frame: Square, rank: int | Array, args: Any) -> Tangent:
        """What `dt` multiplies so that `V = F Fᵀ`, of this rank, has no drift (Itô's).

        The Stratonovich equation is `dF = ∘tangent + correction dt`. By default
        `−¼ Γ (r + 1) F`, half of it the conversion from Itô's equation.
        """
        del args
        gain = self._given_gain(t, "correction", frame.dtype)
        identity = Square.identity(frame.m, frame.batch, frame.dtype)
        return Tangent(right=identity * (-0.25 * gain * (rank + 1)))

    def corrected(
        self, t: Array, frame: Square, increment: Any, rank: int | Array, h, args: Any
    ) -> Tangent:
        """`tangent`, and the `correction` over a time `h`: for what both have in common."""
        tangent = self.tangent(t, frame, increment, args)
        return tangent + self.correction(t, frame, rank, args) * h

    def apply(self, t: Array, factor: Lower, increment: Any, args: Any) -> Symmetric:
        """`Σ(V)^{1/2} dB` at `V = L Lᵀ`: by default `dF Fᵀ + F dFᵀ` of `tangent`."""
        gain = self.gains(t)
        if gain is not None:
            root = jnp.sqrt(jnp.asarray(gain, factor.dtype))
            return congruence(factor, symmetric_gaussian(increment) * root)
        frame = Square.from_triangle(factor)
        moved = self.tangent(t, frame, increment, args).of(frame)
        one_side = multiply_square(moved, frame.mT)
        return (one_side + one_side.mT).symmetric()

    def trace_variance(self, t: Array, factor: Lower, args: Any) -> Array:
        """`(d tr V)²/dt` at `V = L Lᵀ`, one per path.

        By default `2 Γ tr V²`, or found by differentiation: the trace is linear in the
        Brownian entries, and its coefficients' squares add up.
        """
        gain = self.gains(t)
        if gain is not None:
            v = Square.from_triangle(gram(factor))
            return 2 * jnp.asarray(gain, factor.dtype) * v.squared_norm()

        def moved(entries: Array) -> Array:
            increment = arrange(self.noise_shape, entries, factor.m)
            return jnp.sum(self.apply(t, factor, increment, args).trace())

        count = count_entries(self.noise_shape, factor.m)
        nothing = jnp.zeros((count, *factor.batch), factor.dtype)
        return jnp.sum(jax.grad(moved)(nothing) ** 2, axis=0)

    def covariance(self, v: Float[Array, "m m"]) -> Float[Array, "m m m m"]:
        """Dense `Σ^{ab,cd}` of one matrix at time 0: for tests and baselines, never for
        solving.

        By default `Γ (V^{ac}V^{bd} + V^{ad}V^{bc})`, or what `apply` makes of every
        Brownian motion by itself.
        """
        t = jnp.zeros((), v.dtype)
        gain = self.gain(t)
        if gain is not None:
            straight = v[:, None, :, None] * v[None, :, None, :]
            crossed = v[:, None, None, :] * v[None, :, :, None]
            return gain * (straight + crossed)
        m, count = v.shape[-1], count_entries(self.noise_shape, v.shape[-1])
        factor = factorise(jnp.broadcast_to(v, (count, m, m)))
        motions = arrange(self.noise_shape, jnp.eye(count, dtype=v.dtype), m)
        columns = self.apply(t, factor, motions, None).to_dense()
        return jnp.einsum("iab,icd->abcd", columns, columns)

    def __add__(self, other: "AbstractDiffusion") -> "AbstractDiffusion":
        """Both noises, independent of each other."""
        if self.is_congruence and other.is_congruence:
            return MergedDiffusion((self, other))
        return SumDiffusion((self, other))

    def _given_gain(self, t: float | Array, method: str, dtype: Any) -> Array:
        """Γ, where a method has been left to follow from it."""
        gain = self.gains(t)
        if gain is None:
            self._refuse(method)
        return jnp.asarray(gain, dtype)

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(
            f"`limit.diffusion`: {type(self).__name__} has no `{method}`, which "
            "`NinomiyaNinomiya()` steps it by. Write `gain` if it is √Γ F dS Fᵀ, else "
            "`tangent` and `correction`; or write `apply` and pass "
            "`solver=diffrax.Euler()`."
        )


def _largest(diffusion: AbstractDiffusion, gains: Any, times: np.ndarray) -> float | None:
    """The largest Γ of these times, None if there is none; refuses what is no variance."""
    if gains is None:
        return None
    gains = np.atleast_1d(np.asarray(gains))
    wrong = np.flatnonzero(~(np.isfinite(gains) & (gains >= 0)))
    if wrong.size:
        raise ValueError(
            f"`limit.diffusion`: Γ of {type(diffusion).__name__} must be finite and not "
            f"negative; got {gains[wrong[0]]:g} at time {times[wrong[0]]:g}. It is a "
            "variance: return 0 where there is no noise."
        )
    return float(np.max(gains))


class CongruenceDiffusion(AbstractDiffusion):
    """The noise of random weights, `√Γ F dS Fᵀ` for any factor `V = F Fᵀ`.

    `S` is the symmetric matrix Brownian motion (off-diagonal variance t, diagonal 2t), so
    `Σ^{ab,cd} = Γ (V^{ac}V^{bd} + V^{ad}V^{bc})`; Γ = 1 for an MLP.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2.
    """

    strength: Scalar
    autonomous: ClassVar[bool] = True

    def __init__(self, gain: float | Scalar = 1.0):
        """**Arguments:**

        - `gain`: Γ, not negative; kept as `strength`.
        """
        way_out = "Γ = 1 is the noise of a multilayer perceptron."
        self.strength = parameter(
            "gain", gain, "a finite number, not negative", way_out, test=lambda x: x >= 0
        )

    @property
    def vanishes(self):
        """Whether Γ = 0."""
        return is_concrete(self.strength) and float(self.strength) == 0

    @plain
    def gain(self, t):
        """Γ, the same at all times."""
        return self.strength


def symmetric_gaussian(increment: Lower) -> Symmetric:
    """`dS = (dG + dGᵀ)/√2`: off-diagonal variance t, diagonal variance 2t."""
    return increment.symmetrise(2**0.5)


class MergedDiffusion(AbstractDiffusion):
    """The sum of independent noises `√Γᵢ F dSᵢ Fᵀ`, which is one of `Γ = Σ Γᵢ`."""

    parts: tuple[AbstractDiffusion, ...]

    @property
    def autonomous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.autonomous for part in self.parts)

    @property
    def vanishes(self):
        """Whether every part does."""
        return all(part.vanishes for part in self.parts)

    def gain(self, t):
        """The sum of the gains."""
        return _sum(part.gain(t) for part in self.parts)


class SumDiffusion(AbstractDiffusion):
    """The sum of independent noises, each with its own Brownian motion."""

    parts: tuple[AbstractDiffusion, ...]

    @property
    def autonomous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.autonomous for part in self.parts)

    @property
    def noise_shape(self):
        """One for each part."""
        return tuple(part.noise_shape for part in self.parts)

    @plain
    def rate(self, m, t1=1.0):
        """The sum of the rates."""
        return sum(part.rate(m, t1) for part in self.parts)

    def speed(self, t, factor, args):
        """The sum of the speeds."""
        return _sum(part.speed(t, factor, args) for part in self.parts)

    def tangent(self, t, frame, increment, args):
        """The sum of `∘dFᵢ`."""
        pairs = zip(self.parts, increment, strict=True)
        return _sum(part.tangent(t, frame, db, args) for part, db in pairs)

    def correction(self, t, frame, rank, args):
        """The sum of the corrections, for the noises are independent."""
        return _sum(part.correction(t, frame, rank, args) for part in self.parts)

    def corrected(self, t, frame, increment, rank, h, args):
        """The sum of both, of each."""
        pairs = zip(self.parts, increment, strict=True)
        return _sum(part.corrected(t, frame, db, rank, h, args) for part, db in pairs)

    def apply(self, t, factor, increment, args):
        """The sum of `Σᵢ^{1/2} dBᵢ`."""
        pairs = zip(self.parts, increment, strict=True)
        return _sum(part.apply(t, factor, db, args) for part, db in pairs)

    def trace_variance(self, t, factor, args):
        """The sum of the variances."""
        return _sum(part.trace_variance(t, factor, args) for part in self.parts)

    def covariance(self, v):
        """The sum of the covariances."""
        return _sum(part.covariance(v) for part in self.parts)


def _sum(terms):
    first, *rest = terms
    for term in rest:
        first = first + term
    return first
