"""The law of a diffusion on a line at a time, by its scale function, to many digits.

Of `dy` with the scale function s and the noise `√2c dB` the backward equation is
`∂f/∂t = c s' (f'/s')'`. Between the centres of cells s' is taken to be exponential: that
makes it the equation of a birth-and-death process, however strong the drift is, with an
error that is even in the size of the cells. Three meshes, each a third of the one before,
are extrapolated. In time the process is stepped by Radau's method of order 9, of whose
steps there are enough.
"""

from collections.abc import Callable
from math import comb, perm

import equinox as eqx
import numpy as np

# SciPy loads a part of it where that is first asked for: `import scipy.stats` would take as
# long as all of covsde.
import scipy

from ._base import bisect

# How many deviations of y laws reach
TAIL = 8.0
# Cells of the coarsest mesh for a deviation of y, and for a unit of y
_CELLS = 12
# There log s' changes by no more than this over one of them, ...
_PECLET = 0.75
# ... while it changes by less over a unit: beyond, the drift alone is left
_STEEPEST = 6000.0
# Paths do not climb higher on log s'
_HIGHEST = 45.0
# By how much meshes are refined, and what takes away their errors of order 2 and 4
_MESHES = {9: 729 / 640, 3: -90 / 640, 1: 1 / 640}
# Where y is known of the number of cells, on each side of the start
_PLACES = 4001
# What twice the steps may change, how many there are at least, and at most
_RESOLVED, _STEPS, _MOST = 1e-10, 8, 2048
# What the third mesh may change in the distribution function
_DOUBT = 1e-6
# Of a weight, relative to the largest
_ROUNDING = 1e-12


def _radau(stages: int) -> tuple[np.ndarray, np.ndarray]:
    """Padé's `Σ residue/(z − pole)` of `e^z`; of two that are conjugate, twice one."""
    top, k = 2 * stages - 1, stages
    above = [comb(k - 1, j) / perm(top, j) for j in range(k)]
    below = [comb(k, j) * (-1) ** j / perm(top, j) for j in range(k + 1)]
    numerator, denominator = map(np.polynomial.Polynomial, (above, below))
    slope, poles = denominator.deriv(), denominator.roots()
    for _ in range(3):  # to rounding
        poles = poles - denominator(poles) / slope(poles)
    poles = poles[poles.imag > -1e-8]
    twice = np.where(poles.imag > 1e-8, 2.0, 1.0)
    return poles, twice * numerator(poles) / slope(poles)


_POLES, _RESIDUES = _radau(5)


class Unresolved(ValueError, LookupError):
    """A law that is known, as `laws.of` has it, but is not resolved."""


class Diffused(eqx.Module):
    """The law of `y_t`, given where it starts, of paths that have not been killed."""

    y: np.ndarray  # centres of the finest cells, increasing
    weights: np.ndarray  # `E f(y_t) = Σ w_i f(y_i)`; some are negative, of rounding size
    _place: "scipy.interpolate.BSpline"  # y, of the number of coarsest cells below it
    _count: "scipy.interpolate.BSpline"  # the inverse
    _below: "scipy.interpolate.BSpline"  # the distribution function, of this number

    def __init__(
        self,
        log_slope: Callable[[np.ndarray], np.ndarray],
        noise: Callable[[np.ndarray], np.ndarray],
        start: float,
        t: float,
        ends: tuple[float, float],
        *,
        level: float = np.inf,
        above: float | None = None,
        cells: int | None = None,
    ):
        """**Arguments:**

        - `log_slope`: `log s'(y)`.
        - `noise`: `c(y)`.
        - `ends`: beyond which the law has no mass to speak of.
        - `level`: where paths are killed.
        - `above`: `(s(∞) − s(y))/s'(y)` at the upper end, if they are killed at infinity.
        - `cells`: how many the finest mesh has, about; by default as many as the law's
            width and its drift ask for.
        """
        killed = level <= ends[1]
        low, high = ends[0], min(level, ends[1])
        places = np.append(
            np.linspace(low, start, _PLACES), np.linspace(start, high, _PLACES)[1:]
        )
        with np.errstate(over="ignore"):
            slope = log_slope(places)
        climb = slope - _lowest_since(slope, _PLACES - 1)
        inside = climb < _HIGHEST
        killed = killed and bool(inside[-1])
        first, last = np.flatnonzero(inside)[[0, -1]]
        origin = _PLACES - 1 - first
        places, slope = places[first : last + 1], slope[first : last + 1]

        curve = scipy.interpolate.make_interp_spline(places, slope, k=5)
        steep = np.abs(curve(places, 1)) / _PECLET
        # where the drift holds y, it does so within 1/√bend
        bend = curve(places, 2) / (1 + (steep / _STEEPEST) ** 2)
        steep = steep / (1 + (steep / _STEEPEST) ** 1.5)
        sharp = 1 / (2 * noise(places) * t) + np.hypot(1.0, bend)
        squared = _CELLS**2 * sharp + steep**2
        if killed:  # some cells between the start and the level, however close
            squared += (4 / (level - places + level - start)) ** 2
        density = np.sqrt(squared)
        spans = (density[1:] + density[:-1]) / 2 * np.diff(places)
        count = np.append(0.0, np.cumsum(spans))
        if cells is not None:
            count *= cells / max(_MESHES) / count[-1]
        count -= count[origin]
        if killed:  # the centre of the next cell is there
            count *= np.ceil(count[-1]) / count[-1]
        self._place = scipy.interpolate.make_interp_spline(count, places, k=5)
        self._count = scipy.interpolate.make_interp_spline(places, count, k=5)
        below = int(-count[0] - 0.5)
        up_to = round(count[-1]) - 1 if killed else int(count[-1] - 0.5)

        def process(finer: int) -> "_BirthAndDeath":
            half = finer // 2
            end = finer * (up_to + 1) - 1 if killed else finer * up_to + half
            index = np.arange(-finer * below - half, end + 1)
            edges = self._place((np.append(index, end + 1) - 0.5) / finer)
            y = self._place(index / finer)
            next_to = np.append(y, level) if killed else y
            return _BirthAndDeath(
                y, index, np.diff(edges), noise(y), next_to, log_slope(next_to), above
            )

        meshes = {finer: process(finer) for finer in _MESHES}
        steps = _enough_steps(meshes[1], t)
        finest, places = meshes[max(_MESHES)], below + up_to + 1
        self.y, weights, sums = finest.y, np.zeros(len(finest.y)), {}
        for finer, mesh in meshes.items():
            mass = mesh.at(t, steps)
            if not killed and above is None:
                mass /= mass.sum()
            first = max(_MESHES) // finer * mesh.index - finest.index[0]
            weights[first] += _MESHES[finer] * mass
            sums[finer] = np.append(0.0, np.cumsum(mass))[: finer * places + 1 : finer]
        distribution = sum(share * sums[finer] for finer, share in _MESHES.items())
        # of the two finest alone, which is worse by far
        doubt = np.max(np.abs(distribution - (9 * sums[9] - sums[3]) / 8))
        if not doubt < _DOUBT:
            raise Unresolved(
                f"`nodes` must be more to resolve this law; got {cells or len(finest.y)}, "
                f"which leave a doubt of {doubt:.1g}. Pass more, or simulate with "
                "`covsde.solve`."
            )
        self.weights = _without_noise(weights)
        edges = np.arange(-below, up_to + 2) - 0.5
        self._below = scipy.interpolate.make_interp_spline(edges, distribution, k=7)

    def mean(self, values: np.ndarray) -> float:
        """`E f(y_t)`, of the values of `f` at the centres."""
        return float(self.weights @ values)

    @property
    def gone(self) -> float:
        """The share of paths that have been killed."""
        return float(np.clip(1 - np.sum(self.weights), 0.0, 1.0))

    def cdf(self, y: np.ndarray) -> np.ndarray:
        """`P(y_t ≤ y)`."""
        places, ends = self._count.t[[0, -1]], self._below.t[[0, -1]]
        count = np.clip(self._count(np.clip(y, *places)), *ends)
        return np.clip(self._below(count), 0.0, 1.0)

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """`y` where the distribution function has this value; infinite for 0 and 1."""
        y = self._place(bisect(self._below, probability, *self._below.t[[0, -1]]))
        return np.select([probability <= 0, probability >= 1], [-np.inf, np.inf], y)


class _BirthAndDeath:
    """The process on the cells of a mesh, which starts in that of index 0."""

    def __init__(self, y, index, width, noise, next_to, log_slope, above):
        """`next_to` and `log_slope` are at the centres, and where paths are killed."""
        self.y, self.index = y, index
        gap, climb = np.diff(next_to), np.diff(log_slope)
        up = noise[: len(gap)] / (width[: len(gap)] * gap) * _bernoulli(climb)
        gap, climb = gap[: len(y) - 1], climb[: len(y) - 1]
        self.rise = up[: len(y) - 1]
        self.fall = noise[1:] / (width[1:] * gap) * _bernoulli(-climb)
        self.leave = np.append(0.0, self.fall)
        self.leave[: len(up)] += up
        if above is not None:
            self.leave[-1] += noise[-1] / (width[-1] * above)

    def at(self, t: float, steps: int) -> np.ndarray:
        """The probabilities of the cells."""
        h, mass = t / steps, (self.index == 0).astype(float)
        bands = np.zeros((3, len(mass)), complex)
        bands[0, 1:], bands[2, :-1] = h * self.fall, h * self.rise
        for _ in range(steps):
            moved = np.zeros(len(mass))
            for pole, residue in zip(_POLES, _RESIDUES, strict=True):
                bands[1] = -h * self.leave - pole
                moved += (residue * scipy.linalg.solve_banded((1, 1), bands, mass)).real
            mass = moved
        return mass


def _enough_steps(process: _BirthAndDeath, t: float) -> int:
    """So many that twice as many change nothing."""
    steps, now = _STEPS, np.cumsum(process.at(t, _STEPS))
    while steps < _MOST:
        twice = np.cumsum(process.at(t, 2 * steps))
        if np.max(np.abs(twice - now)) < _RESOLVED:
            return steps
        steps, now = 2 * steps, twice
    raise Unresolved(
        f"`t1` must be a time in which {_MOST} steps resolve this law; got {t:g} times a "
        "speed for which they do not. Shorten it, or simulate with `covsde.solve`."
    )


def _bernoulli(x: np.ndarray) -> np.ndarray:
    """`x/(eˣ − 1)`."""
    with np.errstate(over="ignore"):
        growth = np.expm1(x)
    return np.where(x == 0, 1.0, x / np.where(x == 0, 1.0, growth))


def _lowest_since(x: np.ndarray, start: int) -> np.ndarray:
    """The least of what lies between a place and the start."""
    before = np.minimum.accumulate(x[start::-1])[::-1]
    return np.append(before, np.minimum.accumulate(x[start:])[1:])


def _without_noise(weights: np.ndarray) -> np.ndarray:
    """No weight in the tails, where it is rounding, for a function may be large there."""
    (real,) = np.nonzero(np.abs(weights) > _ROUNDING * np.max(np.abs(weights)))
    index = np.arange(len(weights))
    return np.where((index >= real[0]) & (index <= real[-1]), weights, 0.0)
