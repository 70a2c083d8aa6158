"""The unshaped ReLU network: its moments, its paths, and finite networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.unshaped import network_u
from covsde import UnshapedMLP

RELU = UnshapedMLP()
LIMITS = {"relu": RELU, "leaky": UnshapedMLP(1.0, -0.3), "linear": UnshapedMLP(1.0, 1.0)}
TIMES = np.array([0.1, 0.25, 0.5, 1.0])


def paths(limit, num_paths=40_000, **options):
    _, u = limit.solve(
        1.0, key=jax.random.key(2), num_paths=num_paths, saveat=TIMES, **options
    )
    return np.asarray(u)


def test_constants():
    np.testing.assert_allclose(RELU.attraction, 2 * 2**0.5 / (3 * np.pi), rtol=1e-14)
    assert RELU.spread == 2
    assert LIMITS["linear"].attraction == 0 and LIMITS["linear"].spread == 1
    # the entrance law, q = (2/K)² = 9π²/2, is E u ≈ K t/2
    q = (1e-7 / RELU.mean(1e-7)) ** 2
    np.testing.assert_allclose(q, 9 * np.pi**2 / 2, rtol=1e-6)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("u0", [0.0, 0.1])
def test_moments_solve_their_equations(name, u0):
    limit = LIMITS[name]
    k, chi = float(limit.attraction), float(limit.spread)

    def slopes(t, m):
        return [k / 2 + chi * m[0], k * m[0] + 3 * chi * m[1]]

    ode = solve_ivp(
        slopes, (0, 1), [u0, u0**2], t_eval=TIMES, method="DOP853", rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(limit.mean(TIMES, u0), ode.y[0], rtol=1e-9)
    np.testing.assert_allclose(limit.second_moment(TIMES, u0), ode.y[1], rtol=1e-9)


@pytest.mark.parametrize("name", LIMITS)
def test_paths_have_the_moments(name):
    limit, u0 = LIMITS[name], 0.1
    u = paths(limit, u0=u0, dt0=1 / 256)
    assert np.all(u > 0)
    # heavy tails: at the last times the square has no reliable standard error
    for power, exact, times in ((1, limit.mean, 4), (2, limit.second_moment, 2)):
        sample = u[:, :times] ** power
        error = sample.std(axis=0) / np.sqrt(len(u))
        z = (sample.mean(axis=0) - exact(TIMES[:times], u0)) / error
        assert np.all(np.abs(z) < 4), z


def test_the_sampler_is_of_second_order():
    """The mean of a step is linear in u, so that its error is known without noise."""
    errors = []
    for steps in (4, 8, 16):
        h, chi, k = 1 / steps, float(RELU.spread), float(RELU.attraction)
        mean = square = 0.0
        for _ in range(steps):
            e1, e2 = np.exp(chi * h), np.exp(3 * chi * h)  # E[E], E[E²]
            square = e2 * square + k / 2 * h * mean * (e2 + e1)
            square += (k * h / 4) ** 2 * (e2 + 2 * e1 + 1)
            mean = e1 * mean + k / 4 * h * (e1 + 1)
        exact = np.array([RELU.mean(1.0), RELU.second_moment(1.0)])
        errors.append(np.abs(np.array([mean, square]) / exact - 1))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(orders > 1.9), orders


def test_reference_quantiles():
    """q at t = .1, .25, .5, 1 from fixed inputs: medians, and deviations of log q."""
    u = paths(RELU, dt0=1 / 512)
    log_q = 2 * np.log(TIMES / u)
    deviation = np.array([0.524, 0.844, 1.229, 1.823])
    # of a median of Gaussians: √(π/2) σ/√N; the references have 3 digits
    error = np.sqrt(np.pi / 2) * deviation / np.sqrt(len(u))
    difference = np.median(log_q, axis=0) - np.log([39.47, 32.65, 23.91, 12.37])
    assert np.all(np.abs(difference) < 4 * error + 5e-4), difference
    spread = log_q.std(axis=0) / deviation - 1
    assert np.all(np.abs(spread) < 4 * np.sqrt(1 / len(u)) + 2e-3), spread


def test_a_path_depends_on_its_index_alone():
    np.testing.assert_array_equal(paths(RELU, 10)[:4], paths(RELU, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UnshapedMLP(0.0, 0.0), "`slope_plus` and `slope_minus`"),
        (lambda: RELU.start(1.0, 100), "`rho`"),
        (lambda: RELU.start(0.5, 0), "`width`"),
        (lambda: paths(RELU, 10, u0=-1.0), "`u0`"),
        (lambda: paths(RELU, 10, dt0=0.0), "`dt0`"),
        (
            lambda: RELU.solve(1.0, key=jax.random.key(0), num_paths=2, saveat=[0.5, 2.0]),
            "`saveat` must lie",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_correlations_of_a_width():
    u = RELU.start(0.3, 100)
    np.testing.assert_allclose(RELU.correlation(u, 100), 0.3, rtol=1e-12)
    np.testing.assert_allclose(RELU.correlation(jnp.array([0.2]), 50), [0.99], rtol=1e-12)


def test_networks_approach_it():
    """From ρ₀ = 0, with a bias of `O(log n/n)`: a third, from width 100 to 400."""
    bias, errors = [], []
    for width in (100, 400):
        u = network_u(width, None, [0.25], 4000)[:, 0]
        bias.append(u.mean() - float(RELU.mean(0.25)))
        errors.append(u.std() / np.sqrt(len(u)))
    expected = np.log(400) / 400 / (np.log(100) / 100) * bias[0]
    assert bias[0] > 20 * errors[0]
    assert abs(bias[1] - expected) < 4 * errors[1] + 0.1 * bias[0]
