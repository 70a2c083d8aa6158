"""Covariance of all observables with one another."""

import jax.numpy as jnp
import numpy as np

from ._base import AbstractStatistic, Part, State, countable, numpy_of, real, whole


class Covariance(AbstractStatistic):
    """`covariance`, unbiased, of each observable with each other one.

    Observables stand along the *first* axis of the shape; any further axes, such as times,
    are apart. A path counts if all of its observables do.

    Source: Pébay (2008), SAND2008-6212, equation 3.12.
    """

    def start(self, shape):
        """No value: all sums are 0."""
        if not shape:
            raise ValueError(
                "`shape` must have an axis of observables; got (). One is (1,)."
            )
        return {
            "count": jnp.zeros(shape[1:], whole()),
            "mean": jnp.zeros(shape, real()),
            "products": jnp.zeros((*shape, shape[0]), real()),
        }

    def update(self, state, values, where=None):
        """Adds a batch, centred by its own means."""
        where = jnp.all(countable(values, where), axis=0)
        count = jnp.sum(where, axis=-1, dtype=whole())
        x = jnp.where(where[None], values.astype(real()), 0.0)
        mean = jnp.sum(x, axis=-1) / jnp.maximum(count, 1)[None]
        d = jnp.where(where[None], x - mean[..., None], 0.0)
        products = jnp.einsum("i...n,j...n->i...j", d, d)
        return self.merge(state, {"count": count, "mean": mean, "products": products})

    def merge(self, one: State, other: State) -> State:
        """As for a variance, entry by entry."""
        xp = numpy_of(one["mean"])
        count = one["count"] + other["count"]
        share = (other["count"] / xp.maximum(count, 1))[None]
        d = other["mean"] - one["mean"]
        outer = d[..., None] * xp.moveaxis(d, 0, -1)[None]
        weight = (one["count"][None] * share)[..., None]
        return {
            "count": count,
            "mean": one["mean"] + d * share,
            "products": one["products"] + other["products"] + outer * weight,
        }

    def result(self, state: State) -> dict[str, Part]:
        """NaN where there are fewer than two paths."""
        n = np.asarray(state["count"]).astype(np.float64)[None, ..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            covariance = np.asarray(state["products"]) / np.where(n > 1, n - 1, np.nan)
        return {"covariance": Part(covariance, "other", np.arange(len(covariance)))}
