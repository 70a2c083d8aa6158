"""Expectations to a tolerance. `benchmarks/estimates.py` repeats them 200 times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from covsde import Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.observables import correlation, log_diagonal

V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
EXACT = 0.4661791990  # E ρ² at t = 1, by Fokker–Planck


def squared_correlation(v):
    return correlation(v)[:, 0, 1] ** 2


def run(key, tol=0.02, **options):
    return covsde.estimate(
        RELU, V0, 1.0, squared_correlation, tol=tol, key=jax.random.key(key), **options
    )


@pytest.fixture(scope="module")
def runs():
    return [run(key) for key in range(30)]


def test_the_error_is_what_was_asked_for(runs):
    """Root mean square of 30, below the 99.9 % quantile of their χ² law."""
    errors = np.array([one.value for one in runs]) - EXACT
    bound = stats.chi2.ppf(0.999, len(runs)) / len(runs)
    assert np.mean(errors**2) < bound * 0.02**2
    # and the intervals are no wider than they have to be
    assert np.mean(errors**2) > stats.chi2.ppf(0.001, len(runs)) / len(runs) * 0.01**2
    for one in runs:
        assert one.error <= 0.02
        low, high = one.interval
        assert low < one.value < high
    inside = [one.interval[0] < EXACT < one.interval[1] for one in runs]
    assert sum(inside) >= stats.binom.ppf(0.001, len(runs), 0.95)


def test_a_run_is_the_sum_of_its_levels(runs):
    for one in runs:
        *most, last = one.levels
        weight = 4 / 3 if most else 1.0  # extrapolated by order 2
        total = sum(level.mean for level in most) + weight * last.mean
        assert abs(total - one.value) < 1e-12
        steps = np.array([level.steps for level in one.levels])
        np.testing.assert_array_equal(steps[1:], 2 * steps[:-1])
    assert str(runs[0]).count("\n") == 4 + len(runs[0].levels)
    assert "asked for 0.02" in str(runs[0])


def test_one_key_gives_one_value(runs):
    assert run(0).value == runs[0].value != runs[1].value


def test_control_variates_know_the_martingales():
    """log V^{aa} is linear in the Brownian motion: almost nothing is left to sample."""
    limit = ShapedMLP(Identity())
    found = covsde.estimate(
        limit,
        V0,
        0.5,
        lambda v: log_diagonal(v)[:, 0],
        tol=1e-2,
        key=jax.random.key(0),
        solver=covsde.PalindromicStrang(),
    )
    assert found.levels[0].variance < 0.01  # of a variance of 1
    assert abs(found.value + 0.5) < 4 * found.error


def test_stopped_expectations_of_an_explosive_limit():
    limit = ShapedMLP(ShapedSmooth(jax.nn.silu, 1.0))
    start, share = jnp.array([[1.0]]), lambda v: jnp.minimum(v[:, 0, 0], 4.0)
    with pytest.raises(ValueError, match=r"`limit` must not explode.*stop_above"):
        covsde.estimate(limit, start, 0.5, share, tol=0.05, key=jax.random.key(0))
    found = covsde.estimate(
        limit, start, 0.5, share, tol=0.5, key=jax.random.key(0), stop_above=4.0
    )
    # without stopping E V would be V₀ = 1 plus what κ > 0 adds
    assert found.error <= 0.5 and 0.5 < found.value < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tol": 0.0}, "`tol` must be a positive number"),
        ({"tol": "small"}, "`tol` must be a positive number"),
        ({"confidence": 1.0}, "`confidence` must be between 0 and 1"),
        ({"observable": 3}, "`observable` must be a function"),
        ({"v0": jnp.stack([V0])}, "`v0` must be one covariance"),
        ({"t1": -1.0}, "`t1` must be a positive finite time"),
        ({"limit": RELU.activation}, "`limit` must be a limit"),
        ({"observable": lambda v: jnp.log(-v[:, 0, 0])}, "`observable` must be finite"),
    ],
)
def test_refusals(change, message):
    call = dict(
        limit=RELU,
        v0=V0,
        t1=1.0,
        observable=squared_correlation,
        tol=0.1,
        key=jax.random.key(0),
    )
    with pytest.raises((TypeError, ValueError), match=message):
        covsde.estimate(**call | change)
