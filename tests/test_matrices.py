"""The algebra in every layout, against dense linear algebra."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from covsde import matrices
from covsde.matrices import Lower, Square, Symmetric, triangularise

SIZES = [1, 2, 4, 5, 8, 9, 12]  # packed up to 4, by rows up to 8, and whole
BATCHES = [(), (7,)]


def random_factor(m, batch, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(*batch, m, m)), -1) / np.sqrt(m)
    return factor + np.eye(m) * rng.uniform(0.5, 2.0, size=(*batch, 1, m))


def random_symmetric(m, batch, seed=1):
    s = np.random.default_rng(seed).normal(size=(*batch, m, m))
    return s + np.swapaxes(s, -1, -2)


def mirror(a):
    return np.swapaxes(a, -1, -2)


@pytest.fixture(params=SIZES)
def m(request):
    return request.param


@pytest.fixture(params=BATCHES, ids=["one", "batch"])
def pair(request, m):
    """A lower factor and a symmetric matrix, dense and in the package's layout."""
    factor, s = random_factor(m, request.param), random_symmetric(m, request.param)
    packed = Lower.from_dense(jnp.asarray(factor)), Symmetric.from_dense(jnp.asarray(s))
    return factor, s, *packed


def agree(packed, dense):
    np.testing.assert_allclose(packed.to_dense(), dense, rtol=1e-11, atol=1e-12)


def test_round_trip(pair):
    factor, s, lower, symmetric = pair
    agree(lower, factor)
    agree(symmetric, s)
    assert lower.batch == symmetric.batch == factor.shape[:-2]
    m = factor.shape[-1]
    agree(Lower.from_entries(lower.entries(), m), factor)
    entries = np.moveaxis(s[..., *np.tril_indices(m)], -1, 0)
    np.testing.assert_array_equal(symmetric.entries(), entries)


def test_products(pair):
    factor, s, lower, symmetric = pair
    other = random_factor(factor.shape[-1], factor.shape[:-2], seed=2)
    agree(matrices.multiply(lower, Lower.from_dense(jnp.asarray(other))), factor @ other)
    agree(matrices.gram(lower), factor @ mirror(factor))
    agree(matrices.congruence(lower, symmetric), factor @ s @ mirror(factor))
    agree(matrices.square(symmetric), s @ s)
    any_one = s + factor
    one = Square.from_dense(jnp.asarray(any_one))
    agree(matrices.multiply_square(lower, one), factor @ any_one)
    square = Square.from_triangle(lower)
    agree(matrices.multiply_transposed(square, one), mirror(factor) @ any_one)
    rows = lower.diagonal()
    applied = jnp.moveaxis(one.apply_transposed(rows), lower.row_axis(), -1)
    dense = np.moveaxis(rows, lower.row_axis(), -1)[..., None]
    np.testing.assert_allclose(applied, (mirror(any_one) @ dense)[..., 0], rtol=1e-11)


def test_solves(pair):
    factor, s, lower, symmetric = pair
    inverse = np.linalg.inv(factor)
    agree(matrices.whiten(lower, symmetric), inverse @ s @ mirror(inverse))
    other = random_factor(factor.shape[-1], factor.shape[:-2], seed=2)
    agree(
        matrices.divide_right(Lower.from_dense(jnp.asarray(other)), lower), other @ inverse
    )


def test_cholesky(pair):
    factor, _, lower, _ = pair
    v = matrices.gram(lower)
    agree(matrices.cholesky(v), factor)
    agree(matrices.cholesky(v, floor=1e-3), factor)
    agree(matrices.semidefinite_cholesky(v), factor)
    np.testing.assert_allclose(
        lower.log_det(),
        np.linalg.slogdet(factor @ mirror(factor))[1],
        rtol=1e-11,
        atol=1e-12,
    )


def test_expm(pair):
    _, s, _, _ = pair
    scaled = s / np.linalg.norm(s, ord=2, axis=(-2, -1))[..., None, None]
    packed = Symmetric.from_dense(jnp.asarray(scaled))
    np.testing.assert_allclose(
        matrices.expm(packed).to_dense(), scipy.linalg.expm(scaled), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        matrices.expm(packed * 3.0).to_dense(),
        scipy.linalg.expm(3 * scaled),
        rtol=0,
        atol=1e-5 * np.exp(3),
    )


def test_elementwise(pair):
    factor, s, lower, symmetric = pair
    m, batch = factor.shape[-1], factor.shape[:-2]
    rows = np.random.default_rng(3).uniform(1, 2, size=(*batch, m))
    layout = jnp.asarray(np.moveaxis(rows, -1, symmetric.row_axis()))
    number = np.random.default_rng(4).uniform(1, 2, size=batch)
    each = number[..., None, None]
    agree(symmetric * jnp.asarray(number), s * each)
    agree(symmetric + symmetric * 2.0 - symmetric, 2 * s)
    agree(symmetric.add_diagonal(layout), s + rows[..., None] * np.eye(m))
    agree(symmetric.add_diagonal(2.0), s + 2 * np.eye(m))
    agree(symmetric.scale(layout), rows[..., :, None] * s * rows[..., None, :])
    agree(lower.scale_rows(layout), rows[..., :, None] * factor)
    agree(lower.scale_columns(layout), factor * rows[..., None, :])
    agree(lower.strict(), np.tril(factor, -1))
    agree(matrices.lower_half(symmetric), np.tril(s, -1) + 0.5 * s * np.eye(m))
    agree(
        lower.symmetrise(2.0),
        np.tril(factor, -1) + mirror(np.tril(factor, -1)) + 2 * factor * np.eye(m),
    )
    np.testing.assert_allclose(
        symmetric.trace(), np.trace(s, axis1=-2, axis2=-1), rtol=1e-12
    )
    np.testing.assert_allclose(
        np.moveaxis(lower.squared_rows(), lower.row_axis(), -1),
        (factor**2).sum(-1),
        rtol=1e-12,
    )
    diagonal = np.diagonal(s, axis1=-2, axis2=-1)
    agree(
        symmetric.pairwise(lambda v_aa, v_bb, v_ab: v_aa * v_bb + 3 * v_ab),
        diagonal[..., :, None] * diagonal[..., None, :] + 3 * s,
    )
    agree(symmetric.map(lambda entry: 2 * entry**2), 2 * s**2)
    agree(symmetric.map_dense(lambda one: one @ one), s @ s)
    agree(
        symmetric.where(jnp.asarray(number > 1.5), symmetric * 0.0),
        np.where(each > 1.5, s, 0.0),
    )


def test_row_vectors(pair):
    factor, s, lower, symmetric = pair
    m, batch = factor.shape[-1], factor.shape[:-2]

    def by_path(rows):
        return np.moveaxis(rows, lower.row_axis(), -1)

    diagonal = np.diagonal(s, axis1=-2, axis2=-1)
    centred = Square.from_dense(jnp.asarray(s)).centre_rows(symmetric.diagonal())
    np.testing.assert_allclose(
        by_path(centred), diagonal - diagonal.mean(-1, keepdims=True), atol=1e-14
    )
    negative = symmetric.any_row(symmetric.diagonal() < 0)
    np.testing.assert_array_equal(negative, (diagonal < 0).any(-1))
    numbers = np.broadcast_to(np.arange(1.0, m + 1), (*batch, m))
    for known in (True, False):
        regular = lower.as_invertible(known)
        np.testing.assert_array_equal(by_path(regular.pivot_numbers()), numbers)
        np.testing.assert_array_equal(regular.rank(), m)
    # the first column is empty, in every layout
    singular = Lower.from_dense(jnp.asarray(factor * (np.arange(m) > 0)))
    np.testing.assert_array_equal(by_path(singular.pivot_numbers()), numbers - 1)
    np.testing.assert_array_equal(singular.rank(), np.full(batch, m - 1.0))


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("m", [4, 8, 10])
def test_semidefinite_cholesky_of_singular_matrices(m, rank):
    x = np.random.default_rng(5).normal(size=(m, max(rank, 1)))
    if rank == 0:  # duplicates and a sign change
        x = np.random.default_rng(6).normal(size=(m, m))
        x[2] = x[0]
        x[3] = -2 * x[1]
    v = x @ x.T
    factor = matrices.factorise(jnp.asarray(v))
    np.testing.assert_allclose(factor.to_dense() @ factor.to_dense().T, v, atol=1e-12 * m)
    zeros = int(jnp.sum(factor.diagonal() == 0))
    assert zeros == (m - rank if rank else 2)
    assert bool(factor.is_singular())
    assert np.all(np.isfinite(factor.to_dense()))


@pytest.mark.parametrize("m", [3, 7, 9])
@pytest.mark.parametrize("gap", [1.2, 1e-3, 1e-8, 1e-12, 1e-40])
def test_one_minus_correlation_keeps_its_digits(m, gap):
    """Also where the cosines are one to rounding."""
    # unit rows: (cos iθ, sin iθ, 0, …) for i ≤ 2, with 1 − cos θ = 2 sin²(θ/2)
    theta = 2 * np.arcsin(np.sqrt(gap / 2))
    factor = np.eye(m)
    factor[1, :2] = np.cos(theta), np.sin(theta)
    factor[2, :3] = np.cos(2 * theta), np.sin(2 * theta), 0
    u = matrices.one_minus_correlation(Lower.from_dense(jnp.asarray(3.0 * factor)))
    u = np.asarray(u.to_dense())
    exact = [gap, 2 * np.sin(theta) ** 2, gap]
    np.testing.assert_allclose(u[[1, 2, 2], [0, 0, 1]], exact, rtol=1e-13)
    assert np.all(np.diagonal(u) == 0)


def test_plain_cholesky_says_nan_when_indefinite(m):
    v = Symmetric.from_dense(jnp.eye(m) * -1.0)
    assert bool(jnp.any(jnp.isnan(matrices.cholesky(v).to_dense())))


@pytest.mark.parametrize("m", [3, 9])
def test_gradients_of_expm_at_equal_eigenvalues(m):
    def f(x):
        return matrices.expm(Symmetric.from_dense(x * jnp.eye(m))).trace()

    np.testing.assert_allclose(jax.grad(f)(0.3), m * np.exp(0.3), rtol=1e-9)


def test_materialise_is_exact():
    x = jnp.array([jnp.nan, -1.0, 0.0, jnp.inf, 1e-300])
    np.testing.assert_array_equal(matrices.materialise(x), x)
    np.testing.assert_array_equal(matrices.materialise(-x), -x)


@pytest.mark.parametrize("m", [1, 2, 3, 8, 9])
def test_triangularise_keeps_small_pivots(m):
    """`A = L Q` against 60-digit arithmetic where `A Aᵀ` has lost the small pivots."""
    rng = np.random.default_rng(m)
    # a shear: cond 1e12, so that A Aᵀ is singular to rounding
    a = np.eye(m) + 1e6 * np.outer(np.eye(m)[-1], np.eye(m)[0]) * (m > 1)
    a = a @ np.linalg.qr(rng.normal(size=(m, m)))[0]
    factor = triangularise(Square.from_dense(jnp.asarray(a)[None])).to_dense()[0]
    with mpmath.workdps(60):
        exact = mpmath.cholesky(mpmath.matrix(a) * mpmath.matrix(a).T)
        pivots = np.array([float(exact[i, i]) for i in range(m)])
    np.testing.assert_allclose(np.diag(factor), pivots, rtol=1e-8)
    np.testing.assert_allclose(factor @ factor.T, a @ a.T, rtol=1e-13, atol=1e-4)
    assert not np.any(np.triu(factor, 1))


@pytest.mark.parametrize("m", [1, 3, 8, 9])
def test_exponential_of_a_triangle(m):
    x = np.tril(np.random.default_rng(m).normal(size=(m, m)))
    x /= np.linalg.norm(x, 2)
    found = matrices.expm_lower(Lower.from_dense(jnp.asarray(x)[None])).to_dense()[0]
    exact = scipy.linalg.expm(x)
    assert np.linalg.norm(found - exact) < 1e-7 * np.linalg.norm(exact)
    # pivots are positive however long the step
    long = matrices.expm_lower(Lower.from_dense(jnp.asarray(-30 * x)[None]))
    assert np.all(long.diagonal() > 0)
