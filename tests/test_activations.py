"""Activations: the drift's numbers, to the last digit, and what is known of each."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from covsde import Identity, ShapedReLU, ShapedSmooth
from covsde.activations import expanded, nu
from covsde.matrices import Symmetric, factorise, gram

mpmath.mp.dps = 50


def exact_nu(u):
    rho = 1 - mpmath.mpf(float(u))
    return mpmath.sqrt(1 - rho**2) - rho * mpmath.acos(rho)


def sample_of_u():
    """`u = 1 − ρ` for ρ from −1 to 1 − 1e-15: even, and dense near both ends."""
    near_one = 10.0 ** np.linspace(-15, 0, 400)
    return np.concatenate([np.linspace(1e-3, 2, 400), near_one, 2 - near_one])


def test_nu_to_the_last_digits():
    us = sample_of_u()
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(nu)))(us)
    error = max(abs(float(v) / exact_nu(u) - 1) for u, v in zip(us, values, strict=True))
    exact_slopes = [mpmath.acos(1 - mpmath.mpf(float(u))) for u in us]
    slope_error = max(
        abs(float(s) / e - 1) for s, e in zip(slopes, exact_slopes, strict=True)
    )
    print(f"nu: largest relative error {float(error):.2e}, of nu' {float(slope_error):.2e}")
    assert error < 1e-14
    assert slope_error < 1e-14


def test_nu_at_the_ends():
    ends = np.array([0.0, np.pi])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(nu)))(np.array([0.0, 2.0]))
    np.testing.assert_allclose(values, ends, rtol=1e-15)
    np.testing.assert_allclose(slopes, ends, rtol=1e-15)
    # the drift's own gradients, in ρ, at ρ = ±1
    slope = jax.jit(jax.grad(lambda r: ShapedReLU(0.3, -1.0).drift(1.0, 1.0, r)))
    assert np.all(np.isfinite([slope(-1.0), slope(1.0)]))


@pytest.mark.parametrize("rho", [-0.9, -0.2, 0.3, 0.999])
def test_relu_drift_is_the_limit_of_its_covariance_map(rho):
    """`n (c E[φ_s φ_s] − ρ)` tends to the drift; exact at any n with n c (s₊−s₋)²."""
    relu, n = ShapedReLU(0.5, -1.5), 400
    s_plus, s_minus = map(float, relu.slopes(n))
    c = float(relu.normalising_constant(n))
    u = 1 - rho
    exact = n * c * (s_plus - s_minus) ** 2 / (2 * np.pi) * float(nu(jnp.asarray(u)))

    def integrand(y, x):  # x, z correlated: z = ρ x + √(1−ρ²) y
        z = rho * x + np.sqrt(1 - rho**2) * y
        phi = lambda t: s_plus * max(t, 0) + s_minus * min(t, 0)  # noqa: E731
        return phi(x) * phi(z) * np.exp(-(x * x + y * y) / 2) / (2 * np.pi)

    # polar coordinates: the integrand is homogeneous, so only the angle matters
    def angular(angle):
        x, y = np.cos(angle), np.sin(angle)
        return integrand(y, x) * np.exp(0.5) * 2

    kinks = [np.pi / 2, 3 * np.pi / 2]
    slope = -rho / np.sqrt(1 - rho**2)
    kinks += [np.arctan(slope) % np.pi, np.arctan(slope) % np.pi + np.pi]
    covariance, _ = scipy.integrate.quad(
        angular, 0, 2 * np.pi, points=sorted(kinks), epsabs=1e-13, epsrel=1e-13
    )
    assert n * (c * covariance - rho) == pytest.approx(exact, abs=1e-8)


SMOOTH = {  # fn, a² κ at centre 0
    "tanh": (jnp.tanh, -2.0),
    "atan": (jnp.arctan, -2.0),
    "erf": (lambda x: jax.scipy.special.erf(x * np.sqrt(np.pi) / 2), -np.pi / 2),
    "sin": (jnp.sin, -1.0),
    "sigmoid": (jax.nn.sigmoid, -0.5),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), 6 / np.pi),
    "silu": (jax.nn.silu, 0.75),
    "softplus": (jax.nn.softplus, 3 / 16),
    "mish": (lambda x: x * jnp.tanh(jax.nn.softplus(x)), 0.6933),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_stability_index(name):
    fn, index = SMOOTH[name]
    for a in (0.7, 2.0):
        activation = ShapedSmooth(fn, a)
        tolerance = 1e-4 if name == "mish" else 1e-12
        assert float(activation.stability_index) * a**2 == pytest.approx(
            index, abs=tolerance
        )
        assert activation.can_explode == (index > 0)


def test_stability_changes_with_the_centre():
    assert ShapedSmooth(jax.nn.softplus, 1.0, np.log(7 / 4) - 1e-3).can_explode
    assert not ShapedSmooth(jax.nn.softplus, 1.0, np.log(7 / 4) + 1e-3).can_explode
    assert ShapedSmooth(jax.nn.silu, 1.0, 0.464).can_explode
    assert not ShapedSmooth(jax.nn.silu, 1.0, 0.465).can_explode
    assert not ShapedReLU(0.0, -1.0).can_explode
    assert not Identity().can_explode


@pytest.mark.parametrize("fn", [jnp.tanh, jax.nn.silu, jax.nn.softplus])
def test_smooth_drift_is_the_limit_of_its_covariance_map(fn):
    """One layer by quadrature: `n (c E[φ_s φ_s] − V) → b`, extrapolated in 1/n."""
    activation = ShapedSmooth(fn, 1.1)
    v = np.array([[1.3, 0.4], [0.4, 0.8]])
    factor = np.linalg.cholesky(v)
    x, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    grid = np.stack(np.meshgrid(x, x, indexing="ij"))
    z = np.einsum("ab,bij->aij", factor, grid)

    def drift_at(n):
        phi = np.asarray(activation.shaped(jnp.asarray(z), n))
        c = float(activation.normalising_constant(n))
        return n * (c * np.einsum("aij,bij,i,j->ab", phi, phi, w, w) - v)

    extrapolated = 2 * drift_at(20_000) - drift_at(10_000)
    b = Symmetric.from_dense(jnp.asarray(v)).pairwise(activation.drift).to_dense()
    np.testing.assert_allclose(extrapolated, b, atol=2e-6)


@pytest.mark.parametrize(
    "activation",
    [
        ShapedReLU(0.5, -1.5),
        ShapedSmooth(jnp.tanh, 1.0),
        ShapedSmooth(jax.nn.silu, 0.8),
        Identity(),
    ],
    ids=["relu", "tanh", "silu", "identity"],
)
def test_normalising_constant(activation):
    n = 50
    x = np.linspace(-12, 12, 200_001)
    phi = np.asarray(activation.shaped(jnp.asarray(x), n))
    second_moment = scipy.integrate.simpson(phi**2 * scipy.stats.norm.pdf(x), x=x)
    assert float(activation.normalising_constant(n)) == pytest.approx(
        1 / second_moment, rel=1e-9
    )


FLOWS = {
    "relu": ShapedReLU(0.0, -1.5),
    "tanh": ShapedSmooth(jnp.tanh, 1.0),
    "silu": ShapedSmooth(jax.nn.silu, 1.0),
    "linear by κ = 0": ShapedSmooth(lambda x: x + 0 * x**2, 1.0),
    "φ₂ and φ₃ with κ = 0": ShapedSmooth(lambda x: x + x**2 / 2 - x**3 / 8, 1.0),
}


@jax.jit
def drift(activation, v):
    return Symmetric.from_dense(v).pairwise(activation.drift).to_dense()


@partial(jax.jit, static_argnames="flow")
def moved(activation, factor, h, flow="flow"):
    """V after a flow: one program for all activations of a kind, and any `h`."""
    return gram(getattr(activation, flow)(factor, h)).to_dense()


def exact_flow(activation, v, h):
    """The drift's ODE by an adaptive high-order integrator."""

    def field(t, y):
        return np.asarray(drift(activation, y.reshape(v.shape))).ravel()

    return (
        scipy.integrate.solve_ivp(
            field, (0, h), v.ravel(), method="DOP853", rtol=1e-12, atol=1e-13
        )
        .y[:, -1]
        .reshape(v.shape)
    )


@pytest.mark.parametrize("singular", [False, True], ids=["regular", "singular"])
@pytest.mark.parametrize("m", [3, 9])
@pytest.mark.parametrize("name", FLOWS)
def test_flow_is_of_second_order(name, m, singular):
    """One step errs by O(h³), in whitened coordinates and in V itself."""
    activation = expanded(FLOWS[name])
    x = np.random.default_rng(0).normal(size=(m, 20))
    if singular:
        x[2] = x[0]
    v = x @ x.T / 20
    factor = factorise(jnp.asarray(v)).as_invertible(not singular)
    errors = []
    for h in (0.08, 0.04):
        end = moved(activation, factor, h)
        errors.append(np.abs(end - exact_flow(activation, v, h)).max())
    if errors[1] > 1e-12:  # else the flow is exact
        assert np.log2(errors[0] / errors[1]) > 2.7
    if singular:
        np.testing.assert_allclose(end[2], end[0], rtol=1e-14)


@pytest.mark.parametrize("name", ["relu", "silu"])
def test_fourth_order_flow(name):
    """One step errs by O(h⁵)."""
    activation = expanded(FLOWS[name])
    x = np.random.default_rng(0).normal(size=(3, 20))
    v = x @ x.T / 20
    factor = factorise(jnp.asarray(v)).as_invertible()
    errors = []
    for h in (0.16, 0.08):
        end = moved(activation, factor, h, "fourth_order_flow")
        errors.append(np.abs(end - exact_flow(activation, v, h)).max())
    assert np.log2(errors[0] / errors[1]) > 4.5


def test_fourth_order_flow_keeps_the_cone():
    """Of inputs that are almost dependent, to six times the step that the other takes."""
    x = np.random.default_rng(0).normal(size=(4, 4))
    x[3] = x[:3].sum(axis=0) + 1e-6 * x[3]
    factor = factorise(jnp.asarray(x @ x.T)).as_invertible()
    relu = ShapedReLU(0.0, -2.0)
    end = jax.jit(lambda h: relu.fourth_order_flow(factor, h))(6 * relu.max_step)
    pivots = np.asarray(end.diagonal())
    assert np.all(np.isfinite(pivots)) and np.all(pivots > 0)
    np.testing.assert_allclose(end.squared_rows(), factor.squared_rows(), rtol=1e-13)


def test_explosion_within_a_step_is_nan_not_a_number():
    silu = expanded(ShapedSmooth(jax.nn.silu, 1.0))
    kappa, v = 0.75, 3.0
    time = np.log(v / (v - 1)) / kappa
    factor = factorise(jnp.asarray([[v]]))
    before, after = (moved(silu, factor, share * time) for share in (0.99, 1.01))
    assert before[0, 0] > 50 * v
    assert np.isnan(after[0, 0])
