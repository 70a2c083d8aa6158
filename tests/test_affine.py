"""The linear equation `dX = (a + b X) dt + σ X dB` by steps that are nearly exact."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covsde import UnshapedMLP
from covsde._affine import Affine

# Gauss and Hermite's rule for the two normals of a step
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(48)
NORMALS = jnp.array(list(itertools.product(POINTS, POINTS))).T
WEIGHTS = np.outer(WEIGHTS, WEIGHTS).ravel() / (2 * np.pi)


def moments(limit: UnshapedMLP, u0: float, h: float) -> np.ndarray:
    """Of one step: E u, E u² and E E_h."""
    affine = Affine(limit.attraction / 2, limit.spread, -jnp.sqrt(limit.spread))
    u, growth = affine.step(jnp.full(NORMALS.shape[1], u0), jnp.asarray(h), NORMALS)
    return np.array([WEIGHTS @ u, WEIGHTS @ u**2, WEIGHTS @ growth])


@pytest.mark.parametrize("slope_minus", [0.0, -0.3])
@pytest.mark.parametrize("u0", [0.0, 0.4])
def test_the_mean_is_exact_and_the_law_of_third_order(slope_minus, u0):
    limit = UnshapedMLP(1.0, slope_minus)
    lengths = np.array([0.2, 0.1, 0.05])
    found = np.stack([moments(limit, u0, h) for h in lengths])
    np.testing.assert_allclose(found[:, 0], limit.mean(lengths, u0), rtol=1e-12)
    np.testing.assert_allclose(found[:, 2], np.exp(limit.spread * lengths), rtol=1e-12)
    errors = np.abs(found[:, 1] - limit.second_moment(lengths, u0))
    orders = np.log2(errors[:-1] / errors[1:])  # of one step: one more than of many
    assert np.all(orders > 3.8), (errors, orders)


def test_without_the_constant_a_step_is_exact():
    """Geometric Brownian motion."""
    affine = Affine(jnp.asarray(0.0), jnp.asarray(0.3), jnp.asarray(0.8))
    normals = jax.random.normal(jax.random.key(0), (2, 10))
    x, growth = affine.step(jnp.full(10, 1.7), jnp.asarray(2.0), normals)
    exact = np.exp((0.3 - 0.32) * 2.0 + 0.8 * np.sqrt(2.0) * normals[0])
    np.testing.assert_allclose(growth, exact, rtol=1e-14)
    np.testing.assert_allclose(x, 1.7 * exact, rtol=1e-14)


def test_paths_are_of_strong_order_three_halves():
    """By steps of two and of one cell, the area of two from those of each."""
    limit, cells, paths = UnshapedMLP(), 32, 4096
    affine = Affine(limit.attraction / 2, limit.spread, -jnp.sqrt(limit.spread))
    h = 0.5 / cells
    w, area = jax.random.normal(jax.random.key(1), (2, cells, paths))
    w, area, ends = w * h**0.5, area * (h / 12) ** 0.5, []
    while len(w) >= 2:
        u = jnp.full(paths, 0.1)
        for one, its_area in zip(w, area, strict=True):
            u, _ = affine.along(u, jnp.asarray(h), one, its_area)
        ends.append(jnp.log(u))
        area = (area[::2] + area[1::2]) / 2 + (w[::2] - w[1::2]) / 4
        w, h = w[::2] + w[1::2], 2 * h
    errors = np.array([jnp.std(end - ends[0]) for end in ends[1:]])
    orders = np.log2(errors[1:] / errors[:-1])
    np.testing.assert_allclose(orders, 1.5, atol=0.2)
