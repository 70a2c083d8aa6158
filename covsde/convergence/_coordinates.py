"""Bounded coordinates in which a covariance SDE closes, and its law on a grid of them."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array

from .._names import full_name
from ..limits import AbstractLimit
from ..matrices import Lower, Symmetric, gram
from ..states import size

# Nodes of a generator: with more of them rounding grows.
_MOST_NODES = 96


class Angle(eqx.Module):
    """`θ = arccos ρ` of two inputs: closed where the scale of `V` does not matter."""

    m: ClassVar[int] = 2
    length: ClassVar[float] = np.pi
    # of the rows, which must not matter
    scales: ClassVar[tuple] = ((1.0, 1.0), (2.0, 0.5))

    def factor(self, theta):
        """A factor at each angle."""
        one = jnp.ones_like(theta)
        rows = jnp.stack([one, jnp.cos(theta), jnp.sin(theta)])
        return Lower.from_entries(rows, 2).as_invertible()

    def read(self, y: Lower | Symmetric):
        """The angle of each state; pivots may be negative. NaN where `V` is zero."""
        if isinstance(y, Lower):
            l11, l21, l22 = y.entries()
            return jnp.arctan2(jnp.abs(l22), l21 * jnp.sign(l11))
        v11, v21, v22 = y.entries()
        theta = jnp.arctan2(jnp.sqrt(jnp.maximum(v11 * v22 - v21**2, 0.0)), v21)
        return jnp.where((v11 > 0) & (v22 > 0), theta, jnp.nan)

    def of(self, v):
        """The angle of one dense covariance."""
        return jnp.arccos(v[0, 1] / jnp.sqrt(v[0, 0] * v[1, 1]))


class Norm(eqx.Module):
    """`V/(1 + V)` of one input."""

    m: ClassVar[int] = 1
    length: ClassVar[float] = 1.0
    scales: ClassVar[tuple] = ((1.0,),)

    def factor(self, x):
        """A factor at each value."""
        return Lower.from_entries(jnp.sqrt(x / (1 - x))[None], 1).as_invertible()

    def read(self, y: Lower | Symmetric):
        """The value of each state."""
        v = size(y)
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

    def at(self, c: float) -> np.ndarray:
        """The weights of the nodes that interpolate at one point."""
        return self.moments(np.array([[c]]), np.ones(1))[0] @ self.transform

    def moments(self, c: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Sums of Chebyshev polynomials at `c`, `(rows, points)`, over the points."""
        x = 2 * c / self.coordinate.length - 1
        before, now = np.ones_like(x), x
        sums = []
        for _ in range(self.degree):
            sums.append(np.sum(weights * before, axis=1))
            before, now = now, 2 * x * now - before
        return np.stack(sums, axis=1)

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


def on_coordinate(coordinate: Angle | Norm, observable: Callable) -> Callable:
    """An observable as a function of the coordinate, and of the scales of the rows."""

    @jax.jit
    def values(c, scale):
        return observable(_covariances(coordinate, c, scale))

    def f(c: np.ndarray, scale=coordinate.scales[0]) -> np.ndarray:
        return np.asarray(values(_filled(c), np.asarray(scale)))[: len(c)]

    return f


def exact_mean(
    coordinate: Angle | Norm,
    limit: AbstractLimit,
    f: Callable,
    start: float,
    t: float,
    nodes: int = _MOST_NODES,
) -> float:
    """`E f(c)` of the SDE itself after a time `t`, by the exponential of its generator.

    The generator of the coordinate comes from the limit's own drift and covariance of the
    noise by Itô's formula. It degenerates at both ends of the interval, so no boundary
    condition is needed, and the nodes are interior.
    """
    grid = Grid(coordinate, nodes)
    speed, variance = _generator(coordinate, limit, grid.nodes, coordinate.scales[0])
    d = grid.derivative()
    generator = speed[:, None] * d + variance[:, None] / 2 * (d @ d)
    return float(grid.at(start) @ scipy.linalg.expm(t * generator) @ f(grid.nodes))


def closed_coordinate(limit: AbstractLimit, observable: Callable, m: int) -> Angle | Norm:
    """The coordinate that observable and limit depend on alone; refuses where none is."""
    way_out = "Leave `quadrature` out for a simulation."
    if m > 2:
        raise ValueError(
            f"`v0` must be of one or two inputs for a quadrature; got m = {m}. {way_out}"
        )
    coordinate = Norm() if m == 1 else Angle()
    c = coordinate.length * np.linspace(0.1, 0.9, 9)
    f = on_coordinate(coordinate, observable)
    if not _same([f(c, scale) for scale in coordinate.scales]):
        raise ValueError(
            "`observable` must depend on the correlation alone for a quadrature with two "
            f"inputs; got one that changes with the norms. {way_out}"
        )
    if not _same([_generator(coordinate, limit, c, s) for s in coordinate.scales]):
        raise ValueError(
            "`limit` must move the correlation whatever the norms are for a quadrature, "
            f"as linear networks and shaped ReLUs do; got {full_name(limit)}. {way_out}"
        )
    return coordinate


def _generator(coordinate, limit, c: np.ndarray, scale) -> tuple[np.ndarray, np.ndarray]:
    """The drift and the squared noise of the coordinate at each value of it."""
    found = _coefficients(coordinate, limit, jnp.asarray(_filled(c)), jnp.asarray(scale))
    speed, variance = (np.asarray(x)[: len(c)] for x in found)
    return speed, variance


@eqx.filter_jit
def _coefficients(coordinate, limit, c: Array, scale: Array) -> tuple[Array, Array]:
    @jax.vmap
    def coefficients(v):
        of = coordinate.of
        sigma, first = limit.diffusion.covariance(v), jax.jacfwd(of)(v)
        drift = jnp.sum(first * limit.drift(jnp.zeros(()), v, None))
        ito = jnp.sum(sigma * jax.jacfwd(jax.jacfwd(of))(v)) / 2
        return drift + ito, jnp.einsum("ab,abcd,cd->", first, sigma, first)

    return coefficients(_covariances(coordinate, c, scale))


def _covariances(coordinate, c: Array, scale: Array) -> Array:
    """Dense `V` at values of the coordinate, its inputs of different norms."""
    return gram(coordinate.factor(c)).to_dense() * jnp.outer(scale, scale)[None]


def _filled(c: np.ndarray) -> np.ndarray:
    """Filled up, so that one program serves all grids."""
    return np.resize(c, _MOST_NODES)


def _same(values: list) -> bool:
    first = values[0]
    return all(np.allclose(first, x, rtol=1e-9, atol=1e-12) for x in values[1:])
