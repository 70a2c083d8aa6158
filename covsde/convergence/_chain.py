"""Weak errors without Monte-Carlo noise: a scheme as a Markov chain, by quadrature.

One step of a scheme acts on functions by `(Pf)(c) = E f(c')`. Where the chain closes on
one bounded coordinate `c`, functions are held by their values at Chebyshev nodes, the
mean over the normals of a step is a trapezoidal sum, and the step is the solver's own with
those normals as its Brownian path. Then `E f(c_n) = (Pⁿ f)(c_0)`, to as many digits as
the nodes give.
"""

import itertools
from collections.abc import Callable
from typing import cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from .._names import full_name
from ..brownian import NoiseShape, arrange, count_entries
from ..limits import AbstractLimit
from ..matrices import Lower, Symmetric, gram
from ..solve import cells_per_step
from ..solvers import AbstractFactorSolver
from ._coordinates import Angle, Grid, Norm

# Normals are kept up to this radius: beyond it lies 1e-11 of three of them.
_RADIUS = 7.5
# Steps that one call of the solver takes.
_CHUNK = 2**15
# Where a step is probed, and how far apart its differences are taken.
_PROBES, _PROBED_STEP, _GAP = 64, 1 / 8, 1e-3
# Normals that a step may draw, and how many of their directions may matter.
_MOST_NORMALS, _MOST_DIRECTIONS = 8, 3


class GivenPath(diffrax.AbstractBrownianPath):
    """A Brownian path on cells of equal length, made from given standard normals."""

    normals: Float[Array, "cells entries batch"]
    cell: Scalar
    m: int = eqx.field(static=True)
    noise_shape: NoiseShape = eqx.field(static=True, default="triangle")
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)
    start: Scalar | float = 0.0

    @property
    def t0(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return jnp.asarray(self.start)

    @property
    def t1(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.t0 + self.cell * self.normals.shape[0]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        index = jnp.round((t0 - self.start) / self.cell).astype(int)
        entries = self.normals[index] * jnp.sqrt(self.cell)
        return arrange(self.noise_shape, entries, self.m)


def gaussian_rule(dims: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points `(count, dims)` and weights of the trapezoidal rule for standard normals.

    It converges like `exp(−2πd/spacing)`, `d` the distance of the nearest pole: those of
    `tanh`, here, on which Gauss–Hermite rules converge slowly.
    """
    side = spacing * np.arange(-int(_RADIUS / spacing), int(_RADIUS / spacing) + 1)
    points = np.array(list(itertools.product(side, repeat=dims)))
    points = points[np.sum(points**2, axis=1) <= _RADIUS**2]
    weights = np.exp(-np.sum(points**2, axis=1) / 2)
    return points, weights / weights.sum()


class Chain:
    """A scheme as a Markov chain on a coordinate.

    A path that a step leaves without a value of it, as where `V` explodes, stays where it
    was from then on.
    """

    def __init__(self, coordinate: Angle | Norm, limit: AbstractLimit, solver):
        self.coordinate = coordinate
        m, shape = coordinate.m, limit.diffusion.noise_shape
        cells = cells_per_step(solver)
        self._shape = cells, count_entries(shape, m)
        if cells * self._shape[1] > _MOST_NORMALS:
            raise ValueError(
                f"`solvers` must draw at most {_MOST_NORMALS} normals a step for a "
                f"quadrature; got {full_name(solver)}, which draws "
                f"{cells * self._shape[1]}. Leave `quadrature` out for a simulation."
            )

        def move(c: Array, normals: Array, h: Array, t: Array) -> Array:
            path = GivenPath(
                normals=normals, cell=h / cells, m=m, noise_shape=shape, start=t
            )
            terms, factor = limit.terms(path), coordinate.factor(c)
            y0 = factor if isinstance(solver, AbstractFactorSolver) else gram(factor)
            state = solver.init(terms, path.t0, path.t1, y0, None)
            y1, *_ = solver.step(terms, path.t0, path.t1, y0, None, state, False)
            return coordinate.read(cast(Lower | Symmetric, y1))

        self._move: Callable = jax.jit(move)
        self.directions = self._find_directions(solver)

    def _moved(self, c: np.ndarray, z: np.ndarray, h: float, t: float = 0.0) -> np.ndarray:
        """Where a step leads each `c` with the normals `z`, `(normals, len(c))`."""
        moved = np.empty(len(c))
        for first in range(0, len(c), _CHUNK):
            piece = slice(first, first + _CHUNK)
            # the last piece is filled up, so that one program serves all
            short = first + _CHUNK - len(c)
            ends = (0, max(short, 0))
            normals = np.pad(z[:, piece], ((0, 0), ends), mode="wrap")
            moved[piece] = self._move(
                np.pad(c[piece], ends, mode="wrap"),
                normals.reshape(*self._shape, _CHUNK),
                h,
                t,
            )[: len(c) - first]
        return moved

    def _find_directions(self, solver) -> np.ndarray:
        """Orthonormal directions of a step's normals on which the coordinate depends.

        They span its gradients: it does not see the scale of `V`, nor more of two cells
        than a step makes of them.
        """
        dims = self._shape[0] * self._shape[1]
        rng = np.random.default_rng(0)
        c = self.coordinate.length * rng.uniform(0.1, 0.9, _PROBES)
        z = rng.standard_normal((dims, _PROBES))
        now, later = (self._moved(c, z, _PROBED_STEP, t) for t in (0.0, 1 / 3))
        if not np.allclose(now, later, rtol=0, atol=1e-12, equal_nan=True):
            raise ValueError(
                "`limit` must be the same at all times for a quadrature; got one that "
                "changes with t. Leave `quadrature` out for a simulation."
            )
        # central differences of fourth order, entry by entry
        shifts = np.eye(dims)[:, None, :, None] * np.array([-2, -1, 1, 2])[:, None, None]
        shifted = np.moveaxis(z + _GAP * shifts, 2, 0).reshape(dims, -1)
        values = self._moved(np.resize(c, shifted.shape[1]), shifted, _PROBED_STEP)
        weights = np.array([1, -8, 8, -1]) / (12 * _GAP)
        gradients = np.einsum("isp,s->ip", values.reshape(dims, 4, _PROBES), weights)
        gradients = gradients[:, np.isfinite(gradients).all(axis=0)]
        vectors, lengths, _ = np.linalg.svd(gradients)
        directions = vectors.T[: np.sum(lengths > 1e-8 * lengths[0])]
        if len(directions) > _MOST_DIRECTIONS:
            raise ValueError(
                f"`solvers` must depend on at most {_MOST_DIRECTIONS} normals a step for a "
                f"quadrature; got {full_name(solver)}, which depends on "
                f"{len(directions)}. Leave `quadrature` out for a simulation."
            )
        return directions

    def _transition(
        self, grid: Grid, spacing: float, h: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The matrix `P` of a step, values at the nodes -> their means after the step, and
        the probabilities that it leaves no value.
        """
        points, weights = gaussian_rule(len(self.directions), spacing)
        normals = (points @ self.directions).T
        c, z = np.repeat(grid.nodes, len(weights)), np.tile(normals, grid.degree)
        moved = self._moved(c, z, h).reshape(grid.degree, -1)
        lost = np.isnan(moved)
        moments = grid.moments(np.where(lost, 0.0, moved), np.where(lost, 0.0, weights))
        return moments @ grid.transform, lost @ weights

    def mean(
        self, f: Callable, start: float, t: float, steps: int, degree: int, spacing: float
    ) -> float:
        """`E f(c)` after `steps` equal steps over a time `t`, from one value of `c`."""
        grid = Grid(self.coordinate, degree)
        matrix, lost = self._transition(grid, spacing, t / steps)
        first = f(grid.nodes)
        values = first
        for _ in range(steps):
            values = matrix @ values + lost * first
        return float(grid.at(start) @ values)
