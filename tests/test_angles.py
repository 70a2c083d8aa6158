"""Angles in unshaped ReLU networks: moments, one layer, the chain, and its networks."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from covsde import LeakyReLU
from covsde.laws import AngleProcess, J, layer_mean, layer_variance
from covsde.oracles.relu_pair import _relu_layer, sample_relu_pairs

KEY = jax.random.key(70)


def mean_and_error(samples):
    samples = np.asarray(samples)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


def squares(samples):
    """Numbers whose mean is the variance."""
    samples = np.asarray(samples)
    return (samples - samples.mean(axis=0)) ** 2 * len(samples) / (len(samples) - 1)


def log_sin_squared(theta):
    return 2 * np.log(np.sin(np.asarray(theta)))


# Moments


@pytest.mark.parametrize("a", range(5))
@pytest.mark.parametrize("b", range(5))
def test_moments_are_those_of_quadrature(a, b):
    """In polar coordinates the radius is a gamma function, the angle a smooth integral."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for theta in np.linspace(0, np.pi, 9):
        # both are positive at angles between θ − π/2 and π/2
        half = (np.pi - theta) / 2
        angle = theta / 2 + half * nodes
        integral = half * np.sum(weights * np.cos(angle) ** a * np.cos(angle - theta) ** b)
        radius = 2 ** ((a + b) / 2) * math.gamma((a + b) / 2 + 1)
        assert abs(J(a, b, theta) - radius * integral / (2 * np.pi)) < 1e-10


def test_moments_in_closed_form():
    theta = np.linspace(0, np.pi, 9)
    c, s, rest = np.cos(theta), np.sin(theta), np.pi - theta
    expected = {
        (0, 0): rest / (2 * np.pi),
        (1, 0): (1 + c) / (2 * np.sqrt(2 * np.pi)),
        (1, 1): (s + rest * c) / (2 * np.pi),
        (2, 0): (rest + s * c) / (2 * np.pi),
        (2, 1): (1 + c) ** 2 / (2 * np.sqrt(2 * np.pi)),
        (2, 2): (3 * s * c + rest * (1 + 2 * c**2)) / (2 * np.pi),
        (3, 1): (s * (2 + c**2) + 3 * rest * c) / (2 * np.pi),
    }
    for (a, b), values in expected.items():
        np.testing.assert_allclose(J(a, b, theta), values, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(J(a, b, theta), J(b, a, theta))


def by_parts(theta, largest):
    """`J_{a,b}` of one angle, by their recursion in 700 digits, of which π − θ eats 650."""
    with mpmath.workdps(700):
        theta, root = mpmath.mpf(theta), mpmath.sqrt(2 * mpmath.pi)
        sin, cos = mpmath.sin(theta), mpmath.cos(theta)
        half = [
            mpmath.mpf(2) ** (mpmath.mpf(k) / 2) * mpmath.gamma(mpmath.mpf(k + 1) / 2)
            for k in range(largest + 1)
        ]
        half = [moment / mpmath.sqrt(mpmath.pi) / 2 for moment in half]
        table = {(0, 0): (mpmath.pi - theta) / (2 * mpmath.pi)}
        for a in range(1, largest + 1):
            for b in range(a + 1):
                total = sin**b * half[b] / root if a == 1 else mpmath.mpf(0)
                if b == 0:
                    total += cos * sin ** (a - 1) * half[a - 1] / root
                else:
                    total += b * cos * table[a - 1, b - 1]
                if a >= 2:
                    total += (a - 1) * table[max(a - 2, b), min(a - 2, b)]
                table[a, b] = total
        return {powers: float(value) for powers, value in table.items()}


def test_moments_keep_their_digits_at_every_angle():
    """Near π they are as small as `(π−θ)^{a+b+1}`, and nothing may cancel."""
    thetas = np.array([0.0, 1e-8, 0.01, 1.0, 2.5, 3.1, 3.1415, 3.141592653, np.pi])
    tables = [by_parts(theta, 20) for theta in thetas]
    assert tables[5][12, 12] == pytest.approx(1.3777863354845e-31, rel=1e-13)
    for a, b in [(0, 0), (1, 0), (1, 1), (3, 1), (7, 4), (12, 12), (19, 0), (20, 20)]:
        expected = np.array([table[a, b] for table in tables])
        np.testing.assert_allclose(J(a, b, thetas), expected, rtol=1e-13, atol=1e-307)


# One layer


def exact_layer(theta):
    """Infinite-width mean, and `n` times both corrections, in 50 digits."""
    with mpmath.workdps(50):
        t = mpmath.mpf(float(theta))
        c, s, rest = mpmath.cos(t), mpmath.sin(t), mpmath.pi - t
        j11 = (s + rest * c) / (2 * mpmath.pi)
        j22 = (3 * s * c + rest * (1 + 2 * c**2)) / (2 * mpmath.pi)
        j31 = (s * (2 + c**2) + 3 * rest * c) / (2 * mpmath.pi)
        quarter = mpmath.mpf(1) / 4
        # the covariance of x = relu(G)², y = relu(G')² and w = relu(G) relu(G')
        cov = mpmath.matrix(3)
        cov[0, 0] = cov[1, 1] = 5 * quarter
        cov[0, 1] = cov[1, 0] = j22 - quarter
        cov[2, 2] = j22 - j11**2
        for i in (0, 1):
            cov[i, 2] = cov[2, i] = j31 - j11 / 2

        # derivatives of log(1 − w²/xy), by hand of another form than the package's
        x = y = mpmath.mpf(1) / 2
        r = j11**2 / (x * y)
        k = r / (1 - r)  # of log(1 − e^p), p = 2 log w − log x − log y
        k2 = -r / (1 - r) ** 2
        dp = mpmath.matrix([-1 / x, -1 / y, 2 / j11])
        ddp = mpmath.diag([1 / x**2, 1 / y**2, -2 / j11**2])
        gradient = -k * dp
        hessian = k2 * dp * dp.T - k * ddp
        bias = sum(hessian[i, j] * cov[i, j] for i in range(3) for j in range(3)) / 2
        variance = (gradient.T * cov * gradient)[0]
        return float(mpmath.log(1 - r)), float(bias), float(variance)


def test_layer_against_50_digits():
    """From tiny angles to π, and on both sides of the switch to the closed forms."""
    thetas = np.concatenate([np.geomspace(1e-6, 0.1, 13), np.linspace(0.2, 3.1, 59)])
    exact = np.array([exact_layer(theta) for theta in thetas])
    limit = np.asarray(layer_mean(thetas, np.inf))
    np.testing.assert_allclose(limit, exact[:, 0], rtol=1e-14, atol=1e-15)
    # the width 1 makes the corrections the largest part
    bias = np.asarray(layer_mean(thetas, 1)) - limit
    np.testing.assert_allclose(bias, exact[:, 1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(layer_variance(thetas, 1), exact[:, 2], rtol=0, atol=1e-14)


def test_layer_reference_values():
    assert abs(layer_mean(0.3, 400) + 2.50733) < 5e-6
    assert abs(400 * layer_variance(0.3, 400) - 6.90) < 5e-3


def test_layer_at_small_angles():
    """`log sin²θ − 2θ/3π − 2/n − 8θ/15πn`, and `8/n − 64θ/15πn`, up to `O(θ²)`."""
    theta, n, pi = 1e-4, 100, np.pi
    mean = log_sin_squared(theta) - 2 * theta / (3 * pi) - 2 / n
    mean -= 8 * theta / (15 * pi * n)
    assert abs(layer_mean(theta, n) - mean) < theta**2
    variance = (8 - 64 * theta / (15 * pi)) / n
    assert abs(layer_variance(theta, n) - variance) < theta**2


@pytest.mark.parametrize("theta", [1e-8, 0.3, np.pi / 2, 2.5])
def test_layer_is_that_of_networks(theta):
    """Of two widths: a bias of `O(n^{−2})`, scaled by `n`, is extrapolated away."""
    means, variances = [], []
    for n in (100, 200):
        pairs = sample_relu_pairs(theta, [n], key=KEY, num_networks=20_000)
        y = log_sin_squared(pairs.theta[:, -1])
        means.append(mean_and_error(n * (y - layer_mean(theta, n))))
        variances.append(mean_and_error(n * (squares(y) - layer_variance(theta, n))))
    for (m1, e1), (m2, e2) in (means, variances):
        assert abs(2 * m2 - m1) < 4 * np.hypot(e1, 2 * e2)


# The chain

WIDTHS = [100] * 10 + [50] * 5 + [200] * 10
START = 1.2


@pytest.fixture(scope="module")
def networks():
    return sample_relu_pairs(START, WIDTHS, key=KEY, num_networks=3000)


def test_chain_predicts_networks(networks):
    """Mean and variance of `log sin²θ_l`, to 4 s.e. of both and the bias of the layers.

    A layer has a bias of `c/n²`; `c` is 33 in the variance at θ = 0.3 and its bound, 40
    at small angles, a third of it in the mean, by simulation of single layers.
    """
    process = AngleProcess(WIDTHS)
    paths = process.sample(START, key=jax.random.fold_in(KEY, 1), num_paths=3000)
    chain, real = log_sin_squared(paths[:, 1:]), log_sin_squared(networks.theta[:, 1:])
    bias = np.cumsum(40 / np.square(WIDTHS, dtype=float))
    for observable, share in ((lambda y: y, 1 / 3), (squares, 1.0)):
        (m1, e1), (m2, e2) = (mean_and_error(observable(y)) for y in (chain, real))
        assert np.all(np.abs(m1 - m2) < 4 * np.hypot(e1, e2) + share * bias)


def test_infinite_width_does_not(networks):
    """The end of the chain is ten s.e. below it, and the typical path closer."""
    process = AngleProcess(WIDTHS)
    mean, error = mean_and_error(log_sin_squared(networks.theta[:, -1]))
    limit = log_sin_squared(process.infinite_width(START)[-1])
    typical = log_sin_squared(process.predict(START)[-1])
    assert mean < limit - 10 * error
    assert abs(typical - mean) < abs(limit - mean) / 3


def test_infinite_width_is_the_kernel_of_relu():
    """`cos θ' = (sin θ + (π−θ) cos θ)/π`, down to angles that a cosine cannot hold."""
    theta = AngleProcess([10] * 3).infinite_width(2.0)
    expected = (np.sin(theta[:-1]) + (np.pi - theta[:-1]) * np.cos(theta[:-1])) / np.pi
    np.testing.assert_allclose(np.cos(theta[1:]), expected, rtol=1e-14)
    tiny = AngleProcess([10]).infinite_width(1e-9)
    # θ' = θ (1 − θ/3π) up to θ³
    np.testing.assert_allclose(tiny[1], 1e-9 * (1 - 1e-9 / (3 * np.pi)), rtol=1e-15)


def test_wide_chains_are_infinitely_wide():
    wide = AngleProcess([10**12] * 20)
    limit = wide.infinite_width(START)
    np.testing.assert_allclose(wide.predict(START), limit, rtol=1e-9)
    path = wide.sample(START, key=KEY, num_paths=2)
    # 20 steps, each of a noise of √(8/n)
    np.testing.assert_allclose(path[1], limit, rtol=20 * 4 * np.sqrt(8e-12))


@pytest.mark.parametrize("start", [1e-6, np.pi / 2, 2.8, np.pi])
def test_angles_stay_acute(start):
    """Narrow layers, whose steps often reach beyond a right angle."""
    process = AngleProcess([4] * 30)
    for theta in (
        process.sample(start, key=KEY, num_paths=200),
        process.predict(start)[None],
        process.infinite_width(start)[None],
    ):
        assert np.all(theta[:, 0] == start)
        # 2 arcsin √½ is rounded up
        assert np.all((theta[:, 1:] > 0) & (theta[:, 1:] <= np.pi / 2 * (1 + 4e-16)))


def test_opposite_inputs_become_orthogonal():
    pairs = sample_relu_pairs(np.pi, [50], key=KEY, num_networks=3)
    np.testing.assert_allclose(pairs.theta[:, 1], np.pi / 2, rtol=1e-14)
    path = AngleProcess([50]).sample(np.pi, key=KEY, num_paths=3)
    np.testing.assert_allclose(path[:, 1], np.pi / 2, rtol=1e-7)


def test_paths_depend_on_key_and_index_alone():
    process = AngleProcess([20] * 3)
    whole, part = (process.sample(1.0, key=KEY, num_paths=n) for n in (9, 4))
    np.testing.assert_allclose(whole[:4], part, rtol=1e-14)
    whole, part = (
        sample_relu_pairs(1.0, [20] * 3, key=KEY, num_networks=n) for n in (9, 4)
    )
    np.testing.assert_allclose(whole.theta[:4], part.theta, rtol=1e-12)


# The networks of pairs


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, -0.3), (0.5, 2.0)])
@pytest.mark.parametrize("theta", [1e-12, 1e-4, 1.0, 3.0])
def test_a_layer_of_a_pair_keeps_its_digits(theta, slopes):
    normals = np.random.default_rng(0).normal(size=(2, 30))
    relu = LeakyReLU(*slopes)
    angle, norms = _relu_layer(relu, jnp.asarray(theta), jnp.asarray(normals))
    with mpmath.workdps(50):
        sin, cos = mpmath.sin(mpmath.mpf(theta)), mpmath.cos(mpmath.mpf(theta))
        pairs = [(mpmath.mpf(z), mpmath.mpf(w)) for z, w in normals.T.tolist()]
        plus, minus = map(mpmath.mpf, slopes)

        def phi(z):
            return plus * max(z, 0) + minus * min(z, 0)

        a = [phi(z) for z, _ in pairs]
        b = [phi(cos * z + sin * w) for z, w in pairs]
        aa, bb, ab = (mpmath.fdot(x, y) for x, y in ((a, a), (b, b), (a, b)))
        exact = float(mpmath.acos(ab / mpmath.sqrt(aa * bb)))
        lengths = [float(aa), float(bb)]
    np.testing.assert_allclose(angle, exact, rtol=1e-13)
    np.testing.assert_allclose(norms, lengths, rtol=1e-13)


def test_dead_networks_are_frozen():
    pairs = sample_relu_pairs(1.0, [2] * 30, key=KEY, num_networks=50)
    assert np.all(np.isfinite(pairs.theta)) and np.all(np.isfinite(pairs.log_growth))
    dead = np.isfinite(pairs.died_at)
    assert dead.sum() > 40
    for i in np.flatnonzero(dead):
        layer = int(pairs.died_at[i])
        assert len(np.unique(pairs.theta[i, layer - 1 :])) == 1
        assert len(np.unique(pairs.log_growth[i, layer - 1 :, 0])) == 1


# Refusals


@pytest.mark.parametrize("bad", [0.0, -0.1, 3.2, float("nan")])
def test_starts_are_refused(bad):
    process = AngleProcess([10])
    for run in (
        process.infinite_width,
        process.predict,
        lambda theta: process.sample(theta, key=KEY, num_paths=1),
    ):
        with pytest.raises(ValueError, match=r"`theta0` must be an angle in \(0, π\]"):
            run(bad)


@pytest.mark.parametrize("widths", [[], 10, [[10]]])
def test_widths_are_a_sequence(widths):
    for run in (
        AngleProcess,
        lambda w: sample_relu_pairs(1.0, w, key=KEY, num_networks=1),
    ):
        with pytest.raises(ValueError, match=r"`widths` must have shape \(depth,\)"):
            run(widths)


def test_other_refusals():
    with pytest.raises(TypeError, match="`widths` must be an integer of at least 1"):
        AngleProcess([10.5])
    with pytest.raises(
        ValueError, match="`widths` must be an integer of at least 1; got 0"
    ):
        AngleProcess([10, 0])
    with pytest.raises(ValueError, match="`a` must be an integer of at least 0; got -1"):
        J(-1, 0, 1.0)
    for theta in (-0.1, [1.0, 3.5], float("nan")):
        with pytest.raises(ValueError, match=r"`theta` must be angles in \[0, π\]"):
            J(1, 1, theta)
    with pytest.raises(ValueError, match=r"`theta0` must be an angle in \[0, π\]"):
        sample_relu_pairs(4.0, [10], key=KEY, num_networks=1)
