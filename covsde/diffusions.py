"""Diffusions: the noise of a covariance SDE as an operator on the factor, never a root."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ._checks import parameter
from .matrices import Lower, Symmetric, congruence


class AbstractDiffusion(eqx.Module):
    """The noise of a covariance SDE, driven by a Brownian motion of lower triangles."""

    @abc.abstractmethod
    def at(self, t: Scalar, factor: Lower, args: Any) -> "AbstractNoise":
        """The noise where `V = L Lᵀ`: what multiplies the Brownian increment."""

    @abc.abstractmethod
    def covariance(self, v: Float[Array, "m m"]) -> Float[Array, "m m m m"]:
        """Dense `Σ^{ab,cd}` of one matrix: for tests and baselines, never for solving."""


class AbstractNoise(eqx.Module):
    """A diffusion at one state."""

    @abc.abstractmethod
    def apply(self, increment: Lower) -> Symmetric:
        """`Σ(V)^{1/2} dB` for a Brownian increment of `m(m+1)/2` independent entries."""


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

    def at(self, t, factor, args):
        """The noise where `V = L Lᵀ`."""
        return CongruenceNoise(factor, self.gain)

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
        return congruence(self.factor, symmetric_gaussian(increment)) * jnp.sqrt(gain)


def symmetric_gaussian(increment: Lower) -> Symmetric:
    """`dS = (dG + dGᵀ)/√2`: off-diagonal variance t, diagonal variance 2t."""
    return increment.symmetrise(2**0.5)
