"""Weak orders, without Monte-Carlo noise: those of `benchmarks.weak_order`."""

import functools
import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from benchmarks import weak_order
from benchmarks._one_step import cubature, remainders
from covsde import (
    BrownianGrid,
    FactorEuler,
    GeodesicStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    ShapedMLP,
    ShapedReLU,
    WishartEuler,
)
from covsde.convergence._chain import Chain, GivenPath
from covsde.convergence._coordinates import Angle, exact_mean
from covsde.laws import PairLaw
from covsde.matrices import factorise, gram
from covsde.observables import correlation

LIMIT = ShapedMLP(ShapedReLU(0.0, -1.0))
RHO0, T = weak_order.RHO0, weak_order.T


@functools.cache
def errors(solver, steps):
    (row,) = weak_order.relu_study([solver], steps).rows
    assert row.above_noise.all()
    return row


def at_least(order, bound):
    """Whether the whole interval of an observed order lies above a bound."""
    assert order.slope - order.margin >= bound, f"observed order {order}"


def square(theta):
    return np.cos(theta) ** 2


def test_the_generator_gives_the_law_of_the_pair():
    found = exact_mean(Angle(), LIMIT, square, np.arccos(RHO0), T)
    assert abs(found - PairLaw(RHO0, T, 1 / (2 * np.pi)).expectation(np.square)) < 1e-9


@pytest.mark.parametrize(
    ("solver", "dims"),
    [(GeodesicStrang(), 2), (PalindromicStrang(), 3), (FactorEuler(), 3)],
    ids=["geodesic", "palindromic", "factor"],
)
def test_correlation_depends_on_the_directions_alone(solver, dims):
    """What the quadrature leaves out of a step's normals does not move ρ."""
    chain = Chain(Angle(), LIMIT, solver)
    assert len(chain.directions) == dims
    rng = np.random.default_rng(5)
    theta = np.linspace(0.1, 3.0, 100)
    z = rng.standard_normal((3 * solver.cells_per_step, 100))
    projected = chain.directions.T @ chain.directions @ z
    # rounding alone, amplified by a step, and that of the differences
    found, expected = (chain._moved(theta, x, 0.25) for x in (projected, z))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_the_default_is_accurate_and_of_order_two():
    found = errors(GeodesicStrang(), (4, 8, 16, 32))
    bounds = np.array([6e-4, 1.5e-4, 4e-5, 1e-5])
    assert np.all(np.abs(found.errors) + found.standard_errors <= bounds), found
    at_least(found.order, 1.9)


def test_the_palindrome_is_of_order_two():
    at_least(errors(PalindromicStrang(), (4, 8, 16, 32)).order, 1.9)


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(
    ("solver", "steps"),
    [(WishartEuler(), (8, 16)), (FactorEuler(), (4, 8, 16))],
    ids=["wishart", "factor"],
)
def test_order_one(solver, steps):
    found = errors(solver, steps)
    rates = np.log2(np.abs(found.errors[:-1] / found.errors[1:]))
    relative = found.standard_errors / np.abs(found.errors)
    margins = (relative[:-1] + relative[1:]) / np.log(2)
    # 1 is the nearest whole number
    assert np.all(np.abs(rates - 1) + margins < 0.5), found


@pytest.mark.parametrize(
    ("solver", "name"),
    list(zip((GeodesicStrang(), PalindromicStrang()), weak_order.SMOOTH, strict=True)),
)
def test_one_smooth_input(solver, name):
    """One input has exact noise in both solvers: the error is the splitting's alone."""
    (found,) = weak_order.smooth_study(weak_order.SMOOTH[name], [solver]).rows
    assert np.all(found.standard_errors < 0.01 * np.abs(found.errors)), found
    at_least(found.order, 1.9)


@pytest.mark.parametrize("name", weak_order.SMOOTH)
@pytest.mark.parametrize(
    ("solver", "m", "nodes"),
    [(GeodesicStrang(), 3, 3), (PalindromicStrang(), 2, 5)],
    ids=["geodesic-3", "palindromic-2"],
)
def test_smooth_inputs_to_second_order_in_one_step(solver, m, nodes, name):
    limit, v0 = ShapedMLP(weak_order.SMOOTH[name]), jnp.asarray(weak_order.V0[:m, :m])
    left = remainders(limit, solver, v0, weak_order.LENGTHS, nodes)
    at_least(weak_order.one_step_order(left), 2.9)


@pytest.mark.parametrize(
    ("m", "name"),
    list(zip((2, 3, 2), weak_order.SOFTMAX, strict=True)),
    ids=["attention", "heads", "transformer"],
)
def test_noise_of_the_softmax_to_second_order_in_one_step(m, name):
    v0 = jnp.asarray(weak_order.V0[:m, :m])
    solver, lengths = NinomiyaNinomiya(), weak_order.LENGTHS
    left = remainders(weak_order.SOFTMAX[name], solver, v0, lengths, 0)
    at_least(weak_order.one_step_order(left), 2.9)


def test_the_cubature_is_exact_to_degree_five():
    points, weights = cubature(5)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-13)
    for powers, moment in (((2,), 1.0), ((4,), 3.0), ((2, 2), 1.0), ((1, 3), 0.0)):
        for axes in itertools.permutations(range(5), len(powers)):
            value = np.prod([points[i] ** p for i, p in zip(axes, powers, strict=True)], 0)
            np.testing.assert_allclose(weights @ value, moment, atol=1e-12)


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("solver", [PalindromicStrang(), FactorEuler()])
def test_coupled_paths_differ_as_the_quadrature_says(solver):
    """Halving the step on the same Brownian paths, through Diffrax."""
    paths, coarse = 100_000, 2
    cells = np.linspace(0.0, T, 2 * coarse * solver.cells_per_step + 1)
    path = BrownianGrid(cells, 2, key=jax.random.key(3), num_paths=paths)
    v0 = jnp.broadcast_to(jnp.array([[1.0, RHO0], [RHO0, 1.0]]), (paths, 2, 2))

    @jax.jit
    def squared(dt0):
        terms, most = LIMIT.terms(path), 2 * coarse
        solved = diffrax.diffeqsolve(terms, solver, 0.0, T, dt0, v0, max_steps=most)
        return correlation(solved.ys[-1])[:, 0, 1] ** 2

    change = np.subtract(*(squared(T / steps) for steps in (coarse, 2 * coarse)))
    expected = errors(solver, (coarse, 2 * coarse))
    difference = expected.errors[0] - expected.errors[1]
    tolerance = 4 * change.std() / np.sqrt(paths) + expected.standard_errors.sum()
    assert abs(change.mean() - difference) < tolerance
    assert abs(difference) > tolerance, "the test must be able to see the bias"


# Coefficients that change with time


class Growing(covsde.AbstractDrift):
    """`b = t V`."""

    def __call__(self, t, v, args):
        return t * v


class Fading(covsde.AbstractDiffusion):
    """`√Γ F dS Fᵀ`, `Γ = e^{−t}`."""

    def gain(self, t):
        return jnp.exp(-t)


class InTime(covsde.AbstractLimit):
    drift: covsde.AbstractDrift = Growing()
    diffusion: covsde.AbstractDiffusion = Fading()


def test_the_default_solver_in_time():
    assert isinstance(covsde.default_solver(InTime()), GeodesicStrang)


@pytest.mark.parametrize(
    "solver", [GeodesicStrang(), PalindromicStrang(), NinomiyaNinomiya()]
)
def test_order_two_in_time(solver):
    """Where the Brownian motion does not move, `log V_1 = ½ − ∫Γ` for one input."""
    cells = solver.cells_per_step

    @jax.jit
    def step(t, h, factor):
        path = GivenPath(jnp.zeros((cells, 1, 1)), h / cells, 1)
        return solver.step(InTime().terms(path), t, t + h, factor, None, None, False)[0]

    errors = []
    for steps in (8, 16, 32):
        factor = factorise(jnp.ones((1, 1, 1)))
        for t in np.arange(steps) / steps:
            factor = step(t, 1 / steps, factor)
        errors.append(float(jnp.log(gram(factor).to_dense()[0, 0, 0])) - np.exp(-1) + 0.5)
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.1)
