"""The law of a number that is not random, as under a limit without noise."""

import jax.numpy as jnp
from jaxtyping import Scalar

from .._checks import found
from ._base import AbstractLaw
from ._checks import levels


class Constant(AbstractLaw):
    """`X = value`, surely."""

    value: Scalar

    def __init__(self, value: float | Scalar):
        """**Arguments:**

        - `value`: the number.
        """
        way_out = "It is that of an observable that is not random."
        value = levels("value", value, way_out)
        if value.ndim > 0:
            raise ValueError(f"`value` must be one number; got {found(value)}. {way_out}")
        self.value = value

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The value."""
        return self.value

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """0."""
        return jnp.zeros_like(self.value)

    def _cdf(self, x):
        return jnp.where(x >= self.value, 1.0, 0.0)

    def _quantile(self, p):
        return jnp.full_like(p, self.value)
