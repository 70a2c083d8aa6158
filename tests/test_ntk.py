"""The neural tangent kernel: second moments, its mean given V, and its networks.

More of both is asserted where it is explained, in `docs/theory/ntk.md`.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

import covsde
from covsde import Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.laws import OnDiagonalNTK, conditional_ntk
from covsde.laws.ntk import _Layer
from covsde.oracles._batches import map_networks
from covsde.oracles.ntk import sample_ntks

KEY = jax.random.key(90)
ONE = jnp.eye(1)
V0 = jnp.array([[1.0, 0.2], [0.2, 1.0]])
LINEAR, RELU = ShapedMLP(Identity()), ShapedMLP(ShapedReLU(0.75, -0.75))
TANH = ShapedMLP(ShapedSmooth(jnp.tanh, 1.0))
CENTRED = ShapedMLP(ShapedSmooth(jnp.tanh, 1.0, center=0.5))


def unshaped(width):
    """The limit whose finite network of this width applies an ordinary ReLU."""
    return ShapedMLP(ShapedReLU(0.0, -np.sqrt(width)))


def mean_and_error(samples):
    samples = np.asarray(samples)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


def assert_mean(samples, expected):
    """The mean over the first axis, to four standard errors."""
    mean, error = mean_and_error(samples)
    assert np.all(np.abs(mean - expected) < 4 * error), (mean, expected, error)


# One input: moments


def test_second_moment_by_hand():
    """Width 1: `V_l H_l` is a product of χ²₁ (linear), and the sums are finite.

    `W_0, …, W_d` and `w` are `d + 2` numbers, and `V_l H_l` has the squares of all but
    `W_l`: the fourth moment 3 of each that two terms share.
    """
    for d in (1, 2, 5):
        expected = d * 3.0 ** (d + 1) + d * (d - 1) * 3.0**d
        linear = OnDiagonalNTK(1, d, slopes=(1.0, 1.0))
        np.testing.assert_allclose(linear.second_moment, expected, rtol=1e-13)
        # ReLU of width 1: every factor is 2 χ²₁ with probability ½
        relu = OnDiagonalNTK(1, d).second_moment
        shared = sum(
            6.0 ** (d + 1 - abs(k - l)) * (2.0 * 6.0 ** (abs(k - l) - 1) if k != l else 1.0)
            for k, l in itertools.product(range(d), repeat=2)
        )
        np.testing.assert_allclose(relu, shared, rtol=1e-13)


def test_moments_are_those_of_networks():
    """Of a leaky ReLU; the page on the kernel has linear and ReLU networks."""
    limit = ShapedMLP(ShapedReLU(0.5, -2.0))
    networks = sample_ntks(limit, ONE, width=8, depth=3, key=KEY, num_networks=100_000)
    theta = np.asarray(networks.theta[:, 0, 0])
    law = OnDiagonalNTK(8, 3, limit.activation.slopes(8))
    assert_mean(theta, law.mean)
    assert_mean(theta**2, law.second_moment)


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, 1.0), (1.0, -0.3)])
def test_second_moment_tends_to_its_limit(slopes):
    """The rest halves as the width doubles, at depth/width = 0.7."""
    widths = (200, 400, 800)
    laws = [OnDiagonalNTK(n, 7 * n // 10, slopes) for n in widths]
    rest = [law.second_moment / law.mean**2 - law.limit for law in laws]
    assert np.all(np.abs(np.divide(rest[:-1], rest[1:]) - 2) < 0.05)


@pytest.mark.parametrize("t1", [1e-3, 0.2, 1.0, 3.0])
def test_limits_of_relu_and_of_linear_networks(t1):
    """As they are printed for each, from 1 without depth."""
    relu, linear = (OnDiagonalNTK(1000, int(1000 * t1), s) for s in ((1, 0), (1, 1)))
    rest = (t1 / 3 - (1 - np.exp(-6 * t1)) / 18) * 2 / (3 * t1**2)
    # which cancels like ε/T²
    error = 1e-15 / t1**2
    assert abs(relu.limit / np.exp(5 * t1) - 1 / 3 - rest) < error
    rest = (2 * t1 / 3 - 2 * (1 - np.exp(-3 * t1)) / 9) * 2 / (3 * t1**2)
    assert abs(linear.limit / np.exp(2 * t1) - 1 / 3 - rest) < error


def test_quantiles_are_those_of_independent_activity():
    """Beyond moments, for the tails are heavy: `Θ` of a ReLU network has the law of `Θ` of
    a product of matrices whose units are active at random, which the moments build on.
    """
    width, depth, total = 6, 4, 20_000
    networks = sample_ntks(
        unshaped(width), ONE, width=width, depth=depth, key=KEY, num_networks=total
    )
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(total, depth + 1, width, width)) * np.sqrt(2 / width)
    active = rng.integers(0, 2, size=(total, depth + 1, width))
    forward = [active[:, 0] * rng.normal(size=(total, width)) * np.sqrt(2 / width)]
    backward = [active[:, depth] * rng.normal(size=(total, width)) * np.sqrt(2 / width)]
    for l in range(1, depth):
        ahead = np.einsum("pij,pj->pi", weights[:, l], forward[-1])
        forward.append(active[:, l] * ahead)
        back = np.einsum("pij,pi->pj", weights[:, depth + 1 - l], backward[-1])
        backward.append(active[:, depth - l] * back)
    squares = [[np.sum(x**2, axis=1) for x in side] for side in (forward, backward[::-1])]
    theta = sum(v * h for v, h in zip(*squares, strict=True))
    observed = np.asarray(networks.theta[:, 0, 0])
    # the negative slope is 0 up to rounding, so dead networks are too
    observed = np.where(observed < 1e-20, 0.0, observed)
    assert stats.ks_2samp(theta, observed).pvalue > 1e-3
    assert abs(np.median(theta) / depth - 1) > 0.3  # far from the mean


# The oracle


@pytest.mark.parametrize("limit", [RELU, CENTRED], ids=["relu", "smooth"])
def test_networks_have_the_kernel_of_their_gradients(limit):
    """`Σ_l V_l H_l` is the Gram matrix of the gradients in every hidden weight."""
    width, depth, m = 5, 3, 2
    sampled = sample_ntks(limit, V0, width=width, depth=depth, key=KEY, num_networks=1)
    shapes = [(width, m), (depth, width, width), (1, width)]
    drawn = map_networks(lambda *parts: parts, KEY, 1, shapes, V0.dtype)
    first, hidden, last = (part[0] for part in drawn)
    x = jnp.linalg.cholesky(V0) * np.sqrt(m)
    activation = limit.activation
    c = activation.normalising_constant(width)

    def outputs(hidden):
        z = x @ first.T / np.sqrt(m)
        for w in hidden:
            z = np.sqrt(c / width) * activation.shaped(z, width) @ w.T
        return np.sqrt(c / width) * activation.shaped(z, width) @ last[0]

    jacobian = jax.jacrev(outputs)(hidden).reshape(m, -1)
    np.testing.assert_allclose(sampled.theta[0], jacobian @ jacobian.T, rtol=1e-12)
    np.testing.assert_allclose(sampled.vs[0, 0], V0)
    h = np.sqrt(c) * activation.shaped(x @ first.T / np.sqrt(m), width)
    np.testing.assert_allclose(sampled.vs[0, 1], h @ h.T / width, rtol=1e-12)
    np.testing.assert_allclose(sampled.ts, np.arange(4) / 5)


def test_networks_depend_on_key_and_index_alone():
    whole, part = (
        sample_ntks(TANH, V0, width=4, depth=2, key=KEY, num_networks=n) for n in (9, 4)
    )
    np.testing.assert_allclose(whole.theta[:4], part.theta, rtol=1e-12)
    assert len(np.unique(whole.theta[:, 0, 0])) == 9


# The mean given the covariance


def solved(limit, v0, t1, num_paths, steps, key=KEY):
    """Times, and paths of the covariance."""
    ts = jnp.linspace(0, t1, steps + 1)
    solution = covsde.solve(limit, v0, t1, key=key, num_paths=num_paths, saveat=ts)
    return ts, solution.vs


@pytest.mark.parametrize("activation", [RELU, TANH, CENTRED], ids=["relu", "tanh", "both"])
def test_slope_is_what_a_layer_does_to_the_kernel(activation):
    """`n (c E[φ_s'(u^a) φ_s'(u^b)] − 1) → B`, as `1/n`: by Gauss–Hermite, or exactly."""
    activation = activation.activation
    v = jnp.array([[1.3, 0.4], [0.4, 0.8]])
    limit = np.asarray(_Layer(activation, v).slope)
    rho = 0.4 / np.sqrt(1.3 * 0.8)
    if isinstance(activation, ShapedReLU):
        printed = -(1.5**2) / (2 * np.pi) * np.arccos(rho)
        # slopes agree in sign with probability 1 − θ/π
        plus, minus = activation.slopes(10**6)
        layer = 1 - (plus - minus) ** 2 / (plus**2 + minus**2) * np.arccos(rho) / np.pi
        assert abs(10**6 * (layer - 1) - limit[0, 1]) < 1e-5
        np.testing.assert_array_equal(np.diag(limit), 0.0)
    else:
        phi2, phi3 = activation.derivatives
        printed = phi2**2 * (0.4 - 0.75) + phi3 * ((1.3 + 0.8) / 2 - 1)
        nodes, weights = np.polynomial.hermite_e.hermegauss(60)
        g, w = np.meshgrid(nodes, nodes), np.outer(weights, weights) / weights.sum() ** 2
        root = np.linalg.cholesky(v)
        u = [jnp.asarray(root[a, 0] * g[0] + root[a, 1] * g[1]) for a in (0, 1)]
        rest = []
        for n in (4000, 8000):
            slope = jax.grad(lambda x, n=n: activation.shaped(x, n))
            slopes = [jax.vmap(jax.vmap(slope))(x) for x in u]
            c = activation.normalising_constant(n)
            layer = [[c * np.sum(w * x * y) for y in slopes] for x in slopes]
            rest.append(n * (np.array(layer) - 1) - limit)
        np.testing.assert_allclose(rest[0] / rest[1], 2.0, rtol=0.01)
    assert abs(limit[0, 1] - printed) < 1e-13


def test_slope_along_is_its_derivative():
    """By differences of `B` of the whole matrix; on the diagonal of a ReLU it is 0."""
    rng = np.random.default_rng(0)
    v = jnp.array([[1.3, 0.4], [0.4, 0.8]])
    aligned = jnp.asarray(rng.normal(size=(2, 2, 2, 2)))
    q = np.einsum("ce,abef,fd->abcd", v, aligned, v)
    for activation in (RELU.activation, CENTRED.activation):
        along = _Layer(activation, v).slope_along(aligned)
        for a, b in itertools.product(range(2), repeat=2):
            direction = q[a, b] + q[a, b].T

            def slope(t, direction=direction, activation=activation):
                return _Layer(activation, v + t * direction).slope

            h = 1e-5
            difference = (slope(h) - slope(-h))[a, b] / (2 * h)
            np.testing.assert_allclose(along[a, b], difference, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(
        np.diag(_Layer(RELU.activation, v).slope_along(aligned)), 0.0
    )


def test_one_input_of_a_linear_network_by_quadrature():
    """`Θ̄_T = k_T + V_T ∫ k/V dt`, `k_t = ∫₀ᵗ e^{s−t} V_s ds`, along a smooth path."""

    def v(t):
        return 1 + 0.5 * np.sin(3 * t)

    def k(t):
        return quad(lambda s: np.exp(s - t) * v(s), 0, t)[0]

    exact = k(1.0) + v(1.0) * quad(lambda t: k(t) / v(t), 0, 1)[0]
    errors = []
    for steps in (20, 40, 80):
        ts = np.linspace(0, 1, steps + 1)
        theta = conditional_ntk(LINEAR, ts, v(ts)[None, :, None, None])
        assert theta.shape == (1, steps + 1, 1, 1) and theta[0, 0] == 0
        errors.append(float(theta[0, -1, 0, 0]) - exact)
    assert abs(errors[-1]) < 1e-4
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.05)


def test_order_two_along_a_smooth_path():
    """Three inputs; from differences of a step and its half."""

    def v(t):
        turned = np.array([[1.2, 0.3, -0.2], [0.3, 0.9, 0.4], [-0.2, 0.4, 1.1]])
        return turned + 0.2 * np.sin(2 * t) * np.ones((3, 3)) + 0.1 * t * np.eye(3)

    ends = []
    for steps in (40, 80, 160):
        ts = np.linspace(0, 1, steps + 1)
        vs = np.stack([v(t) for t in ts])[None]
        ends.append(np.asarray(conditional_ntk(CENTRED, ts, vs)[0, -1]))
    ratios = (ends[1] - ends[0]) / (ends[2] - ends[1])
    np.testing.assert_allclose(ratios, 4, rtol=0.1)
    np.testing.assert_allclose(ends[2], ends[2].T, rtol=1e-13)


def test_order_two_for_means():
    """Of the same paths on grids of 4, 8 and 16 steps, and against the exact mean `T`."""
    t1 = 1.0
    ts, vs = solved(LINEAR, ONE, t1, 20_000, 16)
    ends = [
        np.asarray(conditional_ntk(LINEAR, ts[::s], vs[:, ::s])[:, -1, 0, 0])
        for s in (4, 2, 1)
    ]
    assert_mean(ends[2], t1)
    # what halving the step changes is a quarter, to four standard errors
    assert_mean((ends[1] - ends[0]) - 4 * (ends[2] - ends[1]), 0.0)


@pytest.fixture(
    scope="module",
    params=[(LINEAR, V0), (CENTRED, 1.4 * V0)],
    ids=["linear", "smooth"],
)
def networks(request):
    """Kernels of networks over one half of the width, and what their own paths say.

    Sums over the layers are trapezoidal, as in time. A mean given the path is one on
    every event of it: here of covariances below 2, of which networks of this width know.
    """
    limit, v0 = request.param
    width, depth = 32, 17
    sample = sample_ntks(limit, v0, width=width, depth=depth, key=KEY, num_networks=5000)
    ends = (sample.by_layer[:, 0] + sample.by_layer[:, -1]) / 2
    theta = np.asarray(sample.theta - ends) / width
    ts, vs = sample.ts[:-1], sample.vs[:, 1:]
    known = np.max(vs, axis=(1, 2, 3)) < 2
    growth = np.log(np.asarray(vs[:, -1, 0, 0]) / v0[0, 0])
    return limit, width, theta, ts, vs, np.stack([known, known * growth], axis=1)


def weighted(rest, weights):
    """Its three entries times each of the weights."""
    return (rest[:, None, [0, 0, 1], [0, 1, 1]] * weights[:, :, None]).reshape(-1, 6)


def test_it_is_the_mean_of_networks(networks):
    """The rest has no mean, nor one with what the path did: to 4 s.e., and a layer.

    `f` lies one layer behind the last covariance, which multiplies by `1 + B/n`.
    """
    limit, width, theta, ts, vs, weights = networks
    expected = np.asarray(conditional_ntk(limit, ts, vs))[:, -1]
    slope = _Layer(limit.activation, vs[:, -1]).slope
    mean, error = mean_and_error(weighted(theta - expected, weights))
    layer = np.mean(np.abs(weighted(slope * expected / width, weights)), axis=0)
    assert np.all(np.abs(mean) < 4 * error + layer)


def test_without_alignment_it_is_not(networks):
    """`dΘ̄ = (V + B Θ̄) dt` would be found out, in linear networks (`B = 0`) first."""
    limit, _, theta, ts, vs, weights = networks
    if limit is not LINEAR:
        return
    integral = np.trapezoid(vs, ts, axis=1)
    mean, error = mean_and_error(weighted(theta - integral, weights))
    assert np.max(np.abs(mean) / error) > 5


def test_it_is_differentiable():
    ts = jnp.linspace(0, 0.5, 3)
    moved = jnp.multiply.outer(ts, jnp.array([[0.5, -0.3], [-0.3, 0.2]]))
    vs = (V0[None] + moved)[None]

    def end(c_plus):
        limit = ShapedMLP(ShapedReLU(c_plus, -0.75))
        return conditional_ntk(limit, ts, vs)[0, -1, 0, 1]

    _, slope = jax.jvp(end, (0.75,), (1.0,))
    difference = (end(0.75 + 1e-5) - end(0.75 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


# Refusals


def test_refusals_of_moments():
    with pytest.raises(ValueError, match="`slopes` must not both be 0"):
        OnDiagonalNTK(10, 10, (0.0, 0.0))
    with pytest.raises(TypeError, match="`slopes` must be a pair of numbers"):
        OnDiagonalNTK(10, 10, 1.0)
    with pytest.raises(ValueError, match="`slopes` must be a pair of numbers"):
        OnDiagonalNTK(10, 10, (1.0, float("nan")))
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1"):
        OnDiagonalNTK(10, 0)


def test_refusals_of_paths():
    ts, vs = np.linspace(0, 1, 3), np.broadcast_to(np.eye(2), (4, 3, 2, 2))
    with pytest.raises(TypeError, match=r"`limit` must be a `covsde\.ShapedMLP`"):
        conditional_ntk(RELU.activation, ts, vs)
    with pytest.raises(ValueError, match=r"`vs` must have shape \(num_paths, k, m, m\)"):
        conditional_ntk(RELU, ts, vs[0])
    with pytest.raises(ValueError, match="`ts` must have one time for each"):
        conditional_ntk(RELU, ts[:2], vs)
    for wrong in (ts + 0.1, ts[::-1], np.zeros(3)):
        with pytest.raises(ValueError, match="`ts` must increase from 0 on"):
            conditional_ntk(RELU, wrong, vs)
    with pytest.raises(ValueError, match="`vs` must be positive definite"):
        conditional_ntk(RELU, ts, np.ones_like(vs))
    with pytest.raises(ValueError, match="`vs` must be finite"):
        conditional_ntk(RELU, ts, np.full_like(vs, np.nan))
    with pytest.raises(TypeError, match=r"`limit` must be a `covsde\.ShapedMLP`"):
        sample_ntks(RELU.activation, V0, width=4, depth=2, key=KEY, num_networks=1)
    with pytest.raises(ValueError, match=r"`v0` must have shape \(m, m\)"):
        sample_ntks(RELU, V0[0], width=4, depth=2, key=KEY, num_networks=1)
