"""The linear equation `dX = (a + b X) dt + σ X dB`, by steps that are nearly exact."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

# Gauss and Legendre's nodes and weights for the integral over a step, of length 1
_ON_BOTH_SIDES, _OF_TWO = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = ((_ON_BOTH_SIDES + 1) / 2).tolist(), (_OF_TWO / 2).tolist()


class Affine(NamedTuple):
    """Coefficients of `dX = (a + b X) dt + σ X dB`."""

    a: Scalar
    b: Scalar
    sigma: Scalar

    def step(
        self, x: Float[Array, " paths"], h: Scalar, normals: Float[Array, "2 paths"]
    ) -> tuple[Array, Array]:
        """`X_h` from `X_0 = x`, and its growth `E_h`, by two standard normals a path."""
        return self.along(x, h, jnp.sqrt(h) * normals[0], jnp.sqrt(h / 12) * normals[1])

    def along(
        self, x: Float[Array, "*paths"], h: Scalar, w: Array, area: Array
    ) -> tuple[Array, Array]:
        """The same, by the increment of B and its space-time area, `H ~ N(0, h/12)`.

        `X_h = E_h x + a ∫₀ʰ E_h/E_s ds` with `E_s = exp((b − σ²/2) s + σ B_s)`. `B_h` is
        exact; the integral has its mean given `B_h` and the mean of B over the step. So
        `E X` is exact, and laws are of weak order 3.

        Source: the parabola of Foster, Lyons, Oberhauser (2020), "An optimal polynomial
        approximation of Brownian motion".
        """
        area = self.sigma * area
        slope = (self.b - self.sigma**2 / 2) * h + self.sigma * w
        integral = jnp.zeros_like(x)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            left = node * (1 - node)
            # the growth from the node on: its mean, and its variance beyond the parabola
            rest = self.sigma**2 * h * (left - 3 * left**2) / 2
            grown = jnp.exp(slope * (1 - node) - 6 * left * area + rest)
            integral = integral + weight * h * grown
        growth = jnp.exp(slope)
        return growth * x + self.a * integral, growth
