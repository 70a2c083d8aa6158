"""Counts of values between given edges."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from ._base import AbstractStatistic, Part, State, add_at, countable, increasing, whole


class Histogram(AbstractStatistic):
    """`histogram`: how many values lie in each bin; `below` and `above`: in none.

    Bins are half open, `[left, right)`, but for the last, which has its right edge too, as
    in `numpy.histogram`. Counts are exact, and so depend on no order.
    """

    edges: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, edges: Float[ArrayLike, " bins+1"]):
        """**Arguments:**

        - `edges`: increasing, the same for all observables.

        **Raises:** `ValueError` or `TypeError` for edges that bound no bins.
        """
        way_out = "Pass e.g. `jnp.linspace(-1, 1, 51)`."
        values = increasing("edges", edges, 2, "two increasing edges or more", way_out)
        self.edges = tuple(values.tolist())

    def start(self, shape):
        """No value."""
        return {"counts": jnp.zeros((*shape, len(self.edges) + 1), whole())}

    def update(self, state, values, where=None):
        """Each value into its bin; the first and the last are for what has none."""
        where = countable(values, where)
        edges = jnp.asarray(self.edges, values.dtype)
        bins = jnp.searchsorted(edges, values, side="right")
        bins = jnp.where(values == edges[-1], len(self.edges) - 1, bins)
        return {"counts": add_at(state["counts"], bins, where)}

    def merge(self, one: State, other: State) -> State:
        """Counts add up."""
        return {"counts": one["counts"] + other["counts"]}

    def result(self, state: State) -> dict[str, Part]:
        """Along the axis `bin` stand the middles of the bins."""
        counts, edges = np.asarray(state["counts"]), np.array(self.edges)
        return {
            "histogram": Part(counts[..., 1:-1], "bin", (edges[1:] + edges[:-1]) / 2),
            "below": Part(counts[..., 0]),
            "above": Part(counts[..., -1]),
        }
