"""The unshaped ReLU network: its moments, its paths, and finite networks."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import covsde
from covsde import Identity, ShapedMLP, UnshapedMLP
from covsde._affine import Affine
from covsde.functionals import Integral, LogWeight, Maximum
from covsde.observables import Nearness
from covsde.oracles.unshaped import sample_unshaped

KEY = jax.random.key(0)
RELU = UnshapedMLP()
LIMITS = {"relu": RELU, "leaky": UnshapedMLP(1.0, -0.3), "linear": UnshapedMLP(1.0, 1.0)}
TIMES = np.array([0.1, 0.25, 0.5, 1.0])


def paths(limit, num_paths=40_000, **options):
    solution = limit.solve(
        1.0, key=jax.random.key(2), num_paths=num_paths, saveat=TIMES, **options
    )
    return np.asarray(solution.us)


def networks(limit, rho0, t1, width, num_networks=2, **options):
    """From one key for each width."""
    key = jax.random.fold_in(KEY, width)
    return sample_unshaped(
        limit, rho0, t1, width=width, key=key, num_networks=num_networks, **options
    )


def test_constants():
    np.testing.assert_allclose(RELU.attraction, 2 * 2**0.5 / (3 * np.pi), rtol=1e-14)
    assert RELU.spread == 2
    assert LIMITS["linear"].attraction == 0 and LIMITS["linear"].spread == 1
    # the entrance law, q = (2/K)² = 9π²/2, is E u ≈ K t/2
    q = (1e-7 / RELU.mean(1e-7)) ** 2
    np.testing.assert_allclose(q, 9 * np.pi**2 / 2, rtol=1e-6)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("u0", [0.0, 0.1])
def test_moments_solve_their_equations(name, u0):
    limit = LIMITS[name]
    k, chi = float(limit.attraction), float(limit.spread)

    def slopes(t, m):
        return [k / 2 + chi * m[0], k * m[0] + 3 * chi * m[1]]

    ode = solve_ivp(
        slopes, (0, 1), [u0, u0**2], t_eval=TIMES, method="DOP853", rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(limit.mean(TIMES, u0), ode.y[0], rtol=1e-9)
    np.testing.assert_allclose(limit.second_moment(TIMES, u0), ode.y[1], rtol=1e-9)


@pytest.mark.parametrize("name", LIMITS)
def test_paths_have_the_moments(name):
    limit, u0 = LIMITS[name], 0.1
    u = paths(limit, u0=u0)
    assert np.all(u > 0)
    # heavy tails: at the last times the square has no reliable standard error
    for power, exact, times in ((1, limit.mean, 4), (2, limit.second_moment, 2)):
        sample = u[:, :times] ** power
        error = sample.std(axis=0) / np.sqrt(len(u))
        z = (sample.mean(axis=0) - exact(TIMES[:times], u0)) / error
        assert np.all(np.abs(z) < 4), z


def test_reference_quantiles():
    """q at t = .1, .25, .5, 1 from fixed inputs: medians, and deviations of log q."""
    u = paths(RELU)
    log_q = 2 * np.log(TIMES / u)
    deviation = np.array([0.524, 0.844, 1.229, 1.823])
    # of a median of Gaussians: √(π/2) σ/√N; the references have 3 digits
    error = np.sqrt(np.pi / 2) * deviation / np.sqrt(len(u))
    difference = np.median(log_q, axis=0) - np.log([39.47, 32.65, 23.91, 12.37])
    assert np.all(np.abs(difference) < 4 * error + 5e-4), difference
    spread = log_q.std(axis=0) / deviation - 1
    assert np.all(np.abs(spread) < 4 * np.sqrt(1 / len(u)) + 2e-3), spread


def test_a_path_depends_on_its_index_alone():
    np.testing.assert_array_equal(paths(RELU, 10)[:4], paths(RELU, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UnshapedMLP(0.0, 0.0), "`slope_plus` and `slope_minus`"),
        (lambda: RELU.start(1.0, 100), "`rho`"),
        (lambda: RELU.start(0.5, 0), "`width`"),
        (lambda: paths(RELU, 10, u0=-1.0), "`u0`"),
        (lambda: paths(RELU, 10, dt0=0.0), "`dt0`"),
        (lambda: RELU.solve(-1.0, key=KEY, num_paths=2), "`t1`"),
        (
            lambda: RELU.solve(1.0, key=KEY, num_paths=2, saveat=[0.5, 2.0]),
            "`saveat` must lie",
        ),
        (lambda: RELU.solve(1.0, key=KEY, num_paths=2).correlation(), "`width`"),
        (lambda: networks(ShapedMLP(Identity()), 0.0, 1.0, 8), "`oracles.sample`"),
        (lambda: networks(RELU, 1.0, 1.0, 8), r"`rho0` must be a number in \[-1, 1\)"),
        (lambda: networks(RELU, 0.0, 1.0, 1), "`width` must be an integer of at least 2"),
        (lambda: networks(RELU, 0.0, 0.01, 8), "`t1` must be long enough for a layer"),
        (lambda: networks(RELU, 0.0, 1.0, 8, saveat=[0.5, 0.51]), "each layer once"),
        (lambda: networks(RELU, 0.0, 1.0, 8, num_networks=0), "`num_networks`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_correlations_of_a_width():
    u = RELU.start(0.3, 100)
    np.testing.assert_allclose(RELU.correlation(u, 100), 0.3, rtol=1e-12)
    np.testing.assert_allclose(RELU.correlation(jnp.array([0.2]), 50), [0.99], rtol=1e-12)


def test_what_a_solution_knows():
    solution = RELU.solve(0.5, key=KEY, num_paths=3, saveat=[0.0, 0.5], dt0=0.1)
    assert solution.num_paths == 3 and solution.dt0 == 0.1 and np.all(solution.running)
    # where u = 0 the law of q begins with a constant
    np.testing.assert_allclose(solution.q[:, 0], 9 * np.pi**2 / 2, rtol=1e-14)
    np.testing.assert_allclose(solution.q[:, 1], (0.5 / solution.us[:, 1]) ** 2)
    rho = solution.correlation(50)
    np.testing.assert_allclose(50**2 * 0.5**2 * (1 - rho[:, 1]), solution.q[:, 1])


def test_a_solution_is_saved_whole(tmp_path):
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    for one in (
        RELU.solve(0.5, key=KEY, num_paths=3, saveat=[0.25, 0.5]),
        networks(RELU, 0.3, 0.5, 16, 4, saveat=[0.25, 0.5]),
    ):
        file = one.save(tmp_path / "new" / "u.nc")
        with xarray.open_dataset(file, engine="h5netcdf") as data:
            assert list(data.data_vars) == ["u"] and data.u.dims == ("path", "time")
            np.testing.assert_array_equal(data.u, one.us)
            np.testing.assert_array_equal(data.time, [0.25, 0.5])
            assert "UnshapedMLP" in data.attrs["limit"]
            assert data.attrs.get("width") == one.width
            assert data.attrs.get("dt0") == one.dt0


def test_networks_start_at_their_inputs():
    for rho0 in (-1.0, 0.3, 1 - 1e-9):
        one = networks(RELU, rho0, 0.5, 50, 2, saveat=[0.0, 0.5])
        np.testing.assert_allclose(one.us[:, 0], RELU.start(rho0, 50), rtol=1e-7)
        np.testing.assert_allclose(one.correlation()[:, 0], rho0)


def test_networks_of_any_width_approach_it():
    """From `u_0 = 0.1`, where the bias is small, with every kind of slopes."""
    for limit in (RELU, UnshapedMLP(1.0, -0.3), UnshapedMLP(0.5, -0.5)):
        us = networks(limit, limit.correlation(0.1, 200), 0.25, 200, 2000).us[:, -1]
        error = us.std() / np.sqrt(2000)
        assert abs(us.mean() - limit.mean(0.25, 0.1)) < 4 * error + 1 / 200


def test_inputs_that_have_become_one_have_no_nearness():
    """In narrow networks a layer often has one active unit, or none."""
    narrow = networks(RELU, 0.3, 4.0, 4, 200, saveat=np.arange(1, 17) / 4)
    gone = ~np.isfinite(np.asarray(narrow.us))
    assert 0 < gone[:, 0].sum() < gone[:, -1].sum() and not np.any(np.isnan(narrow.us))
    assert np.all(np.diff(gone.astype(int), axis=1) >= 0)
    np.testing.assert_array_equal(narrow.running, ~gone[:, -1])
    # what rounding leaves of equal inputs would be near 1e16
    assert np.max(narrow.us, where=~gone, initial=0) < 1e8
    assert np.all(narrow.correlation()[gone] == 1)


def test_networks_approach_it():
    """From ρ₀ = 0, with a bias of `O(log n/n)`: a third, from width 100 to 400."""
    bias, errors = [], []
    for width in (100, 400):
        u = np.asarray(networks(RELU, 0.0, 0.25, width, 2000).us[:, -1])
        bias.append(u.mean() - float(RELU.mean(0.25)))
        errors.append(u.std() / np.sqrt(len(u)))
    expected = np.log(400) / 400 / (np.log(100) / 100) * bias[0]
    assert bias[0] > 15 * errors[0]
    assert abs(bias[1] - expected) < 4 * errors[1] + 0.1 * bias[0]


def test_terms_are_those_of_the_equation():
    """Milstein's scheme on them approaches the solution by the same Brownian motion."""
    steps, u0 = 512, 0.2
    ts = jnp.linspace(0.0, 0.5, steps + 1)

    @jax.vmap
    def both(key):
        path = diffrax.VirtualBrownianTree(0.0, 0.5, 1e-4, (), key)
        solved = diffrax.diffeqsolve(
            RELU.terms(path), diffrax.ItoMilstein(), 0.0, 0.5, 0.5 / steps, u0
        )
        motion = jax.vmap(lambda t: path.evaluate(0.0, t))(ts[1:])
        log_growth = jnp.append(0.0, ts[1:] - 2**0.5 * motion)
        integral = jnp.trapezoid(jnp.exp(-log_growth), ts)
        exact = jnp.exp(log_growth[-1]) * (u0 + RELU.attraction / 2 * integral)
        return solved.ys[0], exact

    found, exact = both(jax.random.split(jax.random.key(5), 400))
    error = np.abs(found / exact - 1)
    assert np.median(error) < 4e-3 and error.max() < 0.05


# the ordinary calls, of the covariance of two inputs

V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
RUN = {"key": jax.random.key(2), "num_paths": 4000, "saveat": TIMES[:3]}


@pytest.fixture(scope="module")
def solved():
    return covsde.solve(RELU, V0, 0.5, **RUN)


def test_solve_has_the_law(solved):
    """An exact mean, and a second moment of weak order 3, within four standard errors."""
    assert isinstance(solved, covsde.UnshapedSolution)
    assert solved.us.shape == (4000, 3) and solved.dt0 == covsde.limits.unshaped.STEP
    u = np.asarray(solved.us)
    for power, exact in ((1, RELU.mean), (2, RELU.second_moment)):
        error = (u**power).std(axis=0) / np.sqrt(len(u))
        assert np.all(np.abs((u**power).mean(axis=0) - exact(TIMES[:3])) < 4 * error)


def test_a_call_of_its_own_has_the_same_paths():
    own = RELU.solve(0.5, key=RUN["key"], num_paths=50)
    ours = covsde.solve(RELU, V0, 0.5, key=RUN["key"], num_paths=50)
    np.testing.assert_allclose(ours.us, own.us, rtol=1e-13)
    several = covsde.solve(RELU, jnp.tile(V0, (50, 1, 1)), 0.5, key=KEY, num_paths=50)
    one = covsde.solve(RELU, V0, 0.5, key=KEY, num_paths=50)
    np.testing.assert_array_equal(several.us, one.us)


def test_an_ensemble_has_the_paths_of_solve(solved, tmp_path):
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    made = covsde.ensemble(
        RELU,
        V0,
        0.5,
        observables=RELU.observables(2),
        samples=5,
        chunk_size=1500,
        checkpoint=tmp_path / "run",
        save=tmp_path / "values.nc",
        **RUN,
    )
    np.testing.assert_array_equal(made.samples.vs, solved.us[:5])
    np.testing.assert_allclose(made["u"]["mean"], solved.us.mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(made["u"]["maximum"], solved.us.max(axis=0))
    assert np.all(made.stopped == 0) and "LinearParabola" in str(made)
    with xarray.open_dataset(tmp_path / "values.nc", engine="h5netcdf") as values:
        np.testing.assert_array_equal(values["values"][..., 0], solved.us)
    again = covsde.Ensemble.load(made.save(tmp_path / "u.nc"))
    np.testing.assert_array_equal(again.samples.vs, solved.us[:5])


def test_a_sweep_has_the_paths_of_solve_and_their_slopes():
    pytest.importorskip("xarray")
    options = RUN | {"saveat": None, "num_paths": 500}
    made = covsde.sweep(
        lambda slope: UnshapedMLP(1.0, slope),
        {"slope": [-0.3, 0.0]},
        V0,
        0.25,
        observables=RELU.observables(2),
        gradients="slope",
        **options,
    )
    there = covsde.solve(UnshapedMLP(1.0, -0.3), V0, 0.25, **options).us
    mean, slope = made["mean"].values[0].item(), made.gradient.values[0].item()
    np.testing.assert_allclose(mean, there.mean(), rtol=1e-12)
    exact = jax.grad(lambda s: UnshapedMLP(1.0, s).mean(0.25))(-0.3)
    assert abs(slope - exact) < 4 * made.gradient_standard_error.values[0].item()


def test_functionals_read_the_number(solved):
    kept = {"area": Integral(lambda u: u), "top": Maximum(Nearness())}
    made = covsde.solve(RELU, V0, 0.5, functionals=kept, **RUN)
    np.testing.assert_array_equal(made.us, solved.us)
    assert np.all(made.functionals["top"] >= made.us)
    # ∫ E u dt, by the trapezoidal rule on 8 steps
    ends = RELU.mean(np.linspace(0, 0.5, 9))
    area = np.asarray(made.functionals["area"][:, -1])
    assert abs(area.mean() - np.trapezoid(ends, dx=1 / 16)) < 4 * area.std() / 4000**0.5


@pytest.mark.parametrize("method", ["gram", "weights"])
def test_its_networks_are_sampled_by_the_ordinary_call(method):
    found = covsde.oracles.sample(
        RELU, V0, 0.5, width=16, key=KEY, num_networks=500, method=method
    )
    exact = networks(RELU, 0.3, 0.5, 16, 500).us[:, -1]
    u = np.asarray(found.us[:, -1])
    u, exact = u[np.isfinite(u)], np.asarray(exact)[np.isfinite(exact)]
    error = np.hypot(u.std(), exact.std()) / np.sqrt(500)
    assert abs(u.mean() - exact.mean()) < 4 * error
    assert (found.width, found.how) == (16, f'method "{method}"')


def test_a_network_reads_as_its_inputs_do():
    network = covsde.oracles.finite_network(RELU, 50)
    for rho in (-1.0, 0.3, 1 - 1e-9):
        v = jnp.array([[2.0, 2 * rho], [2 * rho, 2.0]])
        np.testing.assert_allclose(network.read(v), RELU.start(rho, 50), rtol=1e-6)
    gone = jnp.stack([jnp.ones((2, 2)), jnp.diag(jnp.array([1.0, 0.0]))])
    np.testing.assert_array_equal(network.read(gone), [np.inf, np.inf])
    narrow = covsde.oracles.sample(
        RELU, V0, 4.0, width=4, key=KEY, num_networks=200, saveat=np.arange(1, 17) / 4
    )
    lost = ~np.isfinite(np.asarray(narrow.us))
    assert 0 < lost[:, 0].sum() < lost[:, -1].sum() and not np.any(np.isnan(narrow.us))
    assert np.all(np.diff(lost.astype(int), axis=1) >= 0)


def test_the_solver_is_one_of_diffrax():
    path = diffrax.UnsafeBrownianPath((), KEY, levy_area=diffrax.SpaceTimeLevyArea)
    solved = diffrax.diffeqsolve(
        RELU.terms(path),
        covsde.LinearParabola(),
        0.0,
        0.5,
        0.25,
        0.1,
        adjoint=diffrax.DirectAdjoint(),
    )
    affine, u = Affine(RELU.attraction / 2, RELU.spread, -jnp.sqrt(RELU.spread)), 0.1
    for start in (0.0, 0.25):
        levy = path.evaluate(start, start + 0.25, use_levy=True)
        u, _ = affine.along(jnp.asarray(u), jnp.asarray(0.25), levy.W, levy.H)
    np.testing.assert_allclose(solved.ys[0], u, rtol=1e-12)
    assert covsde.LinearParabola().strong_order(None) == 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: covsde.solve(RELU, V0, 0.5, solver=covsde.WishartEuler(), **RUN),
            r"`solver` must be LinearParabola\(\) for UnshapedMLP",
        ),
        (
            lambda: covsde.solve(
                ShapedMLP(Identity()), V0, 0.5, solver=covsde.LinearParabola(), **RUN
            ),
            "`solver` must be of covariances",
        ),
        (
            lambda: covsde.solve(
                RELU, V0, 0.5, functionals={"w": LogWeight(lambda u: u)}, **RUN
            ),
            "`functionals` must not tilt UnshapedMLP",
        ),
        (
            lambda: covsde.ensemble(
                RELU, V0, 0.5, observables=covsde.observables.Correlation(0, 1), **RUN
            ),
            "`observables` must read a number u here",
        ),
        (
            lambda: covsde.sweep(
                lambda s: UnshapedMLP(1.0, s),
                {"s": [0.0, 1.0]},
                V0,
                0.5,
                observables=Nearness(),
                **RUN,
            ),
            "`slope_plus` and `slope_minus` must differ.* grid point s = 1",
        ),
        (
            lambda: covsde.oracles.sample(
                RELU, V0, 0.5, width=8, key=KEY, num_networks=2, stop_above=2.0
            ),
            "`stop_above` must be None for UnshapedMLP",
        ),
        (
            lambda: covsde.estimate(RELU, V0, 0.5, Nearness(), key=KEY, tol=0.1),
            "`limit` must be a covariance SDE for `estimate`; got UnshapedMLP",
        ),
        (
            lambda: covsde.convergence.study(
                RELU, [covsde.GeodesicStrang()], V0, 0.5, Nearness(), key=KEY
            ),
            "`limit` must be a covariance SDE for `study`; got UnshapedMLP",
        ),
        (
            lambda: covsde.convergence.nested(
                RELU, V0, 0.5, steps=(2, 4), key=KEY, num_paths=2
            ),
            "`limit` must be a covariance SDE for `nested`; got UnshapedMLP",
        ),
        (
            lambda: covsde.solve(
                RELU, V0.astype("float32"), 100.0, key=KEY, num_paths=2, dt0=1.0
            ),
            "`t1` must leave the state of UnshapedMLP below 4.1e.31, where float32 ends",
        ),
        (lambda: covsde.Block(RELU), "`sublayers` must be limits of covariances"),
    ],
)
def test_what_has_no_meaning_for_a_number_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
