"""Distances between two samples, and how they fall with the width."""

import math
from typing import NamedTuple

import numpy as np


class Distances(NamedTuple):
    """How far two samples are apart."""

    ks: float
    wasserstein: float


def distances(x: np.ndarray, y: np.ndarray) -> Distances:
    """Kolmogorov–Smirnov and Wasserstein-1 distance of two samples, `(n,)` and `(k,)`.

    KS is the largest difference of the two distribution functions, in [0, 1].
    Wasserstein-1 is the area between them, in the unit of the samples.
    """
    pooled = np.sort(np.concatenate([x, y]))
    gap = np.abs(_cdf(x, pooled) - _cdf(y, pooled))
    return Distances(float(gap.max()), float(np.sum(gap[:-1] * np.diff(pooled))))


def _cdf(sample: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(sample), at, side="right") / sample.size


def ks_level(n: int, k: int) -> float:
    """What KS of two samples of one law exceeds with probability 5 %, asymptotically.

    `c √((n + k)/(nk))` with `c = √(−½ log(0.05/2)) = 1.358`; conservative for discrete
    laws. Infinite for an empty sample.
    """
    if n == 0 or k == 0:
        return math.inf
    return math.sqrt(-0.5 * math.log(0.05 / 2) * (n + k) / (n * k))


def share_level(x: np.ndarray, y: np.ndarray) -> float:
    """What the difference of two shares of one probability exceeds with probability 5 %.

    For samples of zeros and ones, whose KS it is; `1.96 √(p(1−p)(1/n + 1/k))`, p pooled.
    """
    p = (x.sum() + y.sum()) / (x.size + y.size)
    return 1.96 * math.sqrt(p * (1 - p) * (1 / x.size + 1 / y.size))


def mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """Mean of a sample and its standard error; NaN where the sample is too small."""
    mean = float(np.mean(x)) if x.size else math.nan
    with np.errstate(invalid="ignore"):  # of infinite values it is NaN, too
        error = float(np.std(x, ddof=1) / math.sqrt(x.size)) if x.size > 1 else math.nan
    return mean, error


def decay_exponent(widths: np.ndarray, ks: np.ndarray) -> float:
    """Slope of log KS against log n, by least squares; NaN for fewer than two widths.

    −1 for a bias of O(1/n). It means something only where KS stands above its level.
    """
    if len(widths) < 2 or not np.all(np.asarray(ks) > 0):
        return math.nan
    return float(np.polyfit(np.log(widths), np.log(ks), 1)[0])
