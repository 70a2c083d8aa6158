"""Diffusions: the noise of a covariance SDE as an operator on the factor, never a root."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ._checks import is_concrete, parameter
from .brownian import NoiseShape, arrange, count_entries
from .matrices import Lower, Square, Symmetric, congruence, factorise


class AbstractDiffusion(eqx.Module):
    """The noise of a covariance SDE, driven by a Brownian motion of matrices."""

    @property
    def noise_shape(self) -> NoiseShape:
        """The Brownian motion it needs."""
        return "triangle"

    @property
    def vanishes(self) -> bool:
        """Whether there is known to be no noise, so that all paths are one."""
        return False

    def rate(self, m: int) -> float | Scalar:
        """Inverse time scale of the noise (width/depth); sets the default step."""
        return m**1.5 / 2

    @abc.abstractmethod
    def at(self, t: Scalar, factor: Lower, args: Any) -> "AbstractNoise":
        """The noise where `V = L Lᵀ`: what multiplies the Brownian increment."""

    def covariance(self, v: Float[Array, "m m"]) -> Float[Array, "m m m m"]:
        """Dense `Σ^{ab,cd}` of one matrix: for tests and baselines, never for solving.

        By default what the noise at time 0 makes of every Brownian motion by itself.
        """
        m, count = v.shape[-1], count_entries(self.noise_shape, v.shape[-1])
        factor = factorise(jnp.broadcast_to(v, (count, m, m)))
        motions = arrange(self.noise_shape, jnp.eye(count, dtype=v.dtype), m)
        columns = self.at(jnp.zeros((), v.dtype), factor, None).apply(motions).to_dense()
        return jnp.einsum("iab,icd->abcd", columns, columns)

    def __add__(self, other: "AbstractDiffusion") -> "AbstractDiffusion":
        """Both noises, independent of each other."""
        return SumDiffusion((self, other))


class AbstractNoise(eqx.Module):
    """A diffusion at one state.

    As right multiplication of a factor, `dF = F dA`, a noise also stands for its
    Stratonovich vector fields: `field` is dA, `correction` the drift that goes with it.
    """

    @abc.abstractmethod
    def apply(self, increment: Any) -> Symmetric:
        """`Σ(V)^{1/2} dB` for an increment of the Brownian motion, of `noise_shape`."""

    def speed(self) -> Array | float:
        """Inverse time scale here, one per path, of a noise that grows with `V`."""
        return 0.0

    def field(self, frame: Square, increment: Any) -> Square:
        """`dA` at the factor `frame` of any `V`, for an increment of the motion."""
        raise self._not_known("field")

    def correction(self, frame: Square, rank: int | Array) -> Square:
        """`c` for which `dF = F (∘dA + c dt)` makes `V = F Fᵀ`, of this rank, driftless."""
        raise self._not_known("correction")

    def _not_known(self, method: str) -> TypeError:
        return TypeError(
            f"`limit.diffusion`: {type(self).__name__} has no `{method}`, which "
            "`NinomiyaNinomiya()` steps it by. Write `field` and `correction`, or pass "
            "`solver=diffrax.Euler()`."
        )


class CongruenceDiffusion(AbstractDiffusion):
    """The noise of random weights, `√Γ F dS Fᵀ` for any factor `V = F Fᵀ`.

    `S` is the symmetric matrix Brownian motion (off-diagonal variance t, diagonal 2t), so
    `Σ^{ab,cd} = Γ (V^{ac}V^{bd} + V^{ad}V^{bc})`; Γ = 1 for an MLP.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2.
    """

    gain: Scalar

    def __init__(self, gain: float | Scalar = 1.0):
        """**Arguments:**

        - `gain`: Γ, not negative.
        """
        way_out = "Γ = 1 is the noise of a multilayer perceptron."
        self.gain = parameter(
            "gain", gain, "a finite number, not negative", way_out, test=lambda x: x >= 0
        )

    @property
    def vanishes(self):
        """Whether Γ = 0."""
        return is_concrete(self.gain) and float(self.gain) == 0

    def at(self, t, factor, args):
        """The noise where `V = L Lᵀ`."""
        return CongruenceNoise(factor, self.gain)

    def rate(self, m):
        """`Γ m^{3/2}/2`."""
        return self.gain * m**1.5 / 2

    def __add__(self, other):
        """Two of this kind are one."""
        if isinstance(other, CongruenceDiffusion):
            return CongruenceDiffusion(self.gain + other.gain)
        return super().__add__(other)

    def covariance(self, v):
        """`Γ (V^{ac}V^{bd} + V^{ad}V^{bc})`."""
        straight = v[:, None, :, None] * v[None, :, None, :]
        crossed = v[:, None, None, :] * v[None, :, :, None]
        return self.gain * (straight + crossed)


class CongruenceNoise(AbstractNoise):
    """`dB ↦ √Γ L dS Lᵀ`, where `dS` has the entries of `dB`, times √2 on the diagonal."""

    factor: Lower
    gain: Scalar

    def apply(self, increment):
        """`√Γ L dS Lᵀ`."""
        gain = self.gain.astype(self.factor.dtype)
        return congruence(self.factor, symmetric_gaussian(increment) * jnp.sqrt(gain))

    def field(self, frame, increment):
        """`½ √Γ dS`, the same at every factor."""
        gain = self.gain.astype(frame.dtype)
        half = symmetric_gaussian(increment) * (0.5 * jnp.sqrt(gain))
        return Square.from_triangle(half)

    def correction(self, frame, rank):
        """`−¼ Γ (r + 1) I`, half of it the conversion from Itô's equation."""
        gain = self.gain.astype(frame.dtype)
        identity = Square.identity(frame.m, frame.batch, frame.dtype)
        return identity * (-0.25 * gain * (rank + 1))


def symmetric_gaussian(increment: Lower) -> Symmetric:
    """`dS = (dG + dGᵀ)/√2`: off-diagonal variance t, diagonal variance 2t."""
    return increment.symmetrise(2**0.5)


class SumDiffusion(AbstractDiffusion):
    """The sum of independent noises, as of the sub-layers of a block."""

    parts: tuple[AbstractDiffusion, ...]

    @property
    def noise_shape(self):
        """One for each part."""
        return tuple(part.noise_shape for part in self.parts)

    def rate(self, m):
        """The sum of the rates."""
        return sum(part.rate(m) for part in self.parts)

    def at(self, t, factor, args):
        """The parts where `V = L Lᵀ`."""
        return SumNoise(tuple(part.at(t, factor, args) for part in self.parts))

    def covariance(self, v):
        """The sum of the covariances."""
        return _sum(part.covariance(v) for part in self.parts)


class SumNoise(AbstractNoise):
    """Independent noises, each with its own increment."""

    parts: tuple[AbstractNoise, ...]

    def apply(self, increment):
        """The sum of `Σ_i^{1/2} dB_i`."""
        return _sum(n.apply(db) for n, db in zip(self.parts, increment, strict=True))

    def speed(self):
        """The sum of the speeds."""
        return _sum(noise.speed() for noise in self.parts)

    def field(self, frame, increment):
        """The sum of `dA_i`."""
        pairs = zip(self.parts, increment, strict=True)
        return _sum(noise.field(frame, db) for noise, db in pairs)

    def correction(self, frame, rank):
        """The sum of the corrections, for the noises are independent."""
        return _sum(noise.correction(frame, rank) for noise in self.parts)


def _sum(terms):
    first, *rest = terms
    for term in rest:
        first = first + term
    return first
