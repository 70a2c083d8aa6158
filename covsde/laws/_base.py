"""What a law is: of one number, with a mean, a variance, and a distribution function."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._checks import check_key, count, number


class AbstractLaw(eqx.Module):
    """The law of one random number."""

    mean: eqx.AbstractVar[Scalar]
    variance: eqx.AbstractVar[Scalar]

    @abc.abstractmethod
    def cdf(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """`P(X ≤ x)`."""

    @abc.abstractmethod
    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The `x` with `P(X ≤ x) = p`, for `0 < p < 1`."""

    def sample(self, key: PRNGKeyArray, num: int) -> Float[Array, " num"]:
        """`num` independent numbers of this law: quantiles of uniform ones."""
        num = count("num", num, "Ask for at least one number.")
        least = jnp.finfo(jnp.result_type(float)).tiny
        return self.quantile(jax.random.uniform(check_key(key), (num,), minval=least))


class AbstractLogNormLaw(AbstractLaw):
    """The law of a logarithm, Gaussian as the network grows; of `log(V_d/V_0)`, mostly."""

    def cdf(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """`P(X ≤ x)` of the Gaussian with this mean and variance."""
        return norm.cdf(jnp.asarray(x), self.mean, jnp.sqrt(self.variance))

    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The `x` with `P(X ≤ x) = p`, for the Gaussian with this mean and variance."""
        return norm.ppf(jnp.asarray(p), self.mean, jnp.sqrt(self.variance))


class LogGaussian(AbstractLogNormLaw):
    """A logarithm of the law `N(mean, variance)`."""

    mean: Scalar
    variance: Scalar


class LogNormal(AbstractLaw):
    """The exponential of a Gaussian: `X` with `log X ~ N(log.mean, log.variance)`."""

    log: LogGaussian

    def __init__(self, log: LogGaussian):
        """**Arguments:**

        - `log`: the law of `log X`.
        """
        self.log = log

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`e^{μ + σ²/2}`."""
        return jnp.exp(self.log.mean + self.log.variance / 2)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`(e^{σ²} − 1) (E X)²`."""
        return jnp.expm1(self.log.variance) * self.mean**2

    def cdf(self, x):
        """`P(X ≤ x)`; 0 for `x ≤ 0`."""
        x = jnp.asarray(x)
        return jnp.where(x > 0, self.log.cdf(jnp.log(jnp.where(x > 0, x, 1.0))), 0.0)

    def quantile(self, p):
        """The `x` with `P(X ≤ x) = p`."""
        return jnp.exp(self.log.quantile(p))


def bisect(function: Callable, p: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where an increasing function on `[low, high]` takes the values `p`, to rounding."""
    lows, highs = np.full(p.shape, low), np.full(p.shape, high)
    for _ in range(54):
        middle = (lows + highs) / 2
        below = function(middle) < p
        lows, highs = np.where(below, middle, lows), np.where(below, highs, middle)
    return (lows + highs) / 2


def final_time(t1) -> float:
    """T of a law that NumPy computes, positive."""
    way_out = "It is depth over width, d/n."
    return number("t1", t1, "a positive finite time", way_out, test=lambda x: x > 0)
