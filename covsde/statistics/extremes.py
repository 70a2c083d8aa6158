"""The least and the largest value."""

import jax.numpy as jnp
import numpy as np

from ._base import AbstractStatistic, Part, State, countable, numpy_of, real


class Extremes(AbstractStatistic):
    """`minimum` and `maximum`; NaN without a value."""

    def start(self, shape):
        """No value: `∞` and `−∞`."""
        return {
            "minimum": jnp.full(shape, jnp.inf, real()),
            "maximum": jnp.full(shape, -jnp.inf, real()),
        }

    def update(self, state, values, where=None):
        """Exact, in any order."""
        where, x = countable(values, where), values.astype(real())
        batch = {
            "minimum": jnp.min(jnp.where(where, x, jnp.inf), axis=-1, initial=jnp.inf),
            "maximum": jnp.max(jnp.where(where, x, -jnp.inf), axis=-1, initial=-jnp.inf),
        }
        return self.merge(state, batch)

    def merge(self, one: State, other: State) -> State:
        """The lesser and the larger."""
        xp = numpy_of(one["minimum"])
        return {
            "minimum": xp.minimum(one["minimum"], other["minimum"]),
            "maximum": xp.maximum(one["maximum"], other["maximum"]),
        }

    def result(self, state: State) -> dict[str, Part]:
        """NaN where there is no value."""
        known = {name: np.asarray(x) for name, x in state.items()}
        return {
            name: Part(np.where(np.isfinite(x), x, np.nan)) for name, x in known.items()
        }
