"""The law of the correlation of two inputs under a shaped ReLU, to many digits.

In `θ = arccos ρ`, `dθ = −k (1 − θ cot θ) dt + sin θ dB`, `k = (c₊ − c₋)²/2π`, whatever
the norms ("The Neural Covariance SDE", Theorem 3.2). Its backward equation

    ∂f/∂t = −k (1 − θ cot θ) f' + ½ sin²θ f''

is collocated at the Chebyshev nodes of (0, π) and solved by the exponential of the matrix.
It degenerates at θ = 0; at θ = π the singular drift pushes inwards. So nothing has to be
prescribed at the ends, and the nodes leave them out.
"""

import numpy as np
from scipy.linalg import expm
from scipy.optimize import brentq


class PairLaw:
    """The law of `ρ_t` given `ρ_0`, for one time and one `(c₊ − c₋)²`.

    With 64 nodes, at t = 1, means of polynomials in ρ are exact to 1e-9 and the
    distribution function to 3e-5; before that it is better.
    """

    def __init__(self, t, strength=1.0, nodes=64):
        self._phi = (np.arange(nodes) + 0.5) * np.pi / nodes
        self._weights = (-1.0) ** np.arange(nodes) * np.sin(self._phi)
        self.theta = np.pi / 2 * (1 - np.cos(self._phi))
        d = self._derivative()
        k = strength / (2 * np.pi)
        drift = -k * (1 - self.theta / np.tan(self.theta))
        variance = np.sin(self.theta) ** 2
        self._semigroup = expm(t * (drift[:, None] * d + variance[:, None] / 2 * (d @ d)))

    def _derivative(self):
        """The matrix of d/dθ: barycentric weights over distances without cancellation."""
        plus, minus = self._phi[:, None] + self._phi, self._phi[:, None] - self._phi
        gaps = np.pi * np.sin(plus / 2) * np.sin(minus / 2)
        np.fill_diagonal(gaps, 1.0)
        d = self._weights / self._weights[:, None] / gaps
        np.fill_diagonal(d, 0.0)
        np.fill_diagonal(d, -d.sum(axis=1))
        return d

    def weights(self, rho0):
        """Weights `w` with `E f(ρ_t) = Σ w_i f(cos θ_i)`; not all are positive."""
        gaps = np.arccos(rho0) - self.theta
        if np.any(gaps == 0):
            return self._semigroup[np.argmin(np.abs(gaps))]
        interpolation = self._weights / gaps
        return interpolation / interpolation.sum() @ self._semigroup

    def mean(self, f, rho0):
        """`E f(ρ_t)` for a smooth function of ρ."""
        return float(self.weights(rho0) @ f(np.cos(self.theta)))

    def cdf(self, rho, rho0):
        """`P(ρ_t ≤ ρ)`, from the Chebyshev moments of the law.

        With `θ = π (1 − cos φ)/2` the density of φ is `(1 + 2 Σ E[cos kφ] cos kφ)/π`,
        integrated term by term; the law has no mass near either end.
        """
        k = np.arange(1, self.theta.size)
        moments = np.cos(np.outer(k, self._phi)) @ self.weights(rho0)
        theta = np.arccos(np.clip(np.asarray(rho, float), -1.0, 1.0))
        phi = np.arccos(1 - 2 * theta / np.pi)
        # Clenshaw's sum of Σ 2 E[cos kφ] sin(kφ)/k, for many φ at once
        one, two, twice = np.zeros_like(phi), np.zeros_like(phi), 2 * np.cos(phi)
        for c in (2 * moments / k)[::-1]:
            one, two = c + twice * one - two, one
        return np.clip(1 - (phi + np.sin(phi) * one) / np.pi, 0.0, 1.0)

    def quantile(self, p, rho0):
        """The `p`-quantile of `ρ_t`."""
        return brentq(lambda rho: float(self.cdf(rho, rho0)) - p, -1.0, 1.0)
