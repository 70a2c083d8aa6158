"""Errors of a solver, and the order that they show."""

import math
from dataclasses import dataclass

import numpy as np
import scipy

# A point is used where its error exceeds this many standard errors.
NOISE = 3.0


@dataclass(frozen=True)
class Order:
    """The slope of log error against log step.

    - `slope ± margin`: an interval of the study's confidence, of a generalised regression
      that knows the points' noise and its correlation, for they share their paths; where
      the points scatter more than that, so much wider.
    - `points`: how many were used; with fewer than two both are NaN.
    """

    slope: float
    margin: float
    points: int

    def __str__(self) -> str:
        return f"{self.slope:.2f} ± {self.margin:.2f}" if self.points > 1 else "–"


@dataclass(frozen=True)
class Errors:
    """Errors of one solver.

    - `solver`: its name. `steps`: how many it took to `t1`.
    - `errors`, `standard_errors`: of each number of steps; weak errors have a sign. By
      quadrature, its numerical errors stand for the standard errors.
    - `above_noise`: where an error exceeds three standard errors: what the order is from.
    """

    solver: str
    steps: tuple[int, ...]
    errors: np.ndarray
    standard_errors: np.ndarray
    order: Order

    @property
    def above_noise(self) -> np.ndarray:
        return np.abs(self.errors) > NOISE * self.standard_errors


def sampled_errors(
    name: str, steps: tuple[int, ...], t1: float, rest: np.ndarray, confidence: float
) -> Errors:
    """Of the distances on each path, `(num_paths, len(steps))`."""
    covariance = np.atleast_2d(np.cov(rest.T)) / len(rest)
    noise = np.sqrt(np.diag(covariance))
    return _fitted(name, steps, t1, rest.mean(axis=0), noise, covariance, confidence)


def numerical_errors(
    name: str,
    steps: tuple[int, ...],
    t1: float,
    errors: np.ndarray,
    noise: np.ndarray,
    confidence: float,
) -> Errors:
    """Of errors that are known up to numerical ones, `noise`, which have no law.

    All points weigh the same: each is granted what the least certain one leaves open.
    """
    used = np.abs(errors) > NOISE * noise
    share = np.max(noise[used] / np.abs(errors[used]), initial=1e-15)
    covariance = np.diag((share * errors) ** 2)
    return _fitted(name, steps, t1, errors, noise, covariance, confidence)


def _fitted(name, steps, t1, errors, noise, covariance, confidence: float) -> Errors:
    used = np.abs(errors) > NOISE * noise
    lengths = t1 / np.array(steps)
    order = _order(lengths[used], errors[used], covariance[used][:, used], confidence)
    return Errors(name, steps, errors, noise, order)


def _order(lengths, errors, covariance, confidence: float) -> Order:
    """Generalised least squares of log |error| on log step."""
    count = len(lengths)
    if count < 2:
        return Order(math.nan, math.nan, count)
    weights = np.linalg.pinv(covariance / np.outer(errors, errors))
    design = np.stack([np.ones(count), np.log(lengths)], axis=1)
    normal = np.linalg.inv(design.T @ weights @ design)
    fit = normal @ design.T @ weights @ np.log(np.abs(errors))
    rest = np.log(np.abs(errors)) - design @ fit
    scatter = float(rest @ weights @ rest) / (count - 2) if count > 2 else 0.0
    quantile = scipy.special.ndtri(0.5 + confidence / 2)
    if scatter > 1:  # the errors are no power of the step: believe the scatter
        quantile = scipy.special.stdtrit(count - 2, 0.5 + confidence / 2)
        quantile *= scatter**0.5
    return Order(float(fit[1]), float(quantile * normal[1, 1] ** 0.5), count)
