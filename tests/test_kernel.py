"""Deterministic limits: against closed forms, another integrator, and finite networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad, solve_ivp

import covsde
from covsde import ActivationDrift, BranchCovariance, KernelODE, LeakyReLU, ShapedReLU

V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])


def correlated(rho):
    return jnp.array([[1.0, rho], [rho, 1.0]])


def rho_at_one(fn, c, rho0):
    v = KernelODE(BranchCovariance(fn, c)).integrate(correlated(rho0), 1.0)[-1]
    return float(v[0, 1] / jnp.sqrt(v[0, 0] * v[1, 1])), v


def independent(slopes, rho0):
    """`dρ/dt = c(s₊−s₋)²/2π (√(1−ρ²) − ρ arccos ρ)` by another integrator."""
    plus, minus = slopes
    k = (plus - minus) ** 2 / (np.pi * (plus**2 + minus**2))
    solved = solve_ivp(
        lambda t, r: k * (np.sqrt(1 - r**2) - r * np.arccos(r)),
        (0, 1),
        [rho0],
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    )
    return solved.y[0, -1]


@pytest.mark.parametrize(
    ("slopes", "rho0", "reference"),
    [((1.0, 0.0), -0.5, -0.0439), ((1.0, 0.0), 0.3, 0.4517), ((1.0, -0.3), 0.3, 0.5147)],
)
def test_leaky_relu(slopes, rho0, reference):
    c = 2 / (slopes[0] ** 2 + slopes[1] ** 2)
    rho, v = rho_at_one(LeakyReLU(*slopes), c, rho0)
    assert abs(rho - reference) < 5e-5
    np.testing.assert_allclose(rho, independent(slopes, rho0), rtol=0, atol=1e-8)
    np.testing.assert_allclose(jnp.diagonal(v), np.e, rtol=1e-8)


def test_tanh():
    _, v = rho_at_one(jnp.tanh, 1.0, 0.3)
    np.testing.assert_allclose(v[0], [1.4279, 0.4171], atol=5e-5)


@pytest.mark.parametrize("rho", [-1.0, -0.7, 0.0, 0.6, 1.0])
def test_quadrature_agrees_with_the_closed_form(rho):
    """The error function, once by its closed form and once by quadrature."""
    v = 1.3 * correlated(rho)
    erf = jax.scipy.special.erf
    closed = BranchCovariance(erf)(0.0, v, None)
    quadrature = BranchCovariance(lambda x: erf(x))(0.0, v, None)
    np.testing.assert_allclose(quadrature, closed, rtol=1e-8, atol=1e-9)


def test_quadrature_agrees_with_another():
    v = np.array([[1.2, 0.5], [0.5, 0.8]])
    inverse, norm = np.linalg.inv(v), 2 * np.pi * np.sqrt(np.linalg.det(v))

    def integrand(y, x):
        z = np.array([x, y])
        return np.tanh(x) * np.tanh(y) * np.exp(-0.5 * z @ inverse @ z) / norm

    expected = dblquad(integrand, -9, 9, -9, 9, epsabs=1e-9)[0]
    found = BranchCovariance(jnp.tanh)(0.0, jnp.asarray(v), None)[0, 1]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_weak_shaping_is_the_relu_resnet():
    """`(c₊−c₋)² = c(s₊−s₋)²`: the same correlations, and the norm constant."""
    relu, _ = rho_at_one(LeakyReLU(1.0, 0.0), 2.0, 0.3)
    shaped = KernelODE(ActivationDrift(ShapedReLU(2**0.5, 0.0)))
    v = shaped.integrate(V0, 1.0)[-1]
    np.testing.assert_allclose(v[0, 1], relu, atol=1e-8)
    np.testing.assert_allclose(jnp.diagonal(v), 1.0, atol=1e-10)


def test_saved_times_and_solve_agree():
    limit = KernelODE(BranchCovariance(jnp.tanh))
    times = jnp.array([0.0, 0.5, 1.0])
    exact = limit.integrate(V0, 1.0, saveat=times)
    np.testing.assert_allclose(exact[0], V0, rtol=1e-14)
    coarse = [
        covsde.solve(
            limit, V0, 1.0, key=jax.random.key(0), num_paths=2, saveat=times, dt0=dt0
        ).vs
        for dt0 in (1 / 16, 1 / 32)
    ]
    np.testing.assert_array_equal(coarse[0][0], coarse[0][1])
    errors = [np.abs(vs[0] - exact).max() for vs in coarse]
    assert errors[1] < 1e-4 and np.log2(errors[0] / errors[1]) > 1.8


def test_strong_branches_take_shorter_steps():
    solver = covsde.GeodesicStrang()
    for fn, c, step in (
        (jnp.tanh, 1.0, 1 / 16),
        (jnp.tanh, 10.0, 1 / 40),
        (LeakyReLU(1.0, 0.0), 10.0, 1 / 20),
    ):
        limit = KernelODE(BranchCovariance(fn, c))
        assert covsde.default_step(solver, limit, 2) == pytest.approx(step)


def test_paths_without_noise_are_solved_once():
    """Else a quadrature for each of so many paths would not fit in memory."""
    limit = KernelODE(BranchCovariance(jnp.tanh))
    assert limit.diffusion.vanishes and not covsde.CongruenceDiffusion(0.5).vanishes
    times = jnp.array([0.125, 0.25])
    solution = covsde.solve(
        limit, V0, 0.25, key=jax.random.key(0), num_paths=100_000, saveat=times
    )
    assert solution.vs.shape == (100_000, 2, 2, 2) and np.all(solution.running)
    vs = np.asarray(solution.vs)
    assert np.all(vs == vs[:1])
    np.testing.assert_allclose(solution.vs[0, -1], limit.integrate(V0, 0.25)[0], rtol=1e-4)


@pytest.mark.parametrize(("width", "depth"), [(400, 50), (100, 200), (50, 800)])
def test_width_and_depth_commute(width, depth):
    """The mean of finite networks is within their O(1/width + 1/depth) of the limit."""
    limit = KernelODE(BranchCovariance(LeakyReLU(1.0, 0.0), 2.0), depth=depth)
    networks = covsde.oracles.sample(
        limit, V0, 1.0, width=width, key=jax.random.key(1), num_networks=400
    )
    v = np.asarray(networks.vs[:, -1])
    rho = v[:, 0, 1] / np.sqrt(v[:, 0, 0] * v[:, 1, 1])
    error = rho.std() / np.sqrt(len(rho))
    assert abs(rho.mean() - 0.4517) < 4 * error + 1 / width + 1 / depth
    # n Var log V → 6.457 (Li, Nica, Roy 2021), to four standard errors and O(1/n + 1/d)
    variance = width * np.log(v[:, 0, 0]).var()
    tolerance = 4 * np.sqrt(2 / len(v)) + 10 * (1 / width + 1 / depth)
    assert abs(variance / 6.457 - 1) < tolerance


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BranchCovariance(3.0), "`fn`"),
        (lambda: BranchCovariance(jnp.tanh, 0.0), "`c`"),
        (lambda: KernelODE(jnp.tanh), "`drift`"),
        (lambda: KernelODE(BranchCovariance(jnp.tanh), 0), "`depth`"),
        (lambda: KernelODE(BranchCovariance(jnp.tanh)).integrate(V0[0], 1.0), "`v0`"),
        (lambda: KernelODE(BranchCovariance(jnp.tanh)).integrate(V0, 0.0), "`t1`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
