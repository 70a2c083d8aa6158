"""Mean, variance, skewness and kurtosis, by central moments that are merged stably."""

import jax.numpy as jnp
import numpy as np

from ._base import AbstractStatistic, Part, State, countable, numpy_of, real, whole


class Moments(AbstractStatistic):
    """`count`, `mean`, `standard_error` (of the mean), `variance`, `skewness`, `kurtosis`.

    The variance is unbiased; skewness `m₃/m₂^{3/2}` and kurtosis `m₄/m₂²` (3 for a normal
    law) are those of the sample. A batch is centred by its own mean, and two states are
    merged without a difference of large numbers.

    Source: Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance";
    Pébay (2008), "Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments", SAND2008-6212, equations 3.1.
    """

    def start(self, shape):
        """No value: all sums are 0."""
        zero = jnp.zeros(shape, real())
        return {
            "count": jnp.zeros(shape, whole()),
            "mean": zero,
            "sum2": zero,
            "sum3": zero,
            "sum4": zero,
        }

    def update(self, state, values, where=None):
        """Adds a batch, centred by its own mean."""
        where = countable(values, where)
        x = values.astype(real())
        count = jnp.sum(where, axis=-1, dtype=whole())
        mean = jnp.sum(jnp.where(where, x, 0.0), axis=-1) / jnp.maximum(count, 1)
        d = jnp.where(where, x - mean[..., None], 0.0)
        d2 = d * d
        batch = {
            "count": count,
            "mean": mean,
            "sum2": jnp.sum(d2, axis=-1),
            "sum3": jnp.sum(d2 * d, axis=-1),
            "sum4": jnp.sum(d2 * d2, axis=-1),
        }
        return self.merge(state, batch)

    def merge(self, one: State, other: State) -> State:
        """By Pébay's formulas, in shares of the two counts."""
        xp = numpy_of(one["mean"])
        count = one["count"] + other["count"]
        some = xp.maximum(count, 1)
        a, b = one["count"] / some, other["count"] / some
        d = other["mean"] - one["mean"]
        dd = d * d
        weight = dd * a * other["count"]  # d² n_a n_b / n
        p2, q2, p3, q3 = one["sum2"], other["sum2"], one["sum3"], other["sum3"]
        return {
            "count": count,
            "mean": one["mean"] + d * b,
            "sum2": p2 + q2 + weight,
            "sum3": p3 + q3 + weight * d * (a - b) + 3 * d * (a * q2 - b * p2),
            "sum4": one["sum4"]
            + other["sum4"]
            + weight * dd * (a * a - a * b + b * b)
            + 6 * dd * (a * a * q2 + b * b * p2)
            + 4 * d * (a * q3 - b * p3),
        }

    def result(self, state: State) -> dict[str, Part]:
        """NaN where there are too few values, or none that differ."""
        count = np.asarray(state["count"])
        n = count.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            m2, m3, m4 = (np.asarray(state[f"sum{k}"]) / n for k in (2, 3, 4))
            variance = np.where(n > 1, m2 * n / (n - 1), np.nan)
            parts = {
                "count": count,
                "mean": np.where(n > 0, np.asarray(state["mean"]), np.nan),
                "standard_error": np.sqrt(variance / n),
                "variance": variance,
                "skewness": m3 / m2**1.5,
                "kurtosis": m4 / m2**2,
            }
        return {name: Part(x) for name, x in parts.items()}
