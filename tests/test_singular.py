"""A singular V: equal inputs are carried as one, and drifts may lift the rank."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde.matrices import (
    Lower,
    Symmetric,
    beyond_span,
    factorise,
    gram,
    multiply,
    one_minus_correlation,
    whiten,
    whiten_fourth_moment,
    whiten_within,
)

SOLVERS = {
    "geodesic": covsde.GeodesicStrang(),
    "palindromic": covsde.PalindromicStrang(),
    "wishart": covsde.WishartEuler(),
}
ACTIVATIONS = {
    "relu": covsde.ShapedReLU(0.0, -1.0),
    "silu": covsde.ShapedSmooth(jax.nn.silu, 1.0, 0.6),
}
KEPT = np.array([0, 1, 3])  # input 2 repeats input 0
H, STEPS, PATHS = 1 / 8, 24, 50
DISTANCE = 1e-8  # of inputs 0 and 1


class Given(diffrax.AbstractPath):
    """Brownian increments given as numbers, `(cells, num_paths, m, m)`."""

    increments: jax.Array
    cell: float
    t0 = 0.0
    t1 = H * STEPS

    def evaluate(self, t0, t1=None, left=True, use_jump=True):
        del t1, left, use_jump
        index = jnp.round(t0 / self.cell).astype(int)
        return Lower.from_dense(self.increments[index])


def close_pair(distance: float) -> np.ndarray:
    """A factor of three inputs, two of which differ by `distance`, relative to them."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 8))
    x[1] = x[0] + distance * rng.normal(size=8)
    # V cannot tell them apart, its factor can
    return np.linalg.qr(x.T, mode="r").T


def run(activation, solver, factor, increments) -> Lower:
    cell = H / solver.cells_per_step
    path = Given(jnp.asarray(increments), cell)
    start = Lower.from_dense(jnp.broadcast_to(factor, (PATHS, *factor.shape)))
    solved = diffrax.diffeqsolve(
        covsde.ShapedMLP(activation).terms(path),
        solver,
        t0=0.0,
        t1=H * STEPS,
        dt0=H,
        y0=start,
    )
    return jax.tree.map(lambda y: y[0], solved.ys)


@pytest.mark.parametrize(
    ("solver", "activation"),
    [("geodesic", "relu"), ("palindromic", "relu"), ("geodesic", "silu")],
)
def test_equal_inputs_are_carried_as_one(solver, activation):
    """With a repeated input, the others move as if it were not there.

    Also where two of them almost agree: 1 − ρ starts at 1e-17, below V's own rounding.
    """
    solver, activation = SOLVERS[solver], ACTIVATIONS[activation]
    three = close_pair(DISTANCE)
    four = np.zeros((4, 4))
    four[np.ix_(KEPT, KEPT)] = three
    four[2] = four[0]

    cells = STEPS * solver.cells_per_step
    scale = np.sqrt(H / solver.cells_per_step)
    dense = np.random.default_rng(6).normal(size=(cells, PATHS, 4, 4)) * scale
    with_copy = run(activation, solver, four, dense)
    without = run(activation, solver, three, dense[..., KEPT[:, None], KEPT])

    factor = with_copy.to_dense()
    rounding = 4 * STEPS * np.finfo(float).eps
    np.testing.assert_allclose(factor[:, 2, :2], factor[:, 0, :2], rtol=rounding)
    np.testing.assert_array_equal(factor[:, :, 2], 0.0)
    # each step's whitening divides rounding by the distance of the close pair
    tolerance = 10 * np.finfo(float).eps / DISTANCE * STEPS
    v, expected = gram(with_copy).to_dense(), gram(without).to_dense()
    np.testing.assert_allclose(v[:, KEPT[:, None], KEPT], expected, rtol=tolerance)
    u = one_minus_correlation(with_copy).to_dense()[:, 0, 1]
    small = one_minus_correlation(without).to_dense()[:, 0, 1]
    assert np.all((small > 0) & (small < 1e-12))
    np.testing.assert_allclose(u, small, rtol=tolerance)


@pytest.mark.parametrize("m", [4, 10])
def test_whitening_within_the_span(m):
    """`V^{1/2} Y V^{1/2}`-like drifts keep to the span; anything else is seen to leave."""
    rng = np.random.default_rng(m)
    x = rng.normal(size=(m, m))
    x[2], x[m - 1] = 0.5 * x[0], x[1] - 2 * x[0]
    factor = factorise(jnp.asarray(x @ x.T)[None])
    np.testing.assert_array_equal(
        factor.nonzero_pivots().reshape(-1) == 0, np.isin(np.arange(m), [2, m - 1])
    )
    y = rng.normal(size=(m, m))
    inside = jnp.asarray(x @ (y + y.T) @ x.T)[None]
    whitened = whiten_within(factor, Symmetric.from_dense(inside))
    dense = factor.to_dense()
    np.testing.assert_allclose(
        dense @ whitened.to_dense() @ dense.mT, inside, rtol=1e-9, atol=1e-9
    )
    beyond = beyond_span(factor, Symmetric.from_dense(inside))
    np.testing.assert_allclose(beyond, 0, atol=1e-9)

    nulls = np.zeros((2, m))
    nulls[0, [2, 0]] = 1.0, -0.5
    nulls[1, [m - 1, 1, 0]] = 1.0, -1.0, 2.0
    other = Symmetric.from_dense((y @ y.T)[None] + inside)
    expected = np.abs(nulls @ y @ y.T).max()
    np.testing.assert_allclose(beyond_span(factor, other), [expected], rtol=1e-9)

    regular = multiply(factor, Lower.identity(m, (1,))) + Lower.identity(m, (1,))
    np.testing.assert_allclose(
        whiten_within(regular, other).data, whiten(regular, other).data, rtol=1e-12
    )


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_more_inputs_than_features_become_independent(activation):
    """The drift lifts the rank: three inputs with two features, and a repeated one."""
    x = np.random.default_rng(7).normal(size=(4, 2))
    x[3] = x[1]
    v0 = covsde.gram(jnp.asarray(x))
    solved = covsde.solve(
        covsde.ShapedMLP(ACTIVATIONS[activation]),
        v0,
        0.5,
        key=jax.random.key(0),
        num_paths=PATHS,
    )
    eigenvalues = np.linalg.eigvalsh(solved.vs[:, -1])
    assert np.all(np.abs(eigenvalues[:, 0]) < 1e-13 * eigenvalues[:, -1])
    assert np.all(eigenvalues[:, 1] > 1e-9 * eigenvalues[:, -1])


@pytest.mark.parametrize("m", [2, 4, 9])
def test_fourth_moment_of_any_factor(m):
    """`L⁻¹ (vvᵀ + 2 V∘V) L⁻ᵀ` against dense algebra."""
    rng = np.random.default_rng(m)
    factor, root = np.tril(rng.normal(size=(2, 3, m, m)) * 0.3) + np.eye(m)
    v = root @ root.mT
    rows = np.diagonal(v, axis1=-2, axis2=-1)
    moment = rows[:, :, None] * rows[:, None, :] + 2 * v**2
    expected = np.linalg.solve(factor, np.linalg.solve(factor, moment).mT)
    whitened = whiten_fourth_moment(
        Lower.from_dense(jnp.asarray(factor)), Lower.from_dense(jnp.asarray(root))
    )
    np.testing.assert_allclose(whitened.to_dense(), expected, rtol=1e-10)


def test_fourth_moment_of_a_close_pair():
    """Its rounding is eps over the distance of two inputs, not over its square."""
    distance = 1e-5
    double = close_pair(distance)[None]
    single = jnp.asarray(double, jnp.float32)
    factor = Lower.from_dense(single)
    moment = whiten_fourth_moment(factor, factor).to_dense()
    # the same numbers in double precision, so that only the rounding within differs
    factor = Lower.from_dense(single.astype(float))
    expected = whiten_fourth_moment(factor, factor).to_dense()
    rounding = 20 * np.finfo(np.float32).eps / distance
    assert rounding < 0.3 and np.finfo(np.float32).eps / distance**2 > 1e3
    np.testing.assert_allclose(moment, expected, rtol=rounding, atol=rounding)


def attended(v0, t1):
    limit = covsde.ShapedAttention(0.6, 0.5, heads=2)
    call = dict(key=jax.random.key(1), num_paths=PATHS, stop_above=20.0)
    return covsde.solve(limit, v0, t1, **call).vs[:, -1]


def test_equal_tokens_stay_equal():
    """Attention keeps the span of `V` too, where the tokens are as many as features."""
    x = np.random.default_rng(8).normal(size=(4, 6))
    x[2] = x[0]
    v = attended(covsde.gram(jnp.asarray(x)), 0.5)
    np.testing.assert_allclose(v[:, 2], v[:, 0], rtol=1e-12)
    eigenvalues = np.linalg.eigvalsh(v)
    assert np.all(np.abs(eigenvalues[:, 0]) < 1e-13 * eigenvalues[:, -1])
    assert np.all(eigenvalues[:, 1] > 1e-9 * eigenvalues[:, -1])


def test_attention_keeps_the_rank():
    """Of two pairs of opposite tokens; of four tokens in two dimensions."""
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    opposite = np.outer(signs, signs)
    v = np.asarray(attended(jnp.asarray(0.4 * opposite), 1.0))
    np.testing.assert_allclose(v, v[:, :1, :1] * opposite, rtol=1e-12)

    x = np.random.default_rng(9).normal(size=(4, 2))
    eigenvalues = np.linalg.eigvalsh(attended(covsde.gram(jnp.asarray(x)), 0.5))
    assert np.all(np.abs(eigenvalues[:, :2]) < 1e-12 * eigenvalues[:, -1:])
    assert np.all(eigenvalues[:, 2] > 1e-9 * eigenvalues[:, -1])


def test_magnus_keeps_the_rank():
    """Equal inputs stay equal, and the pivots of the others have their exact law."""
    x = np.random.default_rng(2).normal(size=(3, 5))
    v0 = jnp.asarray(x[[0, 1, 0, 2]] @ x[[0, 1, 0, 2]].T / 5)
    linear = covsde.ShapedMLP(covsde.Identity())
    call = dict(key=jax.random.key(0), num_paths=50, dt0=1 / 4)
    vs = covsde.solve(linear, v0, 0.5, solver=covsde.MagnusStrang(), **call).vs[:, -1]
    np.testing.assert_allclose(vs[:, 0], vs[:, 2], rtol=1e-13)
    assert np.all(np.linalg.eigvalsh(np.asarray(vs)[:, [[0], [1], [3]], [0, 1, 3]]) > 0)
