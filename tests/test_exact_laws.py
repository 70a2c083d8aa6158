"""Laws that are known exactly, at 1e5 paths: norms, determinant, moments, pivots, pairs."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from covsde import (
    BrownianGrid,
    GeodesicStrang,
    Identity,
    PalindromicStrang,
    ShapedMLP,
    ShapedReLU,
)
from covsde.laws import PairLaw
from covsde.matrices import factorise

PATHS, T = 100_000, 0.25
# At this step the weak error of order 2 is below a quarter of a standard error at m = 8.
DT = 1 / 32
LEVEL = 0.01
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
# A linear network, also as one whose activation is not bent: the program of any ReLU.
LINEAR, UNBENT = ShapedMLP(Identity()), ShapedMLP(ShapedReLU(0.0, 0.0))
SOLVERS = {
    "geodesic": (GeodesicStrang(), UNBENT),
    "palindromic": (PalindromicStrang(), LINEAR),
}


def autoregressive(m):
    """Correlations 2^{−|a−b|}, variances from 1 to 3."""
    index = np.arange(m)
    scale = np.sqrt(1 + 2 * index / max(m - 1, 1))
    return 0.5 ** np.abs(index[:, None] - index) * np.outer(scale, scale)


def covariances(limit, solver, v0):
    """`V_T`, `(PATHS, m, m)`."""
    solution = covsde.solve(
        limit,
        jnp.asarray(v0),
        T,
        key=jax.random.key(20 + len(v0)),
        num_paths=PATHS,
        dt0=DT,
        solver=solver,
    )
    return np.asarray(solution.vs[:, 0])


@pytest.fixture(
    scope="module",
    params=list(itertools.product(SOLVERS, [1, 2, 4, 8])),
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def linear(request):
    """`V_0` and `V_T` of the linear network: one simulation for all its laws."""
    name, m = request.param
    (solver, limit), v0 = SOLVERS[name], autoregressive(m)
    return v0, covariances(limit, solver, v0)


def within_four_errors(sample, expected, error=None):
    """Means over the paths, within 4 standard errors: known ones, or of the sample."""
    error = sample.std(axis=0) if error is None else error
    distance = (sample.mean(axis=0) - expected) / (error / np.sqrt(len(sample)))
    assert np.all(np.abs(distance) < 4), f"standard errors away: {distance}"


def standard_normal(z):
    """Moments 1 to 4 and the distribution of each column."""
    # mean and variance of zᵏ for a standard normal
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        within_four_errors(z**power, mean, np.sqrt(variance))
    tests = [stats.kstest(column, "norm") for column in z.T]
    assert min(test.pvalue for test in tests) > LEVEL / len(tests), tests


def log_norms_are_normal(v0, v):
    """`log V^{aa}_T ~ N(log V^{aa}_0 − T, 2T)`."""
    growth = np.log(np.diagonal(v, axis1=1, axis2=2) / np.diag(v0))
    standard_normal((growth + T) / np.sqrt(2 * T))


def test_log_norms_are_normal(linear):
    log_norms_are_normal(*linear)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_log_norms_under_a_shaped_relu(m):
    v0 = autoregressive(m)
    log_norms_are_normal(v0, covariances(RELU, GeodesicStrang(), v0))


def test_log_determinant_is_normal(linear):
    """`log det V_T ~ N(log det V_0 − m(m+1)T/2, 2mT)`."""
    v0, v = linear
    m = len(v0)
    growth = np.linalg.slogdet(v)[1] - np.linalg.slogdet(v0)[1]
    z = (growth + m * (m + 1) * T / 2) / np.sqrt(2 * m * T)
    standard_normal(z[:, None])


def test_moments(linear):
    """`V` is a martingale, and its second moments solve a linear equation."""
    v0, v = linear
    within_four_errors(v, v0)

    up, down = np.exp(2 * T), np.exp(-T)
    tr_square, square_tr = np.sum(v0**2), np.trace(v0) ** 2
    grown, shrunk = (2 * tr_square + square_tr) * up, (tr_square - square_tr) * down
    within_four_errors(np.sum(v**2, axis=(1, 2)), (grown + shrunk) / 3)
    within_four_errors(np.trace(v, axis1=1, axis2=2) ** 2, (grown - 2 * shrunk) / 3)

    # E V^{ab}V^{cd} entry by entry, for every pair of entries of the first row
    alpha, beta = (up + 2 * down) / 3, (up - down) / 3
    products = v[:, 0, :, None] * v[:, 0, None, :]
    swapped = v0[0, 0] * v0 + np.outer(v0[0], v0[0])
    within_four_errors(products, alpha * np.outer(v0[0], v0[0]) + beta * swapped)


def test_pivots_are_independent_log_normals(linear):
    """`log L_ii(T) = log L_ii(0) + B_ii(T)/√2 − i T/2`."""
    pivots = [np.diagonal(np.linalg.cholesky(x), axis1=-2, axis2=-1) for x in linear]
    m = pivots[0].size
    growth = np.log(pivots[1] / pivots[0])
    z = (growth + np.arange(1, m + 1) * T / 2) / np.sqrt(T / 2)
    standard_normal(z)
    for i, j in itertools.combinations(range(m), 2):
        within_four_errors(z[:, i] * z[:, j], 0, 1)


def test_pivots_follow_their_brownian_motions():
    """The same path by path: the palindromic scheme has them exactly."""
    m, steps = 3, 4
    cells = np.linspace(0.0, T, 2 * steps + 1)
    path = BrownianGrid(cells, m, key=jax.random.key(1), num_paths=50)
    start = factorise(jnp.broadcast_to(autoregressive(m), (50, m, m)))
    solved = diffrax.diffeqsolve(
        LINEAR.terms(path),
        PalindromicStrang(),
        0.0,
        T,
        None,
        start,
        stepsize_controller=diffrax.StepTo(path.coarsen(2)),
        max_steps=steps,
    )
    end = jax.tree.map(lambda x: x[-1], solved.ys)
    moved = np.log(end.diagonal() / start.diagonal())
    motion = path.evaluate(0.0, T).diagonal() / np.sqrt(2)
    expected = motion - np.arange(1, m + 1)[:, None] * T / 2
    # a few roundings a step of numbers of order 1
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-13)


def test_eight_digits_under_a_shaped_relu():
    """Every norm and every pair: a principal submatrix is a covariance SDE by itself."""
    datasets = pytest.importorskip("sklearn.datasets")
    v0 = np.asarray(covsde.gram(datasets.load_digits().data[:8]))
    v = covariances(RELU, GeodesicStrang(), v0)
    log_norms_are_normal(v0, v)
    pairs = list(itertools.combinations(range(8), 2))
    rejected = {}
    for a, b in pairs:
        rho = v[:, a, b] / np.sqrt(v[:, a, a] * v[:, b, b])
        rho0 = v0[a, b] / np.sqrt(v0[a, a] * v0[b, b])
        law = PairLaw(rho0, T, RELU.activation.strength)
        pvalue = stats.kstest(rho, lambda r, law=law: np.asarray(law.cdf(r))).pvalue
        if pvalue < LEVEL / len(pairs):
            rejected[a, b] = pvalue
    assert not rejected


@pytest.mark.parametrize("solver", [covsde.GeodesicStrang(), covsde.PalindromicStrang()])
def test_one_input_without_drift_takes_one_exact_step(solver):
    """`V_T = V_0 e^{√(2Γ) B_T − Γ T}` on every path, by default in a single step."""
    limit, v0, t1 = covsde.ShapedResNet(ShapedReLU(0.0, -1.0), 0.8), 1.3, 1.5
    assert covsde.default_step(solver, limit, 1) > t1
    key = jax.random.key(3)
    solution = covsde.solve(
        limit, jnp.array([[v0]]), t1, key=key, num_paths=50, solver=solver
    )
    cells = getattr(solver, "cells_per_step", 1)
    path = covsde.BrownianGrid(jnp.linspace(0.0, t1, cells + 1), 1, key=key, num_paths=50)
    motion = path.evaluate(0.0, t1).to_dense()[:, 0, 0]
    gain = limit.diffusion.strength
    exact = v0 * jnp.exp(jnp.sqrt(2 * gain) * motion - gain * t1)
    np.testing.assert_allclose(solution.vs[:, 0, 0, 0], exact, rtol=1e-13)
