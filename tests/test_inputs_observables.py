"""What goes in and what is read off, against NumPy and by the properties they must have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covsde import gram
from covsde._problem import check_covariance
from covsde.observables import (
    AbstractObservable,
    Correlation,
    Entry,
    LogDet,
    LogNorm,
    MeanVariance,
    Nearness,
    correlation,
    describing,
    label,
    log_det,
    log_diagonal,
    mean_variance,
)

EPS = np.finfo(float).eps
SHAPES = pytest.mark.parametrize("batch", [(), (4,), (3, 2)], ids=str)
SIZES = pytest.mark.parametrize("m", [1, 2, 5, 9])


def random_inputs(m, n_in=7, seed=0):
    return np.random.default_rng(seed).normal(size=(m, n_in))


def random_covariance(m, batch=(), seed=1):
    x = np.random.default_rng(seed).normal(size=(*batch, m, 2 * m))
    return jnp.asarray(x @ np.swapaxes(x, -1, -2) / (2 * m))


def random_scales(m, batch=(), seed=2):
    return np.exp(np.random.default_rng(seed).normal(size=(*batch, m)))


def scaled(v, rows):
    rows = jnp.asarray(rows)
    return rows[..., :, None] * v * rows[..., None, :]


# Inputs


@SIZES
def test_gram(m):
    x = random_inputs(m)
    v = np.asarray(gram(x))
    np.testing.assert_allclose(v, x @ x.T / 7, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(v, v.T, rtol=0, atol=2 * EPS * np.abs(v).max())
    assert np.linalg.eigvalsh(v).min() > -m * EPS * np.trace(v)
    assert np.linalg.matrix_rank(v) == min(m, 7)


def test_gram_of_scaled_and_of_equal_inputs():
    x = random_inputs(3)
    rows = np.array([2.0, -1.0, 0.5])
    np.testing.assert_allclose(gram(rows[:, None] * x), scaled(gram(x), rows), rtol=1e-14)
    v = np.asarray(gram(x[[0, 1, 0]]))
    np.testing.assert_array_equal(v[2], v[0])
    np.testing.assert_array_equal(gram(jnp.eye(4)), jnp.eye(4) / 4)


@pytest.mark.parametrize(
    "x, dtype",
    [
        ([[1.0, 2.0], [3.0, 4.0]], jnp.float64),
        ([[1, 2], [3, 4]], jnp.float64),
        (np.array([[1, 2], [3, 4]], np.uint8), jnp.float64),
        (np.array([[1, 2], [3, 4]], np.float32), jnp.float32),
        (jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.float64),
    ],
    ids=["list", "integers", "bytes", "float32", "array"],
)
def test_gram_takes_numbers_of_any_kind(x, dtype):
    v = gram(x)
    assert v.dtype == dtype
    np.testing.assert_array_equal(v, [[2.5, 5.5], [5.5, 12.5]])


def test_gram_of_bytes_does_not_overflow():
    pixels = np.full((2, 784), 255, np.uint8)
    np.testing.assert_allclose(gram(pixels), np.full((2, 2), 255.0**2), rtol=4 * EPS)


def test_gram_is_a_start():
    for m in (3, 5):  # also of more inputs than features
        v0 = gram(random_inputs(m, n_in=3))
        np.testing.assert_array_equal(check_covariance(v0), v0)


def test_gram_differentiates():
    x = jnp.asarray(random_inputs(3))
    gradient = jax.grad(lambda x: gram(x)[0, 1])(x)
    expected = jnp.zeros_like(x).at[0].set(x[1] / 7).at[1].set(x[0] / 7)
    np.testing.assert_allclose(gradient, expected, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(gram)(x), gram(x), rtol=1e-14)


# Observables


@SHAPES
@SIZES
def test_observables_against_numpy(m, batch):
    v = random_covariance(m, batch)
    diagonal = np.diagonal(v, axis1=-2, axis2=-1)
    rho = v / np.sqrt(diagonal[..., :, None] * diagonal[..., None, :])
    np.testing.assert_allclose(log_diagonal(v), np.log(diagonal), rtol=1e-13)
    np.testing.assert_allclose(correlation(v), rho, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(
        log_det(v), np.linalg.slogdet(v).logabsdet, rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(mean_variance(v), np.trace(v, axis1=-2, axis2=-1) / m)
    assert correlation(v).shape == (*batch, m, m)
    assert log_diagonal(v).shape == (*batch, m)
    assert log_det(v).shape == mean_variance(v).shape == batch


@SIZES
def test_correlations_are_correlations(m):
    v = random_covariance(m, (20,))
    rho = np.asarray(correlation(v))
    np.testing.assert_array_equal(np.diagonal(rho, axis1=-2, axis2=-1), 1.0)
    assert np.abs(rho).max() <= 1.0
    np.testing.assert_allclose(rho, np.swapaxes(rho, -1, -2), rtol=2 * EPS)
    # they do not see the scale of the inputs, and see their signs
    rows = random_scales(m, (20,)) * np.where(np.arange(m) % 2, -1, 1)
    signs = np.sign(rows)
    np.testing.assert_allclose(
        correlation(scaled(v, rows)),
        rho * signs[..., :, None] * signs[..., None, :],
        rtol=1e-13,
        atol=1e-15,
    )
    # and are those of a correlation matrix already
    np.testing.assert_allclose(correlation(jnp.asarray(rho)), rho, rtol=1e-14, atol=1e-15)


def test_correlations_stay_within_one_at_duplicates():
    x = random_inputs(1) * np.array([[1.0], [3.0], [-1 / 7]])
    rho = np.asarray(correlation(gram(x)))
    assert np.abs(rho).max() <= 1.0
    np.testing.assert_allclose(rho, np.outer([1, 1, -1], [1, 1, -1]), rtol=8 * EPS, atol=0)


@SIZES
def test_log_det_adds_up(m):
    v, rows = random_covariance(m, (20,)), random_scales(m, (20,))
    np.testing.assert_allclose(
        log_det(scaled(v, rows)),
        log_det(v) + 2 * np.log(rows).sum(-1),
        rtol=1e-11,
        atol=1e-11,
    )
    # Hadamard: the determinant of correlations is at most 1
    assert np.all(log_det(v) <= log_diagonal(v).sum(-1) + 1e-12)


def test_log_det_of_singular_and_indefinite_matrices():
    singular = jnp.ones((2, 2))
    indefinite = jnp.array([[1.0, 2.0], [2.0, 1.0]])
    v = jnp.stack([singular, indefinite, jnp.eye(2)])
    np.testing.assert_array_equal(log_det(v), [-np.inf, -np.inf, 0.0])


def test_log_det_neither_overflows_nor_underflows():
    for scale in (1e-60, 1e60):
        v = scale * jnp.eye(9)
        assert float(log_det(v)) == pytest.approx(9 * np.log(scale), rel=1e-13)


@pytest.mark.parametrize("observable", [log_diagonal, correlation, log_det, mean_variance])
def test_float32_stays_float32(observable):
    v = random_covariance(3, (4,))
    single = observable(v.astype(jnp.float32))
    assert single.dtype == jnp.float32
    # log det is a difference of logarithms as large as the condition number's
    condition = np.linalg.cond(v).max()
    np.testing.assert_allclose(
        single, observable(v), rtol=0, atol=condition * np.finfo(np.float32).eps * 9
    )


@pytest.mark.parametrize("observable", [log_diagonal, correlation, log_det, mean_variance])
def test_observables_under_jit_and_vmap(observable):
    v = random_covariance(3, (4,))
    np.testing.assert_allclose(jax.jit(observable)(v), observable(v), rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(observable)(v), observable(v), rtol=1e-13)


def test_one_number_of_each_matrix():
    v = random_covariance(3, (4,))
    np.testing.assert_array_equal(Entry(0, 2)(v), v[:, 0, 2])
    np.testing.assert_array_equal(LogNorm(1)(v), log_diagonal(v)[:, 1])
    np.testing.assert_array_equal(Correlation(0, 2)(v), correlation(v)[:, 0, 2])
    np.testing.assert_array_equal(LogDet()(v), log_det(v))
    assert {Entry(0, 2): "hashable"}[Entry(0, 2)] and Entry(0, 2) != Entry(2, 0)
    for observable in (Entry(0, 3), LogNorm(3), Correlation(3, 0)):
        with pytest.raises(IndexError, match=r"must have at least 4 inputs for .*; got 3"):
            observable(v)


ONE_NUMBER = [Entry(0, 2), LogNorm(1), Correlation(2, 1), LogDet(), MeanVariance()]


@pytest.mark.parametrize("observable", ONE_NUMBER, ids=label)
def test_one_number_in_any_dtype_batch_and_transformation(observable):
    v = random_covariance(3, (4, 2))
    assert observable(v).shape == (4, 2) and observable(v[0, 0]).shape == ()
    assert observable(v.astype(jnp.float32)).dtype == jnp.float32
    every = jax.jit(jax.vmap(jax.vmap(observable)))(v)
    np.testing.assert_allclose(every, observable(v), rtol=1e-13)


class Gap(AbstractObservable):
    """An observable of a user's, with the least that it takes."""

    a: int

    def __call__(self, v):
        return v[..., self.a, self.a] - v[..., 0, 0]


def test_what_observables_are_called():
    labels = ["V[0,2]", "log V[1,1]", "ρ[2,1]", "log det V", "tr V/m"]
    assert [label(f) for f in ONE_NUMBER] == labels
    assert [f.inputs for f in ONE_NUMBER] == [(0, 2), (1, 1), (2, 1), None, None]
    assert label(Nearness()) == "u" and label(mean_variance) == "mean_variance"
    assert label(lambda v: v) == "lambda" and label(Gap(2)) == "Gap(a=2)"
    assert Gap(2).kind == "function" and Gap(2).inputs is None
    assert Gap(1) == Gap(1) != Gap(2) and len({Gap(1), Gap(1), LogNorm(1)}) == 2


def test_what_describes_a_covariance():
    assert describing(1) == (LogNorm(0),)
    labels = [label(f) for f in describing(3)]
    assert labels[:3] == ["log V[0,0]", "log V[1,1]", "log V[2,2]"]
    assert labels[3:] == ["ρ[0,1]", "ρ[0,2]", "ρ[1,2]", "log det V"]
