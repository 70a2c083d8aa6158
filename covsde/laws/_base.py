"""What a law is: of one number, with a mean, a variance, and a distribution function."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._checks import check_key, count, found, parameter
from ._checks import levels, probabilities


class AbstractLaw(eqx.Module):
    """The law of one random number.

    A new law is its mean, its variance, `_cdf` and `_quantile`, of arrays that are checked.
    """

    mean: eqx.AbstractVar[Scalar]
    variance: eqx.AbstractVar[Scalar]

    @abc.abstractmethod
    def _cdf(self, x: Array) -> Float[ArrayLike, "..."]:
        """`P(X ≤ x)`."""

    @abc.abstractmethod
    def _quantile(self, p: Array) -> Float[ArrayLike, "..."]:
        """The `x` with `P(X ≤ x) = p`."""

    def cdf(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """`P(X ≤ x)`, for `−∞ ≤ x ≤ ∞`."""
        return jnp.asarray(self._cdf(levels("x", x)))

    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The `x` with `P(X ≤ x) = p`, for `0 ≤ p ≤ 1`."""
        return jnp.asarray(self._quantile(probabilities("p", p)))

    def sample(self, key: PRNGKeyArray, num: int) -> Float[Array, " num"]:
        """`num` independent numbers of this law: quantiles of uniform ones."""
        num = count("num", num, "Ask for at least one number.")
        least = jnp.finfo(jnp.result_type(float)).tiny
        return self.quantile(jax.random.uniform(check_key(key), (num,), minval=least))


class AbstractLogNormLaw(AbstractLaw):
    """The law of a logarithm, Gaussian as the network grows; of `log(V_d/V_0)`, mostly."""

    def _cdf(self, x):
        return norm.cdf(x, self.mean, jnp.sqrt(self.variance))

    def _quantile(self, p):
        return norm.ppf(p, self.mean, jnp.sqrt(self.variance))


class LogGaussian(AbstractLogNormLaw):
    """A logarithm of the law `N(mean, variance)`."""

    mean: Scalar
    variance: Scalar

    def __init__(self, mean: float | Scalar, variance: float | Scalar):
        """**Arguments:**

        - `mean`: the mean.
        - `variance`: the variance, positive.
        """
        self.mean = parameter("mean", mean, "a finite number", "It is that of a logarithm.")
        way_out = "It is that of a logarithm, 2 Γ T of a norm."
        accepted = "a positive number"
        self.variance = parameter(
            "variance", variance, accepted, way_out, test=lambda x: x > 0
        )


class LogNormal(AbstractLaw):
    """The exponential of a Gaussian: `X` with `log X ~ N(log.mean, log.variance)`."""

    log: AbstractLogNormLaw

    def __init__(self, log: AbstractLogNormLaw):
        """**Arguments:**

        - `log`: the law of `log X`.
        """
        if not isinstance(log, AbstractLogNormLaw):
            raise TypeError(
                f"`log` must be the law of a logarithm; got {found(log)}. For example "
                "`log_norm_law(v0, t1)`."
            )
        self.log = log

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`e^{μ + σ²/2}`."""
        return jnp.exp(self.log.mean + self.log.variance / 2)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`(e^{σ²} − 1) (E X)²`."""
        return jnp.expm1(self.log.variance) * self.mean**2

    def _cdf(self, x):
        return jnp.where(x > 0, self.log.cdf(jnp.log(jnp.where(x > 0, x, 1.0))), 0.0)

    def _quantile(self, p):
        return jnp.exp(self.log.quantile(p))


def bisect(function: Callable, p: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where an increasing function on `[low, high]` takes the values `p`, to rounding."""
    lows, highs = np.full(p.shape, low), np.full(p.shape, high)
    for _ in range(54):
        middle = (lows + highs) / 2
        below = function(middle) < p
        lows, highs = np.where(below, middle, lows), np.where(below, highs, middle)
    return (lows + highs) / 2
