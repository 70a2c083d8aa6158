"""The share of paths of which something is true."""

import jax.numpy as jnp
import numpy as np

from ._base import AbstractStatistic, Part, State, countable, whole


class Share(AbstractStatistic):
    """`share` of the values that are true (not 0), and its `share_error`.

    The standard error is that of a binomial law, `√(p(1−p)/n)`.
    """

    def start(self, shape):
        """No value."""
        return {"true": jnp.zeros(shape, whole()), "total": jnp.zeros(shape, whole())}

    def update(self, state, values, where=None):
        """Counts."""
        where = countable(values, where)
        true = where & (values != 0)
        return {
            "true": state["true"] + jnp.sum(true, axis=-1, dtype=whole()),
            "total": state["total"] + jnp.sum(where, axis=-1, dtype=whole()),
        }

    def merge(self, one: State, other: State) -> State:
        """Counts add up."""
        return {name: one[name] + other[name] for name in one}

    def result(self, state: State) -> dict[str, Part]:
        """NaN without a value."""
        total = np.asarray(state["total"]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.asarray(state["true"]) / total
            error = np.sqrt(share * (1 - share) / total)
        return {"share": Part(share), "share_error": Part(error)}
