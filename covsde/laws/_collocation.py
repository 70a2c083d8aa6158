"""The law of a diffusion between two ends that it does not reach, to many digits.

Of `dp = drift dt + √variance dB` on `(0, c)`, with `q = c − p`. In the coordinate

    x = log (p + δ₀)/(q + δ₁),

the backward equation `∂f/∂t = drift f' + ½ variance f''` is collocated at Chebyshev nodes
and solved by the exponential of the matrix. Its coefficients degenerate at the ends, or
push inwards; so nothing has to be prescribed there, and the nodes leave them out. Closer
to an end than δ the law has no mass to speak of, and is not resolved.
"""

from collections.abc import Callable

import equinox as eqx
import numpy as np
from scipy.linalg import expm

from ._base import bisect

# of a weight, relative to the largest
_ROUNDING = 1e-11
# what the last Chebyshev moments of a law may be
_COARSEST = 1e-3


class Collocated(eqx.Module):
    """The law of `p_t`, given where it starts."""

    p: np.ndarray  # the nodes, increasing
    q: np.ndarray
    weights: np.ndarray  # `E f(p_t) = Σ w_i f(p_i)`; some are negative, of rounding size
    moments: np.ndarray  # `2 E cos(kφ)/k`, of the φ of `_angles`
    length: float = eqx.field(static=True)
    margins: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        drift: Callable,
        variance: Callable,
        start: tuple[float, float],
        t: float,
        *,
        margins: tuple[float, float],
        nodes: int,
        absorbed: bool = False,
    ):
        """`drift` and `variance` take `p, q`; `start` is both; `margins` are δ₀ and δ₁.

        With `absorbed`, paths that reach `q = 0` count as 0 in every mean.
        """
        self.length = float(sum(start))
        self.margins = float(margins[0]), float(margins[1])
        phi = (np.arange(nodes) + 0.5) * np.pi / nodes
        self.p, self.q = self._places(phi)
        low, high = self.p + self.margins[0], self.q + self.margins[1]
        slope, bend = 1 / low + 1 / high, 1 / high**2 - 1 / low**2
        bary, d = _barycentric(phi)
        d *= 2 / np.ptp(self._ends)
        if absorbed:  # f vanishes with q: polynomials stand for f/q
            d = self.q[:, None] * d / self.q - np.diag(1 / (self.q * slope))
        noise = variance(self.p, self.q) / 2
        first = drift(self.p, self.q) * slope + noise * bend
        generator = first[:, None] * d + (noise * slope**2)[:, None] * (d @ d)
        gaps = np.cos(phi) - np.cos(self._angles(*start))
        if np.all(gaps):
            row = bary / gaps / np.sum(bary / gaps)
        else:
            row = (gaps == 0).astype(float)
        if absorbed:
            row = row * start[1] / self.q
        weights = row @ expm(t * generator)
        k = np.arange(1, nodes)
        cosines = np.cos(np.outer(k, phi)) @ weights
        noise = np.max(np.abs(cosines[-nodes // 8 :]))
        if not absorbed and not noise < _COARSEST:
            raise ValueError(
                f"`nodes` must be more to resolve this law; got {nodes}, which leave an "
                f"error of {noise:.1g}. Double them, or simulate with `covsde.solve`."
            )
        self.weights = _without_noise(weights)
        self.moments = 2 * cosines / k

    @property
    def _ends(self) -> np.ndarray:
        low, high = self.margins
        return np.log([low / (self.length + high), (self.length + low) / high])

    def _places(self, phi):
        """`p` and `q` where `x` is `1 − cos φ` of the way between its ends, halved."""
        start, end = self._ends
        low, high = self.margins
        e = np.exp(start + (end - start) * np.sin(phi / 2) ** 2)
        p = (e * (self.length + high) - low) / (1 + e)
        q = (self.length + low - e * high) / (1 + e)
        return np.clip(p, 0.0, self.length), np.clip(q, 0.0, self.length)

    def _angles(self, p, q):
        """φ from 0 to π, of `p` and `q = c − p`."""
        start, end = self._ends
        x = np.log((p + self.margins[0]) / (q + self.margins[1]))
        return 2 * np.arcsin(np.sqrt(np.clip((x - start) / (end - start), 0.0, 1.0)))

    def mean(self, values: np.ndarray) -> float:
        """`E f(p_t)`, of the values of `f` at the nodes."""
        return float(self.weights @ values)

    def _cdf(self, phi: np.ndarray) -> np.ndarray:
        """Term by term, of the density `(1 + 2 Σ E[cos kφ] cos kφ)/π` of φ."""
        # Clenshaw's sum, for many φ at once
        one, two, twice = np.zeros_like(phi), np.zeros_like(phi), 2 * np.cos(phi)
        for c in self.moments[::-1]:
            one, two = c + twice * one - two, one
        return np.clip((phi + np.sin(phi) * one) / np.pi, 0.0, 1.0)

    def cdf(self, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        """`P(p_t ≤ p)`, where `q = c − p`."""
        return self._cdf(self._angles(p, q))

    def quantile(self, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`p` and `q` where the distribution function has this value."""
        return self._places(bisect(self._cdf, probability, 0.0, np.pi))


def _without_noise(weights: np.ndarray) -> np.ndarray:
    """No weight in the tails, where it is rounding, for a function may be large there."""
    (real,) = np.nonzero(np.abs(weights) > _ROUNDING * np.max(np.abs(weights)))
    index = np.arange(len(weights))
    return np.where((index >= real[0]) & (index <= real[-1]), weights, 0.0)


def _barycentric(phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the matrix of d/dx, at `x = −cos φ`, without cancellation."""
    weights = (-1.0) ** np.arange(len(phi)) * np.sin(phi)
    plus, minus = phi[:, None] + phi, phi[:, None] - phi
    gaps = 2 * np.sin(plus / 2) * np.sin(minus / 2)
    np.fill_diagonal(gaps, 1.0)
    d = weights / weights[:, None] / gaps
    np.fill_diagonal(d, 0.0)
    np.fill_diagonal(d, -d.sum(axis=1))
    return weights, d
