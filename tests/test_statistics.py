"""Statistics: against NumPy and SciPy, whatever the batches and the order of merges."""

import math
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from covsde.statistics import (
    Covariance,
    Extremes,
    Histogram,
    Moments,
    Quantiles,
    Share,
    on_host,
)

# heavy tails, both signs, far from 0
X = np.asarray(jax.random.normal(jax.random.key(0), (2, 3, 4000))) ** 3 + 5.0
EVERY = (
    Moments(),
    Covariance(),
    Quantiles(),
    Histogram(np.linspace(-10, 20, 13)),
    Extremes(),
    Share(),
)
each = pytest.mark.parametrize("statistic", EVERY, ids=lambda s: type(s).__name__)


@eqx.filter_jit
def update(statistic, state, x, where=None):
    """Compiled as a whole: operation by operation it takes longer."""
    return statistic.update(state, x, where)


def known(statistic, x, where=None):
    """The results of one batch."""
    state = update(statistic, statistic.start(x.shape[:-1]), jnp.asarray(x), where)
    return {name: part.values for name, part in statistic.result(state).items()}


def merged(statistic, batches):
    """The results of batches, merged on the host."""
    start = statistic.start(batches[0].shape[:-1])
    states = [on_host(update(statistic, start, jnp.asarray(x))) for x in batches]
    result = statistic.result(reduce(statistic.merge, states))
    return {name: part.values for name, part in result.items()}


def test_moments_are_those_of_the_sample():
    result = known(Moments(), X)
    assert np.all(result["count"] == X.shape[-1])
    np.testing.assert_allclose(result["mean"], X.mean(-1), rtol=1e-13)
    np.testing.assert_allclose(result["variance"], X.var(-1, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(result["skewness"], scipy.stats.skew(X, -1), rtol=1e-11)
    kurtosis = scipy.stats.kurtosis(X, -1, fisher=False)
    np.testing.assert_allclose(result["kurtosis"], kurtosis, rtol=1e-11)
    np.testing.assert_allclose(result["standard_error"], scipy.stats.sem(X, -1), rtol=1e-12)


def test_moments_keep_their_digits_far_from_zero():
    """The naive `E x² − (E x)²` has none left."""
    x = X[:1] / 10 + 1e9
    result = merged(Moments(), np.split(x, 40, axis=-1))
    np.testing.assert_allclose(result["variance"], x.var(-1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(
        result["kurtosis"], scipy.stats.kurtosis(x, -1, fisher=False), rtol=1e-6
    )


def test_covariance_is_that_of_the_sample():
    result = known(Covariance(), X)["covariance"]
    for j in range(3):
        np.testing.assert_allclose(result[:, j], np.cov(X[:, j]), rtol=1e-11)


def test_histogram_is_that_of_numpy():
    edges = np.array([-3.0, 0.0, 0.5, 5.0, 6.0])
    x = np.concatenate([X[0, 0], edges, [-4.0, 7.0]])
    result = known(Histogram(edges), x)
    np.testing.assert_array_equal(result["histogram"], np.histogram(x, edges)[0])
    assert result["below"] == np.sum(x < -3) and result["above"] == np.sum(x > 6)


@pytest.mark.parametrize("bits", [0, 4, 7, 12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_are_as_accurate_as_they_say(bits, dtype):
    q = np.array([0.0, 0.001, 0.1, 0.3, 0.5, 0.77, 0.999, 1.0])
    x = (X - 5.0).astype(dtype)
    statistic = Quantiles(bits=bits)
    state = update(statistic, statistic.start(x.shape[:-1]), jnp.asarray(x))
    exact = np.moveaxis(np.quantile(x, q, axis=-1, method="inverted_cdf"), 0, -1)
    error = np.abs(statistic.quantile(state, q) - exact)
    assert np.all(error <= 2.0**-bits * np.abs(exact) + 2.0**-32)


def test_bins_are_where_the_edges_say():
    statistic = Quantiles(bits=3, exponents=(-2, 3))
    edges = statistic.edges()
    assert np.all(np.diff(edges) > 0) and edges[0] == -np.inf and edges[-1] == np.inf
    inner = edges[1:-1]
    for dtype in (np.float32, np.float64):
        x = jnp.asarray(
            np.concatenate([inner, np.nextafter(inner, np.inf), [0.0, -0.0]]), dtype
        )
        x = jnp.where(jnp.abs(x) < 1e-30, 0.0, x)
        (bins,) = np.nonzero(known_counts(statistic, x))
        for one in np.asarray(x):
            (at,) = np.nonzero(known_counts(statistic, jnp.asarray([one], dtype)))
            assert edges[at[0]] <= one <= edges[at[0] + 1]
        assert len(bins) >= len(edges) - 2


def known_counts(statistic, x):
    return np.asarray(update(statistic, statistic.start(()), x)["counts"])


def test_quantiles_beyond_the_range_are_counted_in_the_end_bins():
    statistic = Quantiles((0.1, 0.5, 0.9), exponents=(-4, 4))
    x = jnp.array([-1e9, -16.0, 0.01, 1e-300, 0.0, 16.0, 1e300])
    low, middle, high = known(statistic, x)["quantile"]
    assert low == -np.inf and high == np.inf and abs(middle) <= 2.0**-4
    assert known_counts(statistic, x).sum() == x.size


@each
def test_batches_and_their_order_change_nothing(statistic):
    whole = known(statistic, X)
    for cuts in ([1], list(range(100, 4000, 100))):
        batches = np.split(X, cuts, axis=-1)
        for result in (merged(statistic, batches), merged(statistic, batches[::-1])):
            for name, x in whole.items():
                if isinstance(statistic, Moments | Covariance):
                    np.testing.assert_allclose(result[name], x, rtol=1e-11)
                else:
                    np.testing.assert_array_equal(result[name], x)


@each
def test_what_is_not_finite_or_not_wanted_is_left_out(statistic):
    where = np.arange(X.shape[-1]) % 3 > 0
    x = X.copy()
    x[..., 4], x[..., 5], x[..., 7] = np.nan, np.inf, -np.inf
    kept = np.where(where & np.isfinite(x[0, 0]))[0]
    result = known(statistic, x, jnp.broadcast_to(jnp.asarray(where), x.shape))
    for name, wanted in known(statistic, X[..., kept]).items():
        np.testing.assert_allclose(result[name], wanted, rtol=1e-11)


@each
def test_nothing_is_known_of_no_values(statistic):
    state = statistic.start((2, 1))
    assert jax.tree.structure(state) == jax.tree.structure(
        update(statistic, state, jnp.ones((2, 1, 5)))
    )
    nothing = statistic.merge(on_host(state), on_host(state))
    for name, part in statistic.result(nothing).items():
        counts = name in ("count", "histogram", "below", "above")
        assert np.all(part.values == 0 if counts else np.isnan(part.values))


def test_sums_are_of_float64_whatever_the_values():
    x = jnp.asarray(X, jnp.float32)
    result = known(Moments(), x)
    assert result["mean"].dtype == np.float64
    exact = np.asarray(x, np.float64).var(-1, ddof=1)
    np.testing.assert_allclose(result["variance"], exact, rtol=1e-12)


def test_a_share_has_a_binomial_error():
    result = known(Share(), np.array([0.0, 1.0, 1.0, 0.0]))
    assert result["share"] == 0.5 and result["share_error"] == 0.25


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Quantiles(levels=[0.5, 0.1]), ValueError, ["levels", "0.5 and then 0.1"]),
        (lambda: Quantiles(levels=[1.5]), ValueError, ["levels", "1.5", "[0, 1]"]),
        (lambda: Quantiles(levels=0.5), ValueError, ["levels", "()"]),
        (lambda: Quantiles(levels="all"), TypeError, ["levels", "'all'"]),
        (lambda: Quantiles(bits=17), ValueError, ["bits", "17", "7 is usual"]),
        (lambda: Quantiles(bits=1.5), TypeError, ["bits", "1.5"]),
        (lambda: Quantiles(exponents=(4, 4)), ValueError, ["exponents", "(4, 4)"]),
        (lambda: Quantiles(exponents=7), TypeError, ["exponents", "7"]),
        (lambda: Histogram([1.0]), ValueError, ["edges", "(1,)", "linspace"]),
        (lambda: Histogram([0.0, math.nan]), ValueError, ["edges", "nan"]),
        (lambda: Histogram([0.0, 2.0, 1.0]), ValueError, ["edges", "2 and then 1"]),
        (lambda: Histogram(None), TypeError, ["edges", "None"]),
        (lambda: Covariance().start(()), ValueError, ["shape", "()", "(1,)"]),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match="must") as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value
