"""Orders measured by simulation, and what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.convergence import Extrapolated, study
from covsde.convergence._order import _order
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


@pytest.fixture(scope="module")
def integrated():
    palindromic = covsde.PalindromicStrang()
    solvers = [palindromic, covsde.FactorEuler(), Extrapolated(palindromic)]
    return study(RELU, solvers, V0, 1.0, squared_correlation, steps=(2, 4), quadrature=True)


def test_weak_errors_are_those_of_quadrature(weak, integrated):
    """To four standard errors, whose squares add up with those of the quadrature."""
    for row, known in zip(weak.rows, integrated.rows, strict=False):
        assert row.solver == known.solver
        noise = np.hypot(row.standard_errors[:2], known.standard_errors)
        assert np.all(np.abs(row.errors[:2] - known.errors) < 4 * noise), row
        assert np.all(known.standard_errors < 0.02 * np.abs(known.errors))


def test_a_quadrature_is_told_from_a_simulation(integrated):
    assert integrated.num_paths is None and "quadrature" in str(integrated)
    value, words = integrated.reference.split(", ")
    assert abs(float(value) - 0.4661791990) < 1e-9 and words == "of the generator"


def test_extrapolated_means_are_combined(integrated):
    """`(4 E_{h/2} − E_h)/3`, with the numerical errors of both."""
    plain, _, extrapolated = integrated.rows
    assert extrapolated.solver == "Extrapolated(PalindromicStrang())"
    combined = (4 * plain.errors[1:] - plain.errors[:-1]) / 3
    np.testing.assert_allclose(extrapolated.errors[:-1], combined, rtol=0, atol=1e-12)
    assert np.all(extrapolated.standard_errors[:-1] >= plain.standard_errors[1:])


@pytest.mark.parametrize(
    ("activation", "drift_order"), [(Identity(), 2), (ShapedReLU(1.0, -1.0), 4)]
)
def test_the_extrapolated_palindrome_is_of_order_four(activation, drift_order):
    """`python -m benchmarks.weak_order` has more steps."""
    found = study(
        ShapedMLP(activation),
        [Extrapolated(covsde.PalindromicStrang(drift_order))],
        V0,
        1.0,
        squared_correlation,
        steps=(4, 8),
        quadrature=True,
    )
    (row,) = found.rows
    assert row.above_noise.all()
    assert row.order.slope - row.order.margin > 3.5, row


def test_extrapolated_means_on_paths():
    """The bias of the plain scheme, seen on these paths, is gone."""
    plain = covsde.PalindromicStrang()
    found = study(
        ShapedMLP(Identity()),
        [plain, Extrapolated(plain)],
        V0,
        1.0,
        squared_correlation,
        key=KEY,
        num_paths=50_000,
        steps=(2, 4),
        exact=0.4928803775,
    )
    before, after = found.rows
    assert before.above_noise[0] and not after.above_noise[0]
    combined = (4 * before.errors[1] - before.errors[0]) / 3
    np.testing.assert_allclose(after.errors[0], combined, rtol=0, atol=1e-14)


def test_an_observable_that_is_not_finite():
    """The baseline may reach V = 0, which has no correlation."""
    with pytest.raises(ValueError, match="`observable` must be finite; with ProjectedE"):
        study(
            RELU,
            [covsde.ProjectedEuler()],
            V0,
            1.0,
            squared_correlation,
            key=KEY,
            num_paths=1000,
            steps=(1, 2),
            exact=0.5,
        )


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
        ({"key": None}, "`key` must be a JAX random key; got None"),
        (
            {"solvers": [Extrapolated(covsde.GeodesicStrang())], "strong": True},
            "`strong` must be False for a quadrature and for an extrapolated solver",
        ),
        ({"quadrature": True, "strong": True}, "`strong` must be False for a quadrature"),
        ({"quadrature": True, "v0": jnp.eye(3)}, "`v0` must be of one or two inputs"),
        ({"quadrature": True, "v0": V0.astype("float32")}, "`v0` must be float64"),
        (
            {"quadrature": True, "observable": lambda v: v[:, 0, 0]},
            "`observable` must depend on the correlation alone",
        ),
        (
            {"quadrature": True, "limit": ShapedMLP(ShapedSmooth(jax.nn.silu, 1.0))},
            "`limit` must move the correlation whatever the norms are",
        ),
        (
            {"quadrature": True, "solvers": [covsde.MagnusStrang()]},
            "`solvers` must draw at most 8 normals a step",
        ),
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


def test_orders_of_the_drift():
    with pytest.raises(ValueError, match="`drift_order` must be 2 or 4; got 3"):
        covsde.PalindromicStrang(drift_order=3)
    singular = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="`v0` must be positive definite here"):
        covsde.solve(
            RELU,
            singular,
            0.5,
            key=KEY,
            num_paths=2,
            solver=covsde.PalindromicStrang(drift_order=4),
        )
