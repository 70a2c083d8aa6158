"""Laws of the limits against one another, independent computations, and simulations."""

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.fokker_planck import pair_means
from scipy import stats
from scipy.integrate import quad, simpson

import covsde
from covsde import (
    Identity,
    ShapedAttention,
    ShapedFeedForward,
    ShapedMLP,
    ShapedReLU,
    ShapedResNet,
    ShapedSmooth,
    laws,
)
from covsde.convergence._coordinates import Angle, Norm, exact_mean
from covsde.laws import _diffusion
from covsde.laws.moments import _matchings, _spectrum
from covsde.observables import Correlation, Entry, LogDet, LogNorm

KEY = jax.random.key(110)
V0 = np.array([[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]])
T = 0.5
LINEAR = ShapedMLP(Identity())
RELU = ShapedResNet(ShapedReLU(0.5, -1.5), 0.7)
SMOOTH = ShapedFeedForward(ShapedSmooth(jnp.tanh, 0.8), 0.8)
CURVED = ShapedMLP(ShapedSmooth(jnp.tanh, 0.8, center=0.3))


def within_four_errors(samples, expected):
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(axis=0) - expected) < 4 * error)


def has_law(samples, law):
    """By Kolmogorov and Smirnov, at a level of 1e-3."""
    assert stats.kstest(np.asarray(samples), lambda x: np.asarray(law.cdf(x))).pvalue > 1e-3


# What every law is


EVERY = {
    "log-norm": laws.log_norm_law(1.5, T, 0.7),
    "log-normal": laws.LogNormal(laws.log_norm_law(1.5, T)),
    "log det": laws.log_det_law(V0, T, 0.7),
    "pivot": laws.log_pivot_law(V0, 2, T, 0.7),
    "pair": laws.PairLaw(0.3, T, 0.5, 0.7),
    "norm": laws.NormLaw(-2.0, 1.2, T),
    "log of norm": laws.NormLaw(-2.0, 1.2, T, logarithm=True),
    "stationary": laws.OneInput(-3.0).stationary,
    "spectrum": laws.FreeLogNormal(1.5),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_law_agrees_with_itself(name):
    """Quantiles invert the distribution, and have its mean and variance."""
    law = EVERY[name]
    p = np.array([0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999])
    x = np.asarray(law.quantile(p))
    assert x.shape == p.shape and np.all(np.diff(x) > 0)
    np.testing.assert_allclose(law.cdf(x), p, rtol=1e-9)
    samples = law.sample(KEY, 4000)
    assert samples.shape == (4000,)
    within_four_errors(samples, law.mean)
    within_four_errors((samples - law.mean) ** 2, law.variance)
    # integrated over p = Φ(z), whose ends hold a mass of 1e-9
    nodes = np.linspace(-6.0, 6.0, 241)
    x = np.asarray(law.quantile(stats.norm.cdf(nodes)))
    weights = stats.norm.pdf(nodes) * 0.05
    np.testing.assert_allclose(weights @ x, law.mean, rtol=1e-5, atol=1e-6)
    variance = weights @ (x - float(law.mean)) ** 2
    np.testing.assert_allclose(variance, law.variance, rtol=1e-3)


# Moments


def test_second_moments_in_closed_form():
    """`E V^{ab}V^{cd}`, with `α = (e^{2t}+2e^{−t})/3` and `β = (e^{2t}−e^{−t})/3`."""
    t = 0.7 * T
    alpha, beta = (np.exp(2 * t) + 2 * np.exp(-t)) / 3, (np.exp(2 * t) - np.exp(-t)) / 3
    for a, b, c, d in itertools.product(range(3), repeat=4):
        swapped = V0[a, c] * V0[b, d] + V0[a, d] * V0[b, c]
        expected = alpha * V0[a, b] * V0[c, d] + beta * swapped
        found = laws.zero_drift_moment(V0, T, [(a, b), (c, d)], 0.7)
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_traces():
    """`2p + q` grows by `e^{2t}` and `p − q` by `e^{−t}`, of `E tr V²` and `E (tr V)²`."""
    pairs = list(itertools.product(range(3), repeat=2))
    p = sum(laws.zero_drift_moment(V0, T, [(a, b), (a, b)]) for a, b in pairs)
    q = sum(laws.zero_drift_moment(V0, T, [(a, a), (b, b)]) for a, b in pairs)
    p0, q0 = np.sum(V0**2), np.trace(V0) ** 2
    np.testing.assert_allclose(2 * p + q, (2 * p0 + q0) * np.exp(2 * T), rtol=1e-13)
    np.testing.assert_allclose(p - q, (p0 - q0) * np.exp(-T), rtol=1e-13)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_moments_of_one_input_are_log_normal(degree):
    found = laws.zero_drift_moment(V0, T, [(1, 1)] * degree, 0.7)
    growth = np.exp(0.7 * T * degree * (degree - 1))
    np.testing.assert_allclose(found, 1.5**degree * growth, rtol=1e-13)


def test_determinant_from_moments():
    """`E det V` of three inputs, of degree 3, against the law of its logarithm."""
    signs = {(0, 1, 2): 1, (1, 2, 0): 1, (2, 0, 1): 1}
    signs |= {(1, 0, 2): -1, (0, 2, 1): -1, (2, 1, 0): -1}
    found = sum(
        sign * laws.zero_drift_moment(V0, T, list(enumerate(columns)))
        for columns, sign in signs.items()
    )
    expected = laws.LogNormal(laws.log_det_law(V0, T)).mean
    np.testing.assert_allclose(found, expected, rtol=1e-12)


PAIRS = [(0, 1), (1, 2), (0, 0), (0, 2)]


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_one_layer_is_a_wishart_matrix(degree):
    """The mean of `Π W^{ab}` sums `n^{loops − k}` over the ways to pair `2k` indices."""
    n = 7
    ends = np.ravel(PAIRS[:degree])
    expected = 0.0
    for matching in _matchings(degree):
        term = np.prod([V0[ends[i], ends[j]] for i, j in matching])
        expected += term * float(n) ** (_loops(matching, _matchings(degree)[0]) - degree)
    found = laws.linear_network_moment(V0, n, 1, PAIRS[:degree])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def _loops(one, other):
    """How many loops two pairings of the same points form."""
    next_of = [
        {i: j for pair in m.tolist() for i, j in (pair, pair[::-1])} for m in (one, other)
    ]
    left, count = set(next_of[0]), 0
    while left:
        point, count = left.pop(), count + 1
        left.add(point)
        while point in left:
            left -= {point, next_of[0][point]}
            point = next_of[1][next_of[0][point]]
    return count


def test_moments_of_finite_networks():
    """Against sampled networks, whose width is that of the formula."""
    networks = covsde.oracles.sample(
        LINEAR, jnp.asarray(V0), 0.5, width=12, key=KEY, num_networks=20_000
    )
    v = np.asarray(networks.vs[:, -1])
    for pairs in (PAIRS[:2], PAIRS[:3], [(0, 1)] * 2):
        product = np.prod([v[:, a, b] for a, b in pairs], axis=0)
        within_four_errors(product, laws.linear_network_moment(V0, 12, 6, pairs))


def test_finite_networks_tend_to_the_limit():
    """The rest halves as the width doubles."""
    limit = laws.zero_drift_moment(V0, T, PAIRS)
    rest = [laws.linear_network_moment(V0, n, n // 2, PAIRS) - limit for n in (400, 800)]
    assert abs(rest[0] / rest[1] - 2) < 0.05 and rest[0] != 0


def test_an_entry_has_moments_alone():
    law = laws.EntryMoments(V0, 0, 1, T)
    assert law.mean == 0.3
    square = laws.zero_drift_moment(V0, T, [(0, 1), (0, 1)])
    np.testing.assert_allclose(law.variance, square - 0.09, rtol=1e-13)
    for method in (law.cdf, law.quantile):
        with pytest.raises(NotImplementedError, match="Only the moments"):
            method(0.5)


# Pairs


@pytest.mark.parametrize(
    ("rho0", "t", "strength", "gain", "ends"),
    [
        (0.3, 1.0, 1 / (2 * np.pi), 1.0, (-4.0, 10.0)),
        (0.3, 1.0, 0.0, 1.0, (-10.0, 10.0)),
        (-0.8, 0.4, 0.7, 1.3, (-3.0, 8.0)),
        (0.95, 3.0, 0.05, 0.5, (-5.0, 13.0)),
    ],
)
def test_pairs_by_finite_volumes(rho0, t, strength, gain, ends):
    functions = (lambda r: r, np.square, lambda r: np.tanh(3 * r - 1))
    expected = pair_means(functions, rho0, t, strength, gain, ends=ends)
    law = laws.PairLaw(rho0, t, strength, gain)
    found = [law.expectation(f) for f in functions]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_values_of_pairs():
    """Those of another Fokker–Planck solve, in all the digits given."""
    relu, linear = (laws.PairLaw(0.3, 1.0, k) for k in (1 / (2 * np.pi), 0.0))
    assert abs(relu.expectation(np.square) - 0.4661791990) < 1e-9
    assert abs(relu.mean - 0.34155) < 5e-6
    assert abs(linear.expectation(np.square) - 0.49288) < 5e-6
    assert abs(linear.mean - 0.24071) < 5e-6
    quantiles = [-0.76021, -0.14200, 0.53683, 0.87326, 0.98284]
    found = relu.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(found, quantiles, rtol=0, atol=6e-6)


def test_distribution_of_pairs_has_their_means():
    """`E f(ρ) = f(1) − ∫ f' P(ρ ≤ x) dx`."""
    law = EVERY["pair"]
    integral = quad(lambda x: np.exp(x) * float(law.cdf(x)), -1, 1, epsabs=1e-9)[0]
    np.testing.assert_allclose(np.e - integral, law.expectation(np.exp), atol=1e-8)


@pytest.mark.parametrize("strength", [0.0, 0.16, 5.0])
@pytest.mark.parametrize("rho0", [-0.999, -0.5, 0.9, 0.9999])
@pytest.mark.parametrize("t", [1e-3, 0.1, 1.0])
def test_pairs_from_everywhere(rho0, t, strength):
    """By collocation in the angle, to 1e-9 and what that loses at another degree.

    The distribution function has the same means: `E f(ρ) = f(1) − ∫ f' P(ρ ≤ x) dx`.
    """
    limit = ShapedMLP(ShapedReLU(0.0, -np.sqrt(2 * np.pi * strength)))
    law = laws.PairLaw(rho0, t, limit.activation.strength)
    for of_angle in (np.cos, lambda theta: np.sin(3 * np.cos(theta))):
        fine, coarse = (
            exact_mean(Angle(), limit, of_angle, np.arccos(rho0), t, nodes)
            for nodes in (96, 64)
        )
        assert abs(fine - coarse) < 5e-8
        found = law.expectation(of_angle, of_angle=True)
        assert abs(found - fine) < 1e-9 + abs(fine - coarse)
    y = np.linspace(law._law.y[0], law._law.y[-1], 20_001)
    slope = 3 * np.cos(3 * np.tanh(y)) / np.cosh(y) ** 2
    integral = simpson(slope * np.asarray(law.cdf(np.tanh(y))), x=y)
    assert abs(np.sin(3 * np.tanh(y[-1])) - integral - found) < 1e-9


@pytest.mark.parametrize("limit", [LINEAR, RELU])
def test_every_correlation_is_answered(limit):
    """From a right angle to 2.6 degrees, and from a hundredth of the width to three."""
    for rho0 in (0.0, 0.3, 0.6, 0.9, 0.95, 0.99, 0.999):
        for t in (0.01, 0.05, 0.1, 0.3, 1.0, 3.0):
            v0 = np.array([[1.0, rho0], [rho0, 1.0]])
            law = laws.of(limit, Correlation(0, 1), v0, t)
            fine, coarse = (
                exact_mean(Angle(), limit, np.cos, np.arccos(rho0), t, nodes)
                for nodes in (96, 64)
            )
            assert abs(fine - coarse) < 1e-7
            assert abs(law.mean - fine) < 1e-9 + abs(fine - coarse)
            p = np.array([0.001, 0.5, 0.999])
            finer = laws.PairLaw(
                rho0, t, _strength(limit), limit.diffusion.strength, nodes=20_000
            )
            np.testing.assert_allclose(finer.cdf(law.quantile(p)), p, rtol=0, atol=1e-9)


def _strength(limit):
    return getattr(limit.drift.activation, "strength", 0.0) * limit.drift.gain


@pytest.mark.parametrize("rho0", [-0.999, 0.3, 0.9999])
@pytest.mark.parametrize("t", [1e-4, 1e-2, 1.0, 10.0])
def test_linear_pairs_in_closed_form(rho0, t):
    """`E log(1−ρ²) = log(1−ρ₀²) − Γ T`, of norms and determinant."""
    law = laws.PairLaw(rho0, t, 0.0, 0.7)
    found = law.expectation(lambda theta: 2 * np.log(np.sin(theta)), of_angle=True)
    np.testing.assert_allclose(
        found, np.log(1 - rho0**2) - 0.7 * t, rtol=0, atol=1e-9 * (1 + t)
    )


def test_cells_of_ones_own():
    by_itself, law = EVERY["pair"], laws.PairLaw(0.3, T, 0.5, 0.7, nodes=3000)
    assert abs(len(law._law.y) / 3000 - 1) < 0.05
    np.testing.assert_allclose(law.mean, by_itself.mean, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="`nodes` must be an integer of at least 100"):
        laws.PairLaw(0.3, T, 0.5, nodes=16)


# One input


def test_norms_become_stationary():
    law, stationary = laws.NormLaw(-3.0, 2.0, 16.0), laws.OneInput(-3.0).stationary
    x = stationary.quantile(np.array([0.01, 0.2, 0.5, 0.8, 0.99]))
    np.testing.assert_allclose(law.cdf(x), stationary.cdf(x), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("kappa", "t"), [(-2.0, 0.7), (-0.5, 2.0), (-2.0, 2.0), (-12.5, 2.0)]
)
def test_norms_move_by_their_drift(kappa, t):
    """`d E V = κ E (V² − V)`, `d E log V = κ E (V − 1) − 1`, by a central difference."""
    h, now = 0.01, laws.NormLaw(kappa, 1.3, t)
    for logarithm, drift in (
        (False, lambda v: kappa * v * (v - 1)),
        (True, lambda v: kappa * (v - 1) - 1),
    ):
        # of fourth order
        weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
        means = {
            i: laws.NormLaw(kappa, 1.3, t + i * h, logarithm=logarithm).mean
            for i in weights
        }
        slope = sum(w * means[i] for i, w in weights.items()) / h
        np.testing.assert_allclose(slope, now.expectation(drift), rtol=0, atol=1e-7)


@pytest.mark.parametrize("a", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("v0", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("t", [1e-3, 0.1])
def test_norms_from_everywhere(v0, t, a):
    """By collocation in `V/(1+V)`, to 1e-9 and what that loses at another degree."""
    limit = ShapedMLP(ShapedSmooth(jnp.tanh, a))
    law = laws.NormLaw(limit.activation.stability_index, v0, t)
    fine, coarse = (
        exact_mean(Norm(), limit, lambda s: np.sin(3 * s), v0 / (1 + v0), t, nodes)
        for nodes in (96, 64)
    )
    found = law.expectation(lambda v: np.sin(3 * v / (1 + v)))
    assert abs(fine - coarse) < 1e-12
    assert abs(found - fine) < 1e-9 + abs(fine - coarse)
    logarithm = laws.NormLaw(-2 / a**2, v0, t, logarithm=True)
    np.testing.assert_allclose(logarithm.cdf(np.log(1.1)), law.cdf(1.1), rtol=1e-12)


@pytest.mark.parametrize("kappa", [-4.0, -0.7])
def test_norms_by_their_formula(kappa):
    paths = laws.OneInput(kappa).sample(1.2, 0.8, key=KEY, num_paths=20_000)
    assert np.all(np.isinf(paths.exploded_at))
    has_law(paths.v, laws.NormLaw(kappa, 1.2, 0.8))


def test_linear_norms_by_their_formula():
    paths = laws.OneInput(0.0).sample(1.2, 0.8, key=KEY, num_paths=4000, steps=2)
    has_law(paths.v, laws.LogNormal(laws.log_norm_law(1.2, 0.8)))


def test_explosion():
    one = laws.OneInput(3.0)
    paths = one.sample(1.0, 6.0, key=KEY, num_paths=20_000)
    exploded = np.isfinite(paths.exploded_at)
    within_four_errors(exploded, one.explosion_probability(1.0))
    assert np.all(np.isinf(np.asarray(paths.v)[exploded]))
    assert np.all(np.asarray(paths.exploded_at)[exploded] > 0)
    # they come from where they stop, and die out otherwise
    ratio = one.explosion_probability(1.0) / one.explosion_probability(4.0)
    np.testing.assert_allclose(one.hitting_probability(1.0, 4.0), ratio, rtol=1e-14)
    assert laws.OneInput(-1.0).explosion_probability(1.0) == 0
    np.testing.assert_allclose(one.hitting_probability(1.0, 4.0), 0.354, atol=5e-4)


def below_one(v):
    return 1 / (1 + v)


@pytest.mark.parametrize("kappa", [1.0, 3.0])
def test_means_up_to_explosion(kappa):
    """By the formula in B; in the end paths have died out or exploded."""
    one = laws.OneInput(kappa)
    paths = one.sample(1.2, 0.8, key=KEY, num_paths=40_000)
    values = np.where(np.isinf(paths.v), 0.0, below_one(np.asarray(paths.v)))
    mean = one.surviving(below_one, 1.2, 0.8)
    within_four_errors(values, mean)
    last = one.surviving(below_one, 1.2, 20.0)
    np.testing.assert_allclose(last, 1 - one.explosion_probability(1.2), atol=1e-6)


def test_means_of_tokens_without_softmax():
    """Nearly log-normal, for Γ = 1: by quadrature."""
    log_v = laws.log_norm_law(1.2, 0.8)
    z, weights = np.polynomial.hermite_e.hermegauss(100)
    v = np.exp(log_v.mean + np.sqrt(log_v.variance) * z)
    expected = weights @ below_one(v) / weights.sum()
    tokens = laws.TwoTokens(ShapedAttention(1.0, 1e5))
    found = tokens.surviving(below_one, 1.2, 0.8)
    np.testing.assert_allclose(found, expected, rtol=2e-8)


def test_explosion_times_do_not_depend_on_the_steps():
    """Their law from 32 and 128 steps a unit of time, of independent paths.

    From 8 steps a unit it is off by about .03 in the distribution function.
    """
    one = laws.OneInput(3.0)
    coarse, fine = (
        one.sample(2.0, 2.0, key=jax.random.fold_in(KEY, n), num_paths=40_000, steps=n)
        for n in (64, 256)
    )
    assert stats.ks_2samp(coarse.exploded_at, fine.exploded_at).pvalue > 1e-3


# Two tokens


@pytest.mark.parametrize(("tau0", "reference"), [(0.1, 0.722), (0.5, 0.257), (1.0, 0.134)])
def test_explosion_of_tokens(tau0, reference):
    tokens = laws.TwoTokens(ShapedAttention(0.5, tau0))
    exact = tokens.explosion_probability(1.6)
    assert abs(exact - reference) < 6e-4
    np.testing.assert_allclose(tokens.hitting_probability(1.6, 1e12), exact, rtol=1e-10)


def bessel(tokens, d0, t1, steps, num_paths):
    """`d_T` by a drift-implicit scheme for r, `√θ d sinh(√(2Γ) r) = 1`, a Bessel process
    where d is large; only for `α < ½`, where it does not reach 0."""
    alpha, theta, rate = float(tokens.alpha), float(tokens.theta), np.sqrt(2 * tokens.gain)

    def drift(r):
        d = 1 / (np.sqrt(theta) * np.sinh(rate * r))
        root = np.sqrt(1 + theta * d**2)
        b_over_noise = rate * alpha * theta * d**2 / root
        return rate * (root + theta * d**2 / root) / 2 - b_over_noise

    rng, h = np.random.default_rng(0), t1 / steps
    r = np.full(num_paths, np.arcsinh(1 / (np.sqrt(theta) * d0)) / rate)
    pole = 1e-6 * drift(1e-6)
    for _ in range(steps):
        a = r + np.sqrt(h) * rng.standard_normal(num_paths) + (drift(r) - pole / r) * h
        r = (a + np.sqrt(a**2 + 4 * pole * h)) / 2
    return 1 / (np.sqrt(theta) * np.sinh(rate * r))


def test_means_of_tokens(monkeypatch):
    tokens = laws.TwoTokens(ShapedAttention(1.0, 1.0))
    mean = tokens.surviving(below_one, 1.4, 0.5)
    within_four_errors(below_one(bessel(tokens, 1.4, 0.5, 400, 100_000)), mean)
    with monkeypatch.context() as patch:
        patch.setattr(_diffusion, "_CELLS", 2 * _diffusion._CELLS)
        finer = tokens.surviving(below_one, 1.4, 0.5)
    np.testing.assert_allclose(mean, finer, rtol=2e-8)
    # in the end tokens have become one, or have exploded
    tokens = laws.TwoTokens(ShapedAttention(0.5, 0.5))
    last = tokens.surviving(below_one, 1.6, 150.0)
    np.testing.assert_allclose(last, 1 - tokens.explosion_probability(1.6), atol=1e-6)


# Levels and explosions by a time


def share_reaching(drift, noise, x0, top, t, *, steps=200, num_paths=100_000):
    """Of each path of `dx = drift dt + noise dB`, the probability that it reaches `top`.

    Heun's method, between whose points the path is a Brownian bridge.
    """
    rng, h = np.random.default_rng(0), t / steps
    x, below = np.full(num_paths, x0), np.ones(num_paths)
    for _ in range(steps):
        slope = drift(x)
        moved = x + noise * np.sqrt(h) * rng.standard_normal(num_paths)
        new = moved + (slope + drift(moved + slope * h)) / 2 * h
        gaps = np.maximum(top - x, 0.0) * np.maximum(top - new, 0.0)
        below *= -np.expm1(-2 * gaps / (noise**2 * h))
        x = np.minimum(new, top)
    return 1 - below


@pytest.mark.parametrize("level", [1.5, 4.0, 40.0])
def test_levels_of_a_linear_network_are_reached_by_reflection(level):
    """`log V` is a Brownian motion with a drift."""
    b, s = np.log(level), np.sqrt(2 * T)
    expected = stats.norm.cdf(-(b + T) / s) + stats.norm.cdf(-(b - T) / s) / level
    found = laws.OneInput(0.0).reached_probability(1.0, level, T)
    np.testing.assert_allclose(found, expected, atol=3e-8)


@pytest.mark.parametrize(
    ("kappa", "v0", "level", "t"), [(3.0, 1.0, 4.0, 0.3), (-2.0, 0.7, 2.0, 1.0)]
)
def test_levels_of_one_input_are_reached(kappa, v0, level, t):
    def drift(y):
        return kappa * (np.exp(y) - 1) - 1

    shares = share_reaching(drift, np.sqrt(2.0), np.log(v0), np.log(level), t)
    within_four_errors(shares, laws.OneInput(kappa).reached_probability(v0, level, t))


def test_levels_of_tokens_are_reached():
    tokens = laws.TwoTokens(ShapedAttention(0.5, 0.5))
    alpha, theta, rate = float(tokens.alpha), float(tokens.theta), np.sqrt(2 * tokens.gain)

    def place(d):  # where the noise is 1
        return -np.arcsinh(1 / (np.sqrt(theta) * d)) / rate

    def drift(x):
        d = 1 / (np.sqrt(theta) * np.sinh(-rate * x))
        root = np.sqrt(1 + theta * d**2)
        from_noise = rate * (root + theta * d**2 / root) / 2
        return rate * alpha * theta * d**2 / root - from_noise

    shares = share_reaching(drift, 1.0, place(2.0), place(10.0), 1.0)
    within_four_errors(shares, tokens.reached_probability(2.0, 10.0, 1.0))


def test_levels_are_reached_in_the_end_by_the_scale_function():
    one, tokens = laws.OneInput(3.0), laws.TwoTokens(ShapedAttention(0.5, 0.5))
    for law, start, level, t in ((one, 1.0, 4.0, 20.0), (tokens, 2.0, 10.0, 150.0)):
        reached = law.reached_probability(start, level, t)
        expected = law.hitting_probability(start, level)
        np.testing.assert_allclose(reached, expected, atol=1e-7)
        survives = law.survival_probability(start, 2 * t)
        expected = 1 - law.explosion_probability(start)
        np.testing.assert_allclose(survives, expected, atol=1e-7)


def test_survival_is_never_to_reach_a_high_level():
    """From the level K it takes a time of order `1/κK` to explode, or `1/K²` for tokens."""
    one, tokens = laws.OneInput(2.0), laws.TwoTokens(ShapedAttention(0.5, 0.5))
    rest = [
        one.reached_probability(1.2, K, T) - 1 + one.survival_probability(1.2, T)
        for K in (50.0, 100.0)
    ]
    assert 0 < rest[1] < 0.01
    np.testing.assert_allclose(rest[0] / rest[1], 2.0, rtol=0.05)
    reached = tokens.reached_probability(2.0, 1e6, 1.0)
    np.testing.assert_allclose(
        1 - reached, tokens.survival_probability(2.0, 1.0), atol=1e-6
    )


def test_explosions_by_a_time():
    one = laws.OneInput(3.0)
    paths = one.sample(1.0, 0.3, key=KEY, num_paths=40_000, steps=64)
    alive = np.isinf(paths.exploded_at)
    within_four_errors(alive, one.survival_probability(1.0, 0.3))
    assert laws.OneInput(-1.0).survival_probability(1.0, T) == 1
    tokens = laws.TwoTokens(ShapedAttention(0.5, 0.5))
    assert abs(1 - tokens.survival_probability(2.0, 1.0) - 0.0856) < 2 * 0.0020
    never = laws.TwoTokens(ShapedAttention(1.0, 0.5)).survival_probability(2.0, 0.5)
    np.testing.assert_allclose(never, 1.0, atol=1e-8)


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("gamma", [0.5, 0.5**0.5, 0.9])
def test_scale_function_of_tokens(gamma, heads):
    """By quadrature over the distance, and annihilated by the generator."""
    tau0, limit = 0.4, ShapedAttention(gamma, 0.4, heads)
    tokens, gain = laws.TwoTokens(limit), gamma**2 * (2 - gamma**2)
    alpha, theta = heads / (4 * gamma**2), gamma**4 / (8 * heads * tau0**2 * gain)

    def scale(d):
        return quad(lambda x: (1 + theta * x**2) ** -alpha, 0, d, epsrel=1e-12)[0]

    found = tokens.hitting_probability(np.array([0.5, 1.6]), 5.0)
    np.testing.assert_allclose(
        found, [scale(d) / scale(5.0) for d in (0.5, 1.6)], rtol=1e-10
    )
    assert (tokens.explosion_probability(1.6) > 1e-12) == (gamma**2 < heads / 2 - 1e-9)

    d, slope = 1.6, (1 + theta * 1.6**2) ** -alpha
    bend = -2 * alpha * theta * d / (1 + theta * d**2) * slope
    # drift and noise of d, by Itô from those of V
    v = jnp.array([[0.9, 0.1], [0.1, 0.9]])
    one = jnp.array([1.0, -1.0])
    drift = one @ limit.drift(0.0, v, None) @ one
    sigma = limit.diffusion.covariance(v)
    variance = jnp.einsum("a,b,abcd,c,d->", one, one, sigma, one, one)
    np.testing.assert_allclose(drift * slope + variance / 2 * bend, 0.0, atol=1e-14)


# The spectrum


@pytest.mark.parametrize("tau", [0.01, 1.0, 6.0])
def test_density_of_the_spectrum(tau):
    """Its moments, by a rule that is exact for the square roots at its edges."""
    law = laws.FreeLogNormal(tau)
    low, high = law.edges
    angle = (np.arange(400) + 0.5) * np.pi / 400
    x = low * (high / low) ** ((1 - np.cos(angle)) / 2)
    weights = np.asarray(law.density(x)) * x * np.sin(angle)
    weights *= np.log(high / low) / 2 * np.pi / 400
    for k, moment in enumerate([1.0, 1.0, 1 + tau, 1 + 3 * tau + 1.5 * tau**2]):
        np.testing.assert_allclose(weights @ x**k, moment, rtol=1e-10)
    for k in range(1, 9):
        np.testing.assert_allclose(weights @ x**k, law.moment(k), rtol=1e-10)
    # of its half up to the middle, by Gauss and Legendre's rule in the same angle
    nodes, weights = np.polynomial.legendre.leggauss(100)
    angle = (nodes + 1) * np.pi / 4
    x = low * (high / low) ** ((1 - np.cos(angle)) / 2)
    slope = x * np.sin(angle) * np.log(high / low) / 2
    mass = weights * np.pi / 4 @ (np.asarray(law.density(x)) * slope)
    np.testing.assert_allclose(law.cdf(np.sqrt(low * high)), mass, rtol=0, atol=1e-8)


def test_high_moments_of_the_spectrum():
    """Their powers and factorials overflow, and they do not: by fractions."""
    k = 150
    terms = (Fraction(math.comb(k, j + 1) * k**j, math.factorial(j) * k) for j in range(k))
    assert laws.FreeLogNormal(1.0).moment(k) == pytest.approx(float(sum(terms)), rel=1e-13)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_moments_of_the_spectrum_are_the_limit_of_many_inputs(degree):
    """`E tr V^k/m` from `V_0 = I` is a sum over pairings; its rest halves as m doubles."""
    tau = 1.3
    points = np.roll(np.arange(2 * degree), -1).reshape(-1, 2)  # (12)(34)…(0 −1)
    loops = np.array([_loops(one, points) for one in _matchings(degree)])
    contents, vectors = _spectrum(degree)
    rest = []
    for m in (400, 800):
        growth = np.exp(tau / m * contents.sum(axis=1))
        moment = (growth * vectors[0]) @ vectors.T @ float(m) ** (loops - 1)
        rest.append(moment - laws.FreeLogNormal(tau).moment(degree))
    # what extrapolation leaves is less by another factor of order 1/m
    assert abs(2 * rest[1] - rest[0]) < 4 / 400 * abs(rest[0])


def test_spectrum_of_sixty_four_inputs():
    """A bias of O(1/m), and eigenvalues so rigid that they hardly fluctuate."""
    m, tau = 64, 1.0
    paths = covsde.solve(LINEAR, jnp.eye(m), tau / m, key=KEY, num_paths=8, dt0=tau / m / 8)
    eigenvalues = np.linalg.eigvalsh(np.asarray(paths.vs[:, -1]))
    law = laws.FreeLogNormal(tau)
    distance = stats.kstest(eigenvalues.ravel(), lambda x: np.asarray(law.cdf(x))).statistic
    assert distance < 2 / m
    # the test can fail: another τ is told apart
    other = laws.FreeLogNormal(0.8 * tau)
    away = stats.kstest(eigenvalues.ravel(), lambda x: np.asarray(other.cdf(x))).statistic
    assert away > 2 / m


# The law of an observable


@pytest.mark.parametrize(
    ("limit", "observables"),
    [
        (LINEAR, [LogNorm(1), LogDet(), Correlation(0, 2), Entry(0, 1), Entry(1, 1)]),
        (RELU, [LogNorm(1), Correlation(0, 2), Entry(1, 1)]),
        (SMOOTH, [LogNorm(1), Entry(1, 1), Correlation(0, 2)]),
        (CURVED, [LogNorm(1), Entry(1, 1)]),
    ],
    ids=["linear", "relu", "odd", "curved"],
)
def test_observables_have_the_laws_that_are_known(limit, observables):
    paths = covsde.solve(limit, jnp.asarray(V0), T, key=KEY, num_paths=10_000, dt0=1 / 32)
    for observable in observables:
        samples, law = observable(paths.vs[:, -1]), laws.of(limit, observable, V0, T)
        within_four_errors(samples, law.mean)
        if not isinstance(law, laws.EntryMoments):
            has_law(samples, law)


def test_without_noise_everything_is_constant():
    limit = covsde.KernelODE(covsde.BranchCovariance(jnp.tanh))
    v = limit.integrate(V0, T)[0]
    for observable in (LogNorm(1), LogDet(), lambda v: v[:, 0, 1] ** 2):
        law = laws.of(limit, observable, V0, T)
        assert law.mean == observable(v[None])[0] and law.variance == 0
        at = law.mean + jnp.array([-1e-9, 0.0, 1e-9])
        np.testing.assert_array_equal(law.cdf(at), [0, 1, 1])
        np.testing.assert_array_equal(law.sample(KEY, 3), [law.mean] * 3)


def test_a_limit_of_ones_own_may_have_no_noise():
    class Mine(covsde.AbstractLimit):
        drift: covsde.AbstractDrift
        diffusion: covsde.AbstractDiffusion

    drift = covsde.ActivationDrift(ShapedReLU(0.0, -1.0))
    mine = Mine(drift, covsde.CongruenceDiffusion(0.0))
    for observable in (Correlation(0, 1), LogDet()):
        one, other = (
            laws.of(x, observable, V0, T) for x in (mine, covsde.KernelODE(drift))
        )
        assert one.variance == 0 and one.mean == other.mean


def test_inputs_on_one_line_stay_there():
    """All but opposite ones under a ReLU, which parts them at once."""
    same, opposite = (np.array([[1.0, 2 * s], [2 * s, 4.0]]) for s in (1, -1))
    for limit in (LINEAR, RELU, SMOOTH):
        law = laws.of(limit, Correlation(0, 1), same, T)
        assert law.mean == 1 and law.variance == 0
    for limit in (LINEAR, SMOOTH):
        assert laws.of(limit, Correlation(0, 1), opposite, T).mean == -1
    with pytest.raises(LookupError, match="inputs are opposite"):
        laws.of(RELU, Correlation(0, 1), opposite, T)
    with pytest.raises(ValueError, match="`t1` must be a positive finite time"):
        laws.of(LINEAR, Correlation(0, 1), same, -1.0)


def test_kernels_that_explode_have_no_law():
    limit = covsde.KernelODE(covsde.ActivationDrift(ShapedSmooth(jax.nn.silu, 1.0)))
    with pytest.raises(LookupError, match=r"`t1` = 8\.0"):
        laws.of(limit, LogNorm(0), np.array([[1.5]]), 8.0)


def test_laws_that_are_not_resolved_are_refused():
    with pytest.raises(ValueError, match="`nodes` must be more"):
        laws.PairLaw(0.3, T, 0.5, nodes=100)
    strongly = ShapedMLP(ShapedReLU(0.0, -35.0))
    with pytest.raises(LookupError, match="Pass more, or simulate"):
        laws.of(strongly, Correlation(0, 1), np.array([[1, -0.999], [-0.999, 1]]), 1e-8)
    with pytest.raises(LookupError, match="`t1` must be a time"):
        laws.NormLaw(-200.0, 1.0, 50.0)


def test_a_limit_registers_what_is_known_of_it():
    class Mine(ShapedMLP):
        pass

    known = laws.LogNormal(laws.log_norm_law(2.0, T))

    def trace(v):
        return jnp.trace(v, axis1=-2, axis2=-1)

    @laws.of.register(Mine)
    def _(limit, observable, v0, t1):
        assert isinstance(limit, Mine) and v0.shape == (3, 3) and t1 == T
        return known if observable is trace else None

    mine = Mine(Identity())
    assert laws.of(mine, trace, V0, T) is known
    # what is known of all limits is still known of this one
    assert laws.of(mine, LogDet(), V0, T).mean == laws.of(LINEAR, LogDet(), V0, T).mean
    with pytest.raises(LookupError, match=r"No law of trace is known under ShapedMLP"):
        laws.of(LINEAR, trace, V0, T)


def test_more_of_the_shaping_is_linear():
    limit = ShapedMLP(ShapedReLU(0.0, -1.0, p=0.8))
    for observable in (LogDet(), Correlation(0, 1), Entry(0, 1)):
        one, other = (laws.of(x, observable, V0, T) for x in (limit, LINEAR))
        assert type(one) is type(other) and one.variance == other.variance


@pytest.mark.parametrize(
    ("limit", "observable", "message"),
    [
        (RELU, LogDet(), r"LogDet\(\).*ShapedResNet.*Correlation\(a, b\) are known"),
        (CURVED, Correlation(0, 1), r"LogNorm\(a\) and Entry\(a, a\) are known"),
        (ShapedMLP(ShapedSmooth(jax.nn.silu, 1.0)), LogNorm(0), "nor that of any other"),
        (ShapedAttention(0.5, 1.0), LogNorm(0), "nor that of any other"),
    ],
)
def test_laws_that_are_not_known(limit, observable, message):
    with pytest.raises(LookupError, match=message):
        laws.of(limit, observable, V0, T)


def test_refusals():
    with pytest.raises(TypeError, match="`limit` must be a limit"):
        laws.of("mlp", LogNorm(0), V0, T)
    with pytest.raises(TypeError, match="`observable` must be LogNorm"):
        laws.of(LINEAR, "log V", V0, T)
    with pytest.raises(IndexError, match="at least 4 inputs"):
        laws.of(LINEAR, LogNorm(3), V0, T)
    with pytest.raises(ValueError, match="`v0` must be one covariance"):
        laws.of(LINEAR, LogNorm(0), np.stack([V0, V0]), T)
    for vector in (lambda v: v[:, 1], lambda v: v):
        with pytest.raises(ValueError, match="`observable` must give one number"):
            laws.of(LINEAR, vector, V0, T)
    with pytest.raises(ValueError, match="`b` must differ from `a`"):
        Correlation(1, 1)
    with pytest.raises(ValueError, match="`a` must be an integer of at least 0; got -1"):
        LogNorm(-1)
    with pytest.raises(ValueError, match="`t1` must be a positive finite time"):
        laws.log_norm_law(1.0, -1.0)
    with pytest.raises(ValueError, match="`pairs` must be 1 to 4"):
        laws.zero_drift_moment(V0, T, [(0, 1)] * 5)
    with pytest.raises(ValueError, match="`pairs` must be of inputs from 0 to 2"):
        laws.zero_drift_moment(V0, T, [(0, 3)])
    with pytest.raises(ValueError, match="`pairs` must be a list of pairs"):
        laws.zero_drift_moment(V0, T, [0, 1])
    with pytest.raises(ValueError, match=r"`rho0` must be a number in \(-1, 1\)"):
        laws.PairLaw(1.0, T, 0.5)
    with pytest.raises(ValueError, match="`kappa` must be a negative number"):
        laws.NormLaw(0.5, 1.0, T)
    with pytest.raises(ValueError, match="`kappa` must be less than -1"):
        _ = laws.OneInput(-0.5).stationary
    with pytest.raises(TypeError, match="`limit` must be a limit of attention"):
        laws.TwoTokens(LINEAR)
    with pytest.raises(ValueError, match="`kappa`"):
        laws.OneInput(-1.0).surviving(below_one, 1.0, 1.0)
    with pytest.raises(ValueError, match="`d0`"):
        laws.TwoTokens(ShapedAttention(0.5, 1.0)).surviving(below_one, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"`tau` must be a number in \[1e-20, 500\]"):
        laws.FreeLogNormal(0.0)
    with pytest.raises(ValueError, match="`index` must be less than m = 3"):
        laws.log_pivot_law(V0, 3, T)
    with pytest.raises(TypeError, match="known outside of `jit`"):
        jax.jit(lambda t: laws.PairLaw(0.3, t, 0.5).mean)(1.0)


def test_norms_and_moments_are_differentiable():
    """In the time, against their equations."""
    slope = jax.grad(lambda t: laws.log_det_law(V0, t).mean)(T)
    np.testing.assert_allclose(slope, -6.0, rtol=1e-14)
    slope = jax.grad(lambda t: laws.zero_drift_moment(V0, t, [(0, 1), (0, 1)]))(T)
    both = [(0, 0), (1, 1)], [(0, 1), (0, 1)]
    expected = sum(laws.zero_drift_moment(V0, T, pairs) for pairs in both)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("gamma", "tau0", "d0", "t"), [(0.3, 0.1, 1.0, 0.5), (0.5, 0.5, 2.0, 1.0)]
)
def test_tokens_far_out_explode_at_once(gamma, tau0, d0, t):
    """From d = 1000 an explosion takes `8τ₀²/γ²d²`, which is next to no time."""
    tokens = laws.TwoTokens(ShapedAttention(gamma, tau0))
    exploded = 1 - float(tokens.survival_probability(d0, t))
    assert exploded == pytest.approx(
        float(tokens.reached_probability(d0, 1e3, t)), rel=1e-2
    )
