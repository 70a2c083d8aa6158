"""Products of random matrices: exact moments of log-norms, their limit, dying networks."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import covsde
from covsde.laws import LinearProduct, ReLUProduct
from covsde.observables import log_diagonal
from covsde.oracles.relu_pair import sample_relu_pairs

KEY = jax.random.key(80)


def assert_mean(samples, expected):
    """The mean, to four standard errors."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 4 * error


def assert_law(growth, law):
    """Mean and variance, to four standard errors."""
    growth = np.asarray(growth)
    assert_mean(growth, law.mean)
    squares = (growth - growth.mean()) ** 2
    assert_mean(squares * len(growth) / (len(growth) - 1), law.variance)


@functools.cache
def relu_growth(width, depth, num_networks):
    """`log(V_d/V_0)` of one input in networks that survive, and the share that do."""
    pairs = sample_relu_pairs(1.0, [width] * depth, key=KEY, num_networks=num_networks)
    growth, alive = np.asarray(pairs.log_growth[:, -1, 0]), np.isinf(pairs.died_at)
    return growth[alive], alive


@pytest.mark.parametrize(("width", "depth"), [(2, 3), (16, 8), (64, 64)])
def test_linear_networks(width, depth):
    networks = covsde.oracles.sample(
        covsde.ShapedMLP(covsde.Identity()),
        jnp.eye(1),
        depth / width,
        width=width,
        key=KEY,
        num_networks=4000,
    )
    assert_law(log_diagonal(networks.vs)[:, 0, 0], LinearProduct(width, depth))


@pytest.mark.parametrize(("width", "depth"), [(24, 8), (64, 64)])
def test_relu_networks(width, depth):
    growth, _ = relu_growth(width, depth, 4000)
    assert_law(growth, ReLUProduct(width, depth))


def test_relu_factor_by_numerical_integration():
    """`E log` and `E log²` of `(2/n) χ²_B` against its density, of a width of 3."""
    n = 3
    moments = np.zeros(3)
    for b, weight in ((1, 3 / 7), (2, 3 / 7), (3, 1 / 7)):
        density = stats.chi2(b).pdf

        def integrand(y, k, density=density):  # over the logarithm of χ²
            return (y + np.log(2 / n)) ** k * density(np.exp(y)) * np.exp(y)

        pieces = [-80.0, -10.0, 0.0, 6.0]
        for k in range(3):
            ends = itertools.pairwise(pieces)
            moments[k] += weight * sum(quad(integrand, *e, args=(k,))[0] for e in ends)
    assert abs(moments[0] - 1) < 1e-10
    law = ReLUProduct(n, 1)
    np.testing.assert_allclose(law.mean, moments[1], rtol=1e-9)
    np.testing.assert_allclose(law.variance, moments[2] - moments[1] ** 2, rtol=1e-9)


def test_width_one():
    """A single active unit: both products have factors χ²₁, up to a scale of 2."""
    linear, relu = LinearProduct(1, 4), ReLUProduct(1, 4)
    np.testing.assert_allclose(relu.variance, linear.variance, rtol=1e-14)
    np.testing.assert_allclose(relu.mean - linear.mean, 4 * np.log(2), rtol=1e-14)


@pytest.mark.parametrize(("product", "rate"), [(LinearProduct, 2), (ReLUProduct, 5)])
def test_limit(product, rate):
    """`N(−T, 2T)` and `N(−5T/2, 5T)`: the rest halves as the width doubles."""
    limit = product(100, 50).limit
    assert limit.variance == rate * 0.5 and limit.mean == -limit.variance / 2
    for moment in ("mean", "variance"):
        rest = [
            getattr(product(n, n // 2), moment) - getattr(limit, moment)
            for n in (200, 400, 800)
        ]
        ratios = np.divide(rest[:-1], rest[1:])
        assert np.all(np.abs(ratios - 2) < 0.05)


@pytest.mark.parametrize("product", [LinearProduct, ReLUProduct])
def test_layers_are_independent(product):
    one, many = product(10, 1), product(10, 7)
    np.testing.assert_allclose(many.mean, 7 * one.mean, rtol=1e-14)
    np.testing.assert_allclose(many.variance, 7 * one.variance, rtol=1e-14)


def test_quantiles_are_those_of_networks():
    """The Gaussian with the exact moments, of width and depth 64.

    `d` factors of skewness s leave a Kolmogorov distance of at most `|s|/(6√(2π d))` to
    first order (Edgeworth); it is added to that of 4000 samples.
    """
    width = depth = 64
    growth, _ = relu_growth(width, depth, 4000)
    factor, _ = relu_growth(width, 1, 100_000)
    skewness = abs(stats.skew(factor)) / np.sqrt(depth)
    gaussian = ReLUProduct(width, depth)
    distance = stats.kstest(growth, lambda r: np.asarray(gaussian.cdf(r))).statistic
    assert distance < stats.kstwo(4000).isf(1e-3) + skewness / (6 * np.sqrt(2 * np.pi))
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        np.testing.assert_allclose(gaussian.cdf(gaussian.quantile(p)), p, rtol=1e-12)


def test_networks_die():
    law = ReLUProduct(4, 6)
    np.testing.assert_allclose(law.death_probability, 1 - (15 / 16) ** 6, rtol=1e-14)
    # either input may end a pair: inputs that are almost equal end together
    pairs = sample_relu_pairs(1e-9, [4] * 6, key=KEY, num_networks=4000)
    assert_mean(np.isfinite(pairs.died_at), law.death_probability)
    # of wide networks it is not lost to rounding
    np.testing.assert_allclose(ReLUProduct(200, 3).death_probability, 3 * 2.0**-200)


def test_refusals():
    for product in (LinearProduct, ReLUProduct):
        with pytest.raises(ValueError, match="`width` must be an integer of at least 1"):
            product(0, 1)
        with pytest.raises(TypeError, match="`depth` must be an integer of at least 1"):
            product(1, 1.5)
