"""What the law of a log-norm is: a mean, a variance, and the Gaussian that has them."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, Scalar


class AbstractLogNormLaw(eqx.Module):
    """The law of `R = log(V_d/V_0)`, Gaussian as the network grows."""

    mean: eqx.AbstractVar[Scalar]
    variance: eqx.AbstractVar[Scalar]

    def cdf(self, r: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """`P(R ≤ r)` of the Gaussian with this mean and variance."""
        return norm.cdf(jnp.asarray(r), self.mean, jnp.sqrt(self.variance))

    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The `r` with `P(R ≤ r) = p`, for the Gaussian with this mean and variance."""
        return norm.ppf(jnp.asarray(p), self.mean, jnp.sqrt(self.variance))


class LogGaussian(AbstractLogNormLaw):
    """`R ~ N(mean, variance)`."""

    mean: Scalar
    variance: Scalar
