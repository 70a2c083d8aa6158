"""Products of random matrices: log-norms of networks without skip connections."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln, polygamma
from jaxtyping import Scalar

from .._checks import count
from ._base import AbstractLogNormLaw, LogGaussian


class _Product(AbstractLogNormLaw):
    """`V_d/V_0` as a product of `depth` independent factors of the same law."""

    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    def __init__(self, width: int, depth: int):
        """**Arguments:**

        - `width`: the number of units of a layer, `n`.
        - `depth`: the number of layers, `d`.
        """
        self.width = count("width", width, "It is the number of units of a layer.")
        self.depth = count("depth", depth, "It is the number of layers.")


class LinearProduct(_Product):
    """A linear network: `V_d/V_0` is a product of `d` independent `χ²_n/n`.

    A shaped network has the same limit, `N(−T, 2T)`, with `T` = depth/width.

    Source: "Products of Many Large Random Matrices and Gradients in Deep Neural
    Networks" (Hanin, Nica 2018).
    """

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`d (ψ(n/2) + log(2/n))`, exact at every width."""
        return self.depth * (digamma(self.width / 2) + jnp.log(2 / self.width))

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`d ψ'(n/2)`, exact at every width."""
        return self.depth * polygamma(1, self.width / 2)

    @property
    def limit(self) -> LogGaussian:
        """`N(−d/n, 2d/n)`."""
        return _log_gaussian(2 * self.depth / self.width)


class ReLUProduct(_Product):
    """An unshaped ReLU network: `V_d/V_0` is a product of `d` independent
    `(2/n) χ²_{Bin(n, ½)}`.

    `z_{l+1} = √(2/n) W_l relu(z_l)`, `V = (2/n) |relu(z)|²`. A layer where no unit is
    active ends the network: `mean` and `variance` are those of networks that survive, and
    `death_probability` is that of the others. The squared norm of a gradient, backwards
    through the same layers, is a product of the same factors.

    Source: "Products of Many Large Random Matrices and Gradients in Deep Neural
    Networks" (Hanin, Nica 2018).
    """

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`d E[ψ(B/2) + log(4/n)]`, `B ~ Bin(n, ½)` given that it is not 0; exact."""
        return self.depth * jnp.sum(self._weights * self._log_factor)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`d (E ψ'(B/2) + Var ψ(B/2))`, `B ~ Bin(n, ½)` given that it is not 0; exact."""
        within = jnp.sum(self._weights * polygamma(1, self._active / 2))
        spread = self._log_factor - jnp.sum(self._weights * self._log_factor)
        return self.depth * (within + jnp.sum(self._weights * spread**2))

    @property
    def death_probability(self) -> Scalar:
        """`1 − (1 − 2^{−n})^d`, of a layer without an active unit."""
        return -jnp.expm1(self.depth * jnp.log1p(-(2.0**-self.width)))

    @property
    def limit(self) -> LogGaussian:
        """`N(−5d/2n, 5d/n)`."""
        return _log_gaussian(5 * self.depth / self.width)

    @property
    def _active(self):
        """Every number of active units but 0."""
        return jnp.arange(1.0, self.width + 1)

    @property
    def _weights(self):
        """The probabilities of these numbers, given that it is not 0."""
        n, b = self.width, self._active
        log_choices = gammaln(n + 1.0) - gammaln(b + 1) - gammaln(n - b + 1)
        probabilities = jnp.exp(log_choices - n * jnp.log(2.0))
        return probabilities / jnp.sum(probabilities)

    @property
    def _log_factor(self):
        """`E log (2/n) χ²_B` for each of these numbers."""
        return digamma(self._active / 2) + jnp.log(4 / self.width)


def _log_gaussian(variance: float) -> LogGaussian:
    """The Gaussian `R` with `E e^R = 1`."""
    return LogGaussian(jnp.asarray(-variance / 2), jnp.asarray(variance))
