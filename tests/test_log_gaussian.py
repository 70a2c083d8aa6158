"""ReLU ResNets: the log-Gaussian law, hypoactivation, gradients, and their networks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from covsde.laws import (
    LogGaussianResNet,
    ReLUProduct,
    interlayer_bias,
    interlayer_covariance,
    kernel_limit_variance,
)
from covsde.oracles.relu_resnet import sample_relu_resnets

KEY = jax.random.key(60)
METHODS = ("gram", "weights")
# Of networks at two widths and one depth: a bias of O(1/n) is extrapolated away.
WIDTHS, DEPTH, SKIPPED = (64, 128), 24, 0.8


def mean_and_error(samples):
    samples = np.asarray(samples)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


def squares(samples):
    """Numbers whose mean is the variance."""
    samples = np.asarray(samples)
    return (samples - samples.mean()) ** 2 * len(samples) / (len(samples) - 1)


def assert_extrapolates(narrow, wide, narrow_law, wide_law):
    """`2 (wide − its law) − (narrow − its law)` is 0, to 4 s.e."""
    (m1, e1), (m2, e2) = mean_and_error(narrow), mean_and_error(wide)
    distance = 2 * (m2 - wide_law) - (m1 - narrow_law)
    assert np.all(np.abs(distance) < 4 * np.hypot(e1, 2 * e2))


# The law


def test_reference_values():
    """To the digits given, of width and depth 100 and α² = 0.9."""
    plain = LogGaussianResNet(100, 100, 0.9)
    assert abs(plain.mean + 0.432) < 5e-4
    assert abs(plain.variance - 1.217) < 5e-4
    assert abs(100 * jnp.mean(plain.active_share - 0.5) + 0.367) < 5e-4
    balanced = LogGaussianResNet(100, 100, 0.9, balanced=True)
    assert abs(balanced.variance - 0.410) < 5e-4
    assert balanced.mean == -balanced.variance / 2
    np.testing.assert_array_equal(balanced.active_share, np.full(101, 0.5))
    assert abs(kernel_limit_variance(1.0) - 6.457) < 5e-4


@pytest.mark.parametrize("r", [0.0, 0.3, 0.9, 1.0])
def test_interlayer_functions(r):
    """`G = E[x|x| y|y|]`, by an integral over the angle, and `F = r G'`."""
    angle = np.linspace(0, 2 * np.pi, 2_000_001)[:-1]
    x, y = np.cos(angle), np.cos(angle - np.arccos(r))
    moment = 8 * np.mean(x * np.abs(x) * y * np.abs(y))
    assert abs(interlayer_covariance(r) - moment) < 1e-10
    if r < 1:  # the derivative of arcsin is infinite at 1, and its factor 0
        slope = jax.grad(interlayer_covariance)(r)
        np.testing.assert_allclose(interlayer_bias(r), r * slope, rtol=1e-13)


def test_without_skip_connections_it_is_a_product_of_random_matrices():
    law = LogGaussianResNet(200, 50, 0.0)
    assert law.variance == 5 * 50 / 200
    assert law.mean == -law.variance / 2
    np.testing.assert_array_equal(law.active_share, np.full(51, 0.5))


def test_one_layer_has_no_interlayer_correlation():
    plain, balanced = (LogGaussianResNet(50, 1, 0.5, balanced=b) for b in (False, True))
    assert plain.mean == balanced.mean and plain.variance == balanced.variance


def test_gaussian_of_the_law():
    law = LogGaussianResNet(100, 100, 0.9)
    gaussian = stats.norm(law.mean, np.sqrt(law.variance))
    r, p = np.linspace(-3, 3, 7), np.array([0.05, 0.5, 0.95])
    np.testing.assert_allclose(law.cdf(r), gaussian.cdf(r), rtol=1e-12)
    np.testing.assert_allclose(law.quantile(p), gaussian.ppf(p), rtol=1e-12)


@pytest.mark.parametrize("t1", [1e-3, 1.0, 20.0, 200.0, 1e4])
def test_kernel_limit_is_its_integral(t1):
    def integrand(u):
        return (t1 - u) * interlayer_covariance(np.exp(-u / 2))

    # the integrand decays like e^{−u/2}
    pieces = [0.0, *(x for x in (0.1, 1.0, 10.0, 30.0) if x < t1), min(t1, 100.0)]
    integral = sum(quad(integrand, *ends)[0] for ends in itertools.pairwise(pieces))
    np.testing.assert_allclose(kernel_limit_variance(t1), 4 * t1 + 2 * integral, rtol=1e-8)


def test_kernel_limit_is_that_of_a_deep_resnet():
    """`λ²/α² = T/d`: the error halves with every doubling of the depth."""
    t1, limit = 1.0, kernel_limit_variance(1.0)
    depths = [500, 1000, 2000]
    errors = [LogGaussianResNet(1, d, 1 / (1 + t1 / d)).variance - limit for d in depths]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all(np.abs(ratios - 2) < 0.1) and abs(errors[-1]) < 0.01


def test_parameters_are_differentiable():
    def variance(alpha_squared):
        return LogGaussianResNet(100, 10, alpha_squared).variance

    h = 1e-6
    difference = (variance(0.5 + h) - variance(0.5 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(variance)(0.5), difference, rtol=1e-8)


# The networks


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "balanced"])
def networks(request):
    """Laws and networks of two widths."""
    balanced = request.param
    laws, samples = [], []
    for width in WIDTHS:
        laws.append(LogGaussianResNet(width, DEPTH, SKIPPED, balanced=balanced))
        sample = sample_relu_resnets(
            SKIPPED,
            width=width,
            depth=DEPTH,
            key=jax.random.fold_in(KEY, width),
            num_networks=6000,
            balanced=balanced,
        )
        samples.append(jax.tree.map(np.asarray, sample))
    return laws, samples


def assert_agree(networks, law_of, observable):
    """`n` times an observable of the networks has the mean that the law has."""
    laws, samples = networks
    assert_extrapolates(
        *(n * observable(sample) for n, sample in zip(WIDTHS, samples, strict=True)),
        *(n * np.asarray(law_of(law)) for n, law in zip(WIDTHS, laws, strict=True)),
    )


def test_norms(networks):
    assert_agree(networks, lambda law: law.mean, lambda s: s.log_growth[:, -1])
    assert_agree(networks, lambda law: law.variance, lambda s: squares(s.log_growth[:, -1]))


def test_gradients(networks):
    assert_agree(
        networks, lambda law: law.gradient.mean, lambda s: s.gradient_log_growth[:, 0]
    )
    assert_agree(
        networks,
        lambda law: law.gradient.variance,
        lambda s: squares(s.gradient_log_growth[:, 0]),
    )


def test_active_units(networks):
    """In every layer, and on average over the layers, where the noise is least."""
    assert_agree(
        networks, lambda law: law.active_share - 0.5, lambda s: s.active_share - 0.5
    )
    assert_agree(
        networks,
        lambda law: jnp.mean(law.active_share) - 0.5,
        lambda s: np.mean(s.active_share, axis=1) - 0.5,
    )


def test_plain_gradients_do_not_have_the_law_of_norms(networks):
    """They would be found out: the variances of a plain ResNet differ by ten s.e."""
    laws, samples = networks
    if laws[1].balanced:
        assert laws[1].gradient.variance == laws[1].variance
        return
    variance, error = mean_and_error(squares(samples[1].gradient_log_growth[:, 0]))
    assert laws[1].variance - variance > 10 * error


@pytest.mark.parametrize("balanced", [False, True])
def test_methods_agree_in_law(balanced):
    gram, weights = (
        sample_relu_resnets(
            0.7,
            width=12,
            depth=8,
            key=jax.random.fold_in(KEY, i),
            num_networks=4000,
            balanced=balanced,
            method=method,
        )
        for i, method in enumerate(METHODS)
    )
    for observable in (
        lambda s: s.log_growth[:, -1],
        lambda s: s.gradient_log_growth[:, 0],
        lambda s: s.log_growth[:, 4] + s.gradient_log_growth[:, 4],
    ):
        samples = [np.asarray(observable(s)) for s in (gram, weights)]
        assert stats.ks_2samp(*samples).pvalue > 1e-3
    (m1, e1), (m2, e2) = (mean_and_error(s.active_share) for s in (gram, weights))
    assert np.all(np.abs(m1 - m2) < 4 * np.hypot(e1, e2))


@pytest.mark.parametrize("method", METHODS)
def test_without_skip_connections_networks_are_exact(method):
    """Norms and gradients are products of `(2/n) χ²_{Bin(n, ½)}` at any width."""
    width, depth = 16, 6
    sample = sample_relu_resnets(
        0.0, width=width, depth=depth, key=KEY, num_networks=4000, method=method
    )
    law = ReLUProduct(width, depth)
    for growth in (sample.log_growth[:, -1], sample.gradient_log_growth[:, 0]):
        alive = np.isfinite(growth)
        mean, error = mean_and_error(growth[alive])
        assert abs(mean - law.mean) < 4 * error
    variance, error = mean_and_error(squares(sample.gradient_log_growth[:, 0][alive]))
    assert abs(variance - law.variance) < 4 * error


@pytest.mark.parametrize("method", METHODS)
def test_networks_depend_on_key_and_index_alone(method):
    def run(num_networks, key=KEY):
        return sample_relu_resnets(
            0.5, width=6, depth=3, key=key, num_networks=num_networks, method=method
        )

    whole, part, other = run(9), run(4), run(4, jax.random.key(61))
    for name in ("log_growth", "active_share", "gradient_log_growth"):
        all_nine, four = getattr(whole, name), getattr(part, name)
        assert all_nine.shape == (9, 4)
        np.testing.assert_allclose(all_nine[:4], four, rtol=1e-12, atol=1e-14)
    assert not np.any(np.isclose(part.log_growth[:, -1], other.log_growth[:, -1]))


# Refusals


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_skipped_share_is_refused(bad):
    with pytest.raises(ValueError, match=r"`alpha_squared` must be a number in \[0, 1\)"):
        LogGaussianResNet(10, 10, bad)
    with pytest.raises(ValueError, match=r"`alpha_squared` must be a number in \[0, 1\)"):
        sample_relu_resnets(bad, width=4, depth=2, key=KEY, num_networks=1)


def test_other_refusals():
    with pytest.raises(ValueError, match="`width` must be an integer of at least 1; got 0"):
        LogGaussianResNet(0, 10, 0.5)
    with pytest.raises(TypeError, match="`depth` must be an integer"):
        LogGaussianResNet(10, 2.5, 0.5)
    with pytest.raises(TypeError, match="`balanced` must be True or False"):
        LogGaussianResNet(10, 10, 0.5, balanced=1)
    with pytest.raises(ValueError, match="`t1` must be a positive finite number"):
        kernel_limit_variance(0.0)
    sample = dict(width=4, depth=2, key=KEY, num_networks=1)
    with pytest.raises(ValueError, match='`method` must be "gram" or "weights"'):
        sample_relu_resnets(0.5, **sample, method="fast")
    with pytest.raises(TypeError, match="`balanced` must be True or False"):
        sample_relu_resnets(0.5, **sample, balanced="yes")
    with pytest.raises(ValueError, match="`num_networks`"):
        sample_relu_resnets(0.5, **(sample | {"num_networks": 0}))
