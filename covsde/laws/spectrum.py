"""The spectrum of a linear network of many inputs: free multiplicative Brownian motion."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import count, number
from ._base import AbstractLaw, bisect
from ._checks import levels


class FreeLogNormal(AbstractLaw):
    """The law of an eigenvalue of `V_T` from `V_0 = I`, as `m → ∞` with `m Γ T → τ`.

    Its moments `m_k` have the generating function `ψ(w) = Σ m_k w^k` with

        w = ψ/(1+ψ) e^{−τψ}.

    Where the eigenvalue is `x = 1/w`, `ψ = a + ib` runs along the curve
    `a² + a + b² = b cot τb` through the upper half plane, with the density `b/πx` and the
    distribution function `1 + (τab − arg(1+ψ))/π`. Exact to rounding; computed by NumPy.

    Source: "Free Brownian Motion, Free Stochastic Calculus and Random Matrices" (Biane
    1997), for the motion; the curve and what is read off it are derived on the theory
    page.
    """

    tau: float = eqx.field(static=True)
    _highest: float = eqx.field(static=True)  # the largest b

    def __init__(self, tau: float):
        """**Arguments:**

        - `tau`: τ = m Γ T: inputs times depth/width, in [1e-20, 500].
        """
        accepted = "a number in [1e-20, 500]"
        way_out = (
            "It is inputs × depth/width; above, eigenvalues underflow, and below no floats "
            "are between them."
        )
        self.tau = number("tau", tau, accepted, way_out, test=lambda x: 1e-20 <= x <= 500)
        top = bisect(self._below, np.zeros(()), 0.0, np.pi / self.tau)
        self._highest = float(top)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """1."""
        return jnp.asarray(1.0)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """τ."""
        return jnp.asarray(self.tau)

    @property
    def edges(self) -> tuple[float, float]:
        """The ends of the support, where `ψ = (−1 ± √(1 + 4/τ))/2`."""
        low, high = np.exp(self._log_x(np.array([-1.0, 1.0])))
        return float(low), float(high)

    def moment(self, k: int) -> float:
        """`m_k = (1/k) Σ_{j<k} C(k, j+1) (kτ)^j/j!`: 1, 1+τ, 1+3τ+3τ²/2, …"""
        k = count("k", k, "The first moment is 1.")
        total, term = 0.0, 1.0
        for j in range(k):  # by ratios, for powers and factorials overflow
            total += term
            term *= k * self.tau * (k - j - 1) / ((j + 1) * (j + 2))
        return total

    def density(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The density, 0 outside of the edges."""
        x = np.asarray(levels("x", x), float)
        low, high = self.edges
        inside = (x > low) & (x < high)
        x = np.where(inside, x, 1.0)
        _, b = self._psi(self._find(x))
        return jnp.asarray(np.where(inside, b / (np.pi * x), 0.0))

    def _cdf(self, x):
        x = np.asarray(x, float)
        low, high = self.edges
        inside = self._share_below(self._find(np.clip(x, low, high)))
        return np.where(x <= low, 0.0, np.where(x >= high, 1.0, inside))

    def _quantile(self, p):
        s = bisect(self._share_below, np.asarray(p, float), -1.0, 1.0)
        return np.exp(self._log_x(s))

    # The curve, from its lower end at s = −1 to its upper end at s = 1

    def _below(self, b: np.ndarray) -> np.ndarray:
        """`−(a + ½)²` on the curve."""
        return b**2 - _cot(b, self.tau) - 0.25

    def _psi(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`a` and `b = h (1 − s²)`, with h the height of the curve, where `a = −½`."""
        h, b = self._highest, self._highest * (1 - s**2)
        # (a + ½)² = ¼ − b² + b cot τb, less its value 0 at h, over s²: without cancellation
        turned = _sinc(self.tau * h * s**2) / _sinc(self.tau * b) / np.sin(self.tau * h)
        squared = h**2 * (2 - s**2) + h * turned - _cot(h, self.tau)
        return s * np.sqrt(squared) - 0.5, b

    def _log_x(self, s: np.ndarray) -> np.ndarray:
        a, b = self._psi(s)
        # log |1 + 1/ψ| + τ a
        return np.log1p((1 + 2 * a) / (a**2 + b**2)) / 2 + self.tau * a

    def _share_below(self, s: np.ndarray) -> np.ndarray:
        a, b = self._psi(s)
        return 1 + (self.tau * a * b - np.arctan2(b, 1 + a)) / np.pi

    def _find(self, x: np.ndarray) -> np.ndarray:
        return bisect(self._log_x, np.log(x), -1.0, 1.0)


def _sinc(x):
    """`sin x/x`."""
    return np.sinc(x / np.pi)


def _cot(b, tau):
    """`b cot τb`."""
    return np.cos(tau * b) / (tau * _sinc(tau * b))
