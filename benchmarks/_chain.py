"""One step of a scheme as a matrix, by quadrature: weak errors without Monte-Carlo noise.

A scheme is a Markov chain on covariances, and one step acts on functions by
`(Pf)(c) = E f(c')`. Where the chain closes on one bounded coordinate `c`, functions are
held by their values at Chebyshev nodes, the mean over the normals of a step is a
trapezoidal sum, and the step is the package's own solver with those normals as its
Brownian path. Then `E f(c_n) = (Pⁿ f)(c_0)`, to as many digits as the nodes give.
"""

import itertools
from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Scalar

from covsde import AbstractLimit
from covsde.brownian import NoiseShape, arrange
from covsde.matrices import Lower, gram, num_entries

# Normals are kept up to this radius: beyond it lies 1e-11 of three of them.
_RADIUS = 7.5
# Matrices moved by one call of the solver.
_CHUNK = 2**18


class GivenPath(diffrax.AbstractBrownianPath):
    """A Brownian path on cells of equal length, made from given standard normals."""

    normals: Float[Array, "cells entries batch"]
    cell: Scalar
    m: int = eqx.field(static=True)
    noise_shape: NoiseShape = eqx.field(static=True, default="triangle")
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    @property
    def t0(self):
        return jnp.zeros(())

    @property
    def t1(self):
        return self.cell * self.normals.shape[0]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        index = jnp.round(t0 / self.cell).astype(int)
        entries = self.normals[index] * jnp.sqrt(t1 - t0)
        return arrange(self.noise_shape, entries, self.m)


class Angle:
    """`θ = arccos ρ` of two inputs: closed where the scale of `V` does not matter."""

    m = 2
    length = np.pi

    def factor(self, theta):
        """A factor at each angle."""
        one = jnp.ones_like(theta)
        return Lower(jnp.stack([one, jnp.cos(theta), jnp.sin(theta)]), 2)

    def read(self, factor):
        """The angle of each factor; its pivots may be negative."""
        l11, l21, l22 = factor.data
        return jnp.arctan2(jnp.abs(l22), l21 * jnp.sign(l11))

    def of(self, v):
        """The angle of one dense covariance."""
        return jnp.arccos(v[0, 1] / jnp.sqrt(v[0, 0] * v[1, 1]))


class Norm:
    """`V/(1 + V)` of one input."""

    m = 1
    length = 1.0

    def factor(self, x):
        """A factor at each value."""
        return Lower(jnp.sqrt(x / (1 - x))[None], 1)

    def read(self, factor):
        """The value of each factor."""
        (v,) = factor.squared_rows()
        return v / (1 + v)

    def of(self, v):
        """The value of one dense covariance."""
        return v[0, 0] / (1 + v[0, 0])


class Grid:
    """Chebyshev nodes on the interval of a coordinate, and polynomials between them."""

    def __init__(self, coordinate: Angle | Norm, degree: int):
        self.coordinate, self.degree = coordinate, degree
        self._angles = (np.arange(degree) + 0.5) * np.pi / degree
        self.nodes = coordinate.length * (1 - np.cos(self._angles)) / 2
        # values at the nodes -> Chebyshev coefficients
        k = np.arange(degree)[:, None]
        self.transform = (-1.0) ** k * np.cos(k * self._angles) * (2 / degree)
        self.transform[0] /= 2

    def basis(self, c: Array) -> Array:
        """Chebyshev polynomials at `c`, `(*c.shape, degree)`."""
        phi = jnp.arccos(jnp.clip(2 * c / self.coordinate.length - 1, -1, 1))
        k = jnp.arange(self.degree).reshape((1,) * c.ndim + (-1,))
        return jnp.cos(phi[..., None] * k)

    def at(self, c: float) -> np.ndarray:
        """The weights of the nodes that interpolate at one point."""
        return np.asarray(self.basis(jnp.asarray(c))) @ self.transform

    def derivative(self) -> np.ndarray:
        """The matrix of the derivative on values at the nodes."""
        n, a = self.degree, self._angles
        weights = (-1.0) ** np.arange(n) * np.sin(a)
        # the distances of the nodes, without cancellation
        gaps = 2 * np.sin((a[:, None] + a) / 2) * np.sin((a[:, None] - a) / 2) + np.eye(n)
        d = weights / weights[:, None] / gaps
        np.fill_diagonal(d, 0.0)
        np.fill_diagonal(d, -d.sum(axis=1))
        return d * (2 / self.coordinate.length)


def exact_mean(
    coordinate: Angle | Norm, limit: AbstractLimit, f: Callable, start: float, t: float
) -> float:
    """`E f(c)` of the SDE itself after a time `t`, by the exponential of its generator.

    The generator of the coordinate comes from the limit's own drift and covariance of the
    noise by Itô's formula. It degenerates at both ends of the interval, so no boundary
    condition is needed, and the nodes are interior.
    """
    grid, of = Grid(coordinate, 96), coordinate.of

    @jax.jit
    @jax.vmap
    def coefficients(c):
        v = gram(coordinate.factor(c)).to_dense()
        sigma, first = limit.diffusion.covariance(v), jax.jacfwd(of)(v)
        drift = jnp.sum(first * limit.drift(jnp.zeros(()), v, None))
        ito = jnp.sum(sigma * jax.jacfwd(jax.jacfwd(of))(v)) / 2
        return drift + ito, jnp.einsum("ab,abcd,cd->", first, sigma, first)

    speed, variance = map(np.asarray, coefficients(jnp.asarray(grid.nodes)))
    d = grid.derivative()
    generator = speed[:, None] * d + variance[:, None] / 2 * (d @ d)
    return float(grid.at(start) @ scipy.linalg.expm(t * generator) @ f(grid.nodes))


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
    """A scheme as a Markov chain on the nodes of a grid."""

    def __init__(self, grid: Grid, limit, solver, directions, spacing: float):
        """`directions`: orthonormal rows, in the space of a step's normals (cell by cell,
        entry by entry), that span what the coordinate after the step depends on.
        """
        cells, coordinate = solver.cells_per_step, grid.coordinate
        m = coordinate.m
        points, weights = gaussian_rule(len(directions), spacing)
        normals = (points @ directions).T.reshape(cells, num_entries(m), -1)
        self.grid, self._count = grid, len(weights)

        @jax.jit
        def moments(nodes, normals, weights, h):
            batch = jnp.tile(normals, (1, 1, len(nodes)))
            terms = limit.terms(GivenPath(batch, h / cells, m))
            start = coordinate.factor(jnp.repeat(nodes, len(weights)))
            end, *_ = solver.step(terms, jnp.zeros(()), h, start, None, None, False)
            c = coordinate.read(end).reshape(len(nodes), -1)
            return jnp.einsum("iqk,q->ik", grid.basis(c), weights)

        self._moments: Callable = lambda nodes, h: moments(
            nodes, jnp.asarray(normals), jnp.asarray(weights), jnp.asarray(h)
        )

    def transition(self, h: float) -> np.ndarray:
        """The matrix `P` of a step: values at the nodes -> their means after the step."""
        nodes = self.grid.nodes
        pieces = -(-len(nodes) * self._count // _CHUNK)
        size = -(-len(nodes) // pieces)
        padded = np.resize(nodes, pieces * size).reshape(pieces, size)
        moments = np.concatenate([self._moments(jnp.asarray(p), h) for p in padded])
        return moments[: len(nodes)] @ self.grid.transform

    def mean(self, f: Callable, start: float, t: float, steps: int) -> float:
        """`E f(c)` after `steps` equal steps over a time `t`, from one value of `c`."""
        matrix, row = self.transition(t / steps), self.grid.at(start)
        for _ in range(steps):
            row = row @ matrix
        return float(row @ f(self.grid.nodes))
