"""Orders measured by simulation, and what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.convergence import _order, study
from covsde.observables import correlation

V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
KEY = jax.random.key(0)


def squared_correlation(v):
    return correlation(v)[:, 0, 1] ** 2


@pytest.fixture(scope="module")
def weak():
    solvers = [covsde.PalindromicStrang(), covsde.FactorEuler()]
    return study(
        RELU,
        solvers,
        V0,
        1.0,
        squared_correlation,
        key=KEY,
        num_paths=20_000,
        steps=(2, 4, 8),
        exact=0.4661791990,
    )


def test_weak_errors_are_those_of_quadrature(weak):
    """Errors of `python -m benchmarks.weak_order`, to four standard errors."""
    known = {
        "PalindromicStrang()": [-6.81e-3, -1.87e-3, -4.80e-4],
        "FactorEuler()": [1.04e-1, 7.59e-2, 3.97e-2],
    }
    for row in weak.rows:
        distance = np.abs(row.errors - known[row.solver]) / row.standard_errors
        assert np.all(distance < 4), row


def test_points_below_the_noise_are_left_out(weak):
    palindromic, euler = weak.rows
    assert not palindromic.above_noise[-1] and euler.above_noise.all()
    assert palindromic.order.points == palindromic.above_noise.sum()
    assert euler.order.points == 3
    assert 0 < euler.order.slope < 1
    text = str(weak)
    assert "°" in text and "left out of the order" in text and "20,000 paths" in text


def test_strong_order_with_areas():
    """One, with the shaped ReLU's drift; the benchmark has four inputs, too."""
    found = study(
        RELU,
        [covsde.MagnusStrang()],
        V0,
        0.5,
        lambda v: correlation(v)[:, 0, 1],
        key=KEY,
        num_paths=2_000,
        steps=(2, 4, 8),
        strong=True,
    )
    (row,) = found.rows
    assert row.above_noise.all() and "strong errors" in found.title
    assert row.order.slope > 0.9


def test_regression_knows_the_noise():
    """The interval holds the order in 95 % of repetitions, correlated noise included."""
    rng = np.random.default_rng(0)
    lengths = 1 / np.array([2.0, 4.0, 8.0, 16.0])
    true = 0.3 * lengths**2
    root = np.tril(rng.normal(size=(4, 4))) * 1e-2 * true[:, None]
    inside = []
    for _ in range(1000):
        errors = true + root @ rng.normal(size=4)
        order = _order(lengths, errors, root @ root.T, 0.95)
        inside.append(abs(order.slope - 2) < order.margin)
    # wider where the scatter happens to exceed the noise, so at least that often
    assert np.mean(inside) > 0.95 - 4 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": (2, 3)}, "`steps` must be two numbers or more, each a multiple"),
        ({"steps": (4,)}, "`steps` must be two numbers or more"),
        ({"steps": "2, 4"}, "`steps` must be integers"),
        ({"solvers": []}, "`solvers` must be a list of solvers"),
        ({"exact": 0.4, "strong": True}, "`exact` must be a number, for weak errors"),
        ({"steps": (1, 2), "t1": 9.0}, "`dt0` must be at most"),
    ],
)
def test_refusals(change, message):
    call = dict(
        limit=RELU,
        solvers=[covsde.GeodesicStrang()],
        v0=V0,
        t1=1.0,
        observable=squared_correlation,
        key=KEY,
    )
    with pytest.raises((TypeError, ValueError), match=message):
        study(**call | change)
