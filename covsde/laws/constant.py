"""The law of a number that is not random, as under a limit without noise."""

import jax.numpy as jnp
from jaxtyping import Scalar

from ._base import AbstractLaw


class Constant(AbstractLaw):
    """`X = value`, surely."""

    value: Scalar

    def __init__(self, value: float | Scalar):
        """**Arguments:**

        - `value`: the number.
        """
        self.value = jnp.asarray(value)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The value."""
        return self.value

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """0."""
        return jnp.zeros_like(self.value)

    def cdf(self, x):
        """`P(X ≤ x)`: 0 below the value, 1 from there on."""
        return jnp.where(jnp.asarray(x) >= self.value, 1.0, 0.0)

    def quantile(self, p):
        """The value."""
        return jnp.full_like(jnp.asarray(p), self.value)
