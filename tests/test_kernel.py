"""Deterministic limits: against closed forms, another integrator, and finite networks.

More of these is asserted where it is explained, in `docs/theory/kernel.md`.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad, solve_ivp

import covsde
from covsde import (
    ActivationDrift,
    BranchCovariance,
    KernelODE,
    LeakyReLU,
    ShapedReLU,
    ShapedSmooth,
)
from covsde.observables import Entry

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
    [((1.0, 0.0), -0.5, -0.0439), ((1.0, -0.3), 0.3, 0.5147)],
)
def test_leaky_relu(slopes, rho0, reference):
    c = 2 / (slopes[0] ** 2 + slopes[1] ** 2)
    rho, v = rho_at_one(LeakyReLU(*slopes), c, rho0)
    assert abs(rho - reference) < 5e-5
    np.testing.assert_allclose(rho, independent(slopes, rho0), rtol=0, atol=1e-8)
    np.testing.assert_allclose(jnp.diagonal(v), np.e, rtol=1e-8)


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


def solve(limit, v0=V0, t1=1.0, num_paths=2, **options):
    return covsde.solve(
        limit, v0, t1, key=jax.random.key(0), num_paths=num_paths, **options
    )


def test_steps_of_ones_own_are_of_second_order():
    limit = KernelODE(BranchCovariance(jnp.tanh))
    times = jnp.array([0.0, 0.5, 1.0])
    exact = limit.integrate(V0, 1.0, saveat=times)
    np.testing.assert_allclose(exact[0], V0, rtol=1e-14)
    coarse = [solve(limit, saveat=times, dt0=dt0).vs for dt0 in (1 / 16, 1 / 32)]
    np.testing.assert_array_equal(coarse[0][0], coarse[0][1])
    errors = [np.abs(vs[0] - exact).max() for vs in coarse]
    assert errors[1] < 1e-4 and np.log2(errors[0] / errors[1]) > 1.8


def test_the_wishart_step_without_noise_is_the_drift_s():
    limit = KernelODE(BranchCovariance(LeakyReLU(1.0, 0.0)))
    exact = limit.integrate(V0, 0.25)[0]
    found = solve(limit, t1=0.25, solver=covsde.WishartEuler(), dt0=1 / 16).vs
    np.testing.assert_allclose(found[:, -1], [exact, exact], rtol=1e-3)


# Without noise, to a tolerance

WEAK = 0.25  # an exponent of shaping below ½
SOFTPLUS = KernelODE(ActivationDrift(ShapedSmooth(jax.nn.softplus, 0.4, p=WEAK)))
START = jnp.array([[0.9, -0.3], [-0.3, 1.2]])
SAVED = np.array([0.1, 0.6])


@pytest.mark.parametrize(
    "limit",
    [
        SOFTPLUS,
        KernelODE(BranchCovariance(jnp.tanh)),
        KernelODE(ActivationDrift(ShapedReLU(2.0, -1.0, p=WEAK))),
    ],
    ids=["softplus", "tanh", "relu"],
)
def test_without_noise_to_a_tolerance(limit):
    solution = solve(limit, START, 0.7, saveat=SAVED)
    exact = limit.integrate(START, 0.7, saveat=SAVED)
    np.testing.assert_allclose(solution.vs[1], exact, rtol=1e-8)
    np.testing.assert_array_equal(solution.ts, SAVED)
    assert np.all(solution.running)
    assert isinstance(solution.solver, diffrax.Dopri8) and solution.dt0 is None
    assert solution.how == "Dopri8, to a tolerance"


def test_by_another_integrator():
    def field(t, v):
        drift = SOFTPLUS.drift(jnp.asarray(t), jnp.asarray(v.reshape(2, 2)), None)
        return np.asarray(drift).ravel()

    solved = solve_ivp(
        field, (0, 0.6), np.ravel(START), method="DOP853", rtol=1e-10, atol=1e-12
    )
    expected = solved.y[:, -1].reshape(2, 2)
    found = solve(SOFTPLUS, START, 0.7, saveat=SAVED).vs[0, -1]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert abs(expected[0, 1] - 0.05031) < 5e-6


def test_a_path_for_each_start():
    starts = START[None] * jnp.linspace(0.2, 1.2, 70)[:, None, None]
    solution = solve(SOFTPLUS, starts, 0.6, num_paths=70)
    for i in (0, 33, 69):
        expected = SOFTPLUS.integrate(starts[i], 0.6)
        np.testing.assert_allclose(solution.vs[i], expected, rtol=1e-8)


def one_input(v, t):
    """`v' = κ v(v − 1)`."""
    kappa = float(SOFTPLUS.drift.activation.stability_index)
    return 1 / (1 + (1 / v - 1) * np.exp(kappa * t))


def test_an_explosion_is_a_stop():
    kappa = float(SOFTPLUS.drift.activation.stability_index)
    start, times = np.array([[[1.5]], [[0.5]]]), np.array([0.3, 4.0])
    solution = solve(SOFTPLUS, start, 4.0, saveat=times)
    exploded, alive = np.asarray(solution.stopped_at)
    np.testing.assert_allclose(exploded, np.log(1.5 / 0.5) / kappa, rtol=1e-9)
    assert alive == np.inf
    v = np.asarray(solution.vs)[:, :, 0, 0]
    np.testing.assert_allclose(v[0, 0], one_input(1.5, 0.3), rtol=1e-7)
    np.testing.assert_allclose(v[1], one_input(0.5, times), rtol=1e-7)
    assert v[0, 1] == np.inf


def test_a_level_is_where_it_stops():
    """Of two starts one reaches it, the other never does."""
    kappa = float(SOFTPLUS.drift.activation.stability_index)
    times = np.array([0.1, 1.0, 4.0])
    starts = jnp.array([[[1.5]], [[0.5]]])
    solution = solve(SOFTPLUS, starts, 4.0, saveat=times, stop_above=3.0)
    reached = np.log((1 - 1 / 3) / (1 - 1 / 1.5)) / kappa
    assert times[0] < reached < times[1]
    np.testing.assert_allclose(solution.stopped_at, [reached, np.inf], rtol=1e-7)
    v = np.asarray(solution.vs)[:, :, 0, 0]
    np.testing.assert_allclose(v[0], [one_input(1.5, 0.1), 3.0, 3.0], rtol=1e-7)
    np.testing.assert_allclose(v[1], one_input(0.5, times), rtol=1e-7)


def test_in_single_precision_to_its_rounding():
    limit = KernelODE(BranchCovariance(jnp.tanh))
    solution = solve(limit, START.astype(jnp.float32))
    assert solution.vs.dtype == jnp.float32
    np.testing.assert_allclose(solution.vs[0], limit.integrate(START, 1.0), rtol=1e-5)


def test_equal_inputs_stay_equal():
    limit = KernelODE(BranchCovariance(jnp.tanh))
    v = np.asarray(solve(limit, jnp.ones((2, 2))).vs[0, 0])
    assert np.ptp(v) < 1e-8 * v[0, 0]


@pytest.mark.parametrize(
    ("differentiate", "stop_above"), [(jax.grad, 5.0), (jax.jacfwd, None)]
)
def test_gradients_in_both_modes(differentiate, stop_above):
    def end(c):
        limit = KernelODE(BranchCovariance(LeakyReLU(1.0, -0.3), c))
        return solve(limit, START, 0.5, stop_above=stop_above).vs[0, 0, 0, 1]

    difference = (end(1.001) - end(0.999)) / 0.002
    np.testing.assert_allclose(differentiate(end)(1.0), difference, rtol=1e-5)


def test_validate_benefits():
    solution_only = dict(width=(8,), num_paths=2, num_networks=8, stop_above=50.0)
    report = covsde.validate(SOFTPLUS, START, 0.6, key=jax.random.key(0), **solution_only)
    (row,) = [row for row in report.rows if row.observable == "log V[0,0]"]
    expected = np.log(SOFTPLUS.integrate(START, 0.6)[0, 0, 0])
    np.testing.assert_allclose(row.limit_mean, expected, rtol=1e-8)


def test_ensembles_are_solved_to_the_same_tolerance():
    """And explosions are stops, as in `solve`."""
    times, count = np.array([0.3, 4.0]), 2
    starts = START[None] * jnp.array([[[0.5]], [[1.0]]])
    ends = {"v00": Entry(0, 0), "v01": Entry(0, 1)}
    asked = dict(key=jax.random.key(0), num_paths=count, saveat=times)
    result = covsde.ensemble(SOFTPLUS, starts, 4.0, observables=ends, **asked)
    solution = covsde.solve(SOFTPLUS, starts, 4.0, **asked)
    running = np.asarray(solution.stopped_at)[:, None] > times
    np.testing.assert_array_equal(result.stopped, 1 - running.mean(0))
    assert result.stopped.tolist() == [0.0, 0.5]
    for a, name in enumerate(ends):
        expected = np.mean(solution.vs[:, 0, 0, a])
        np.testing.assert_allclose(result[name]["mean"][0], expected, rtol=1e-8)
        assert np.all(result.left_out[name] == 0)
    assert "2 paths, Dopri8, to a tolerance" in str(result)


def test_sweeps_are_solved_to_the_same_tolerance():
    pytest.importorskip("xarray")
    values, step = [-2.0, -1.0, 0.5], 1e-4

    def make(c):
        return KernelODE(ActivationDrift(ShapedReLU(2.0, c, p=WEAK)))

    def end(c):
        return float(solve(make(c), START, 0.7, saveat=SAVED).vs[0, -1, 0, 1])

    swept = covsde.sweep(
        make,
        {"c": values},
        START,
        0.6,
        key=jax.random.key(0),
        num_paths=3,
        observables={"v01": Entry(0, 1)},
        gradients=["c"],
    )
    found = swept["mean"].sel(observable="v01")[:, 0]
    np.testing.assert_allclose(found, [end(c) for c in values], rtol=1e-8)
    slopes = [(end(c + step) - end(c - step)) / (2 * step) for c in values]
    found = swept["gradient"].sel(observable="v01", parameter="c")[:, 0]
    np.testing.assert_allclose(found, slopes, rtol=1e-6)
    assert swept.attrs["dt0"] == "None" and swept.attrs["solver"] == "Dopri8()"


class Loud(covsde.limits.AbstractLimit):
    """Tanh branches, with a noise."""

    drift: BranchCovariance
    diffusion: covsde.CongruenceDiffusion

    def __init__(self, gain):
        self.drift = BranchCovariance(jnp.tanh)
        self.diffusion = covsde.CongruenceDiffusion(gain)


def test_what_has_no_noise_is_not_stepped_unasked():
    asked = dict(key=jax.random.key(0), observables=Entry(0, 1))
    grid = {"gain": [0.0, 1.0]}
    with pytest.raises(ValueError, match=r"`dt0`.*have noise and others have none.*0\.06"):
        covsde.sweep(Loud, grid, START, 1.0, num_paths=2, **asked)
    with pytest.raises(ValueError, match=r"`limit` must have noise.*`covsde\.solve`"):
        covsde.estimate(SOFTPLUS, START, 1.0, Entry(0, 1), tol=1e-3, key=asked["key"])


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
    np.testing.assert_allclose(solution.vs[0, -1], limit.integrate(V0, 0.25)[0], rtol=1e-8)


@pytest.mark.parametrize(("width", "depth"), [(100, 200), (50, 800)])
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
        (lambda: SOFTPLUS.integrate(START, 3.0), "`t1`.*V explodes at t = 1.5289"),
        (lambda: SOFTPLUS.integrate(V0, 1.0, rtol=np.nan), "`rtol`"),
        (lambda: SOFTPLUS.integrate(V0, 1.0, atol=0.0), "`atol`"),
        (lambda: SOFTPLUS.integrate(V0, 1.0, saveat=[0.5, 0.2]), "`saveat`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
