"""`solve`: what it returns, how paths stop, and laws that are known exactly."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import gammainc

import covsde
from covsde import (
    BrownianGrid,
    FactorEuler,
    GeodesicStrang,
    Identity,
    PalindromicStrang,
    ProjectedEuler,
    ShapedMLP,
    ShapedReLU,
    ShapedSmooth,
    WishartEuler,
    default_solver,
    default_step,
    solve,
)
from covsde.matrices import factorise
from covsde.observables import mean_variance
from covsde.solve import step_times

KEY = jax.random.key(11)
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
LINEAR = ShapedMLP(Identity())
V0 = jnp.array([[1.2, 0.3], [0.3, 0.8]])
T, DT, PATHS = 0.5, 1 / 16, 6
SAVEAT = jnp.linspace(0.0, T, 5)


def run(limit=RELU, v0=V0, t1=T, **options):
    options = dict(key=KEY, num_paths=PATHS, dt0=DT, saveat=SAVEAT) | options
    return solve(limit, v0, t1, **options)


def assert_positive_definite(vs):
    vs = np.asarray(vs)
    assert np.all(np.isfinite(vs))
    np.testing.assert_array_equal(vs, np.swapaxes(vs, -1, -2))
    assert np.linalg.eigvalsh(vs).min() > 0


def assert_frozen(vs):
    """All equal, to the last bit."""
    np.testing.assert_array_equal(vs, np.broadcast_to(vs[0], vs.shape))


def assert_mean(samples, expected):
    """The mean over the first axis, to four standard errors."""
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - expected), 4 * error)


# What it returns


def test_shapes_and_what_was_run():
    solution = run()
    assert solution.vs.shape == (PATHS, 5, 2, 2)
    assert (solution.num_paths, solution.m) == (PATHS, 2)
    np.testing.assert_array_equal(solution.ts, SAVEAT)
    np.testing.assert_allclose(
        solution.vs[:, 0], jnp.broadcast_to(V0, (PATHS, 2, 2)), rtol=1e-15
    )
    np.testing.assert_array_equal(solution.stopped_at, np.full(PATHS, np.inf))
    assert_positive_definite(solution.vs)
    assert isinstance(solution.solver, GeodesicStrang)
    assert solution.limit is RELU
    assert solution.dt0 == DT
    assert jnp.array_equal(jax.random.key_data(solution.key), jax.random.key_data(KEY))
    assert solution.projections is None
    assert solution.width is None and solution.method is None


def test_without_saveat_the_end_alone_is_saved():
    # the saved times of `run` are ends of the same steps
    solution = run(saveat=None)
    assert solution.vs.shape == (PATHS, 1, 2, 2)
    np.testing.assert_array_equal(solution.ts, [T])
    np.testing.assert_allclose(solution.vs[:, 0], run().vs[:, -1], rtol=1e-12)


def test_times_saved_are_ends_of_steps():
    np.testing.assert_allclose(
        step_times(np.array([0.0, 0.1, 0.35]), 1.0, 0.1),
        [0.0, 0.1, 0.1 + 0.25 / 3, 0.1 + 0.5 / 3, 0.35]
        + [0.35 + 0.65 * i / 7 for i in range(1, 8)],
        rtol=1e-15,
    )
    np.testing.assert_array_equal(step_times(np.array([1.0]), 1.0, 1.0), [0.0, 1.0])
    # 0.3 is three steps of 0.1, though 0.3/0.1 is rounded to more than 3
    assert len(step_times(np.array([0.1 + 0.2]), 0.1 + 0.2, 0.1)) == 4


def test_float32_stays_float32():
    # 0.7 is no float32: neither is the last time to save, which is t1 all the same
    saveat = jnp.linspace(0.0, 0.7, 8, dtype=jnp.float32)
    solution = run(v0=V0.astype(jnp.float32), t1=0.7, saveat=saveat)
    for array in (solution.ts, solution.vs, solution.stopped_at):
        assert array.dtype == jnp.float32
    np.testing.assert_array_equal(solution.ts, saveat)
    assert_positive_definite(solution.vs)


def test_integers_and_lists_are_numbers():
    solution = run(v0=[[2, 1], [1, 2]])
    assert solution.vs.dtype == jnp.float64
    np.testing.assert_array_equal(
        solution.vs, run(v0=jnp.array([[2.0, 1.0], [1.0, 2.0]])).vs
    )


# Which numbers


def test_the_same_key_gives_the_same_bits():
    np.testing.assert_array_equal(run().vs, run().vs)
    other = run(key=jax.random.key(12)).vs
    assert not np.any(np.asarray(run().vs[:, 1:]) == np.asarray(other[:, 1:]))
    # a raw key is the same key
    raw = jax.random.key_data(KEY)
    np.testing.assert_array_equal(run(key=raw).vs, run().vs)


def test_paths_do_not_depend_on_how_many_there_are():
    np.testing.assert_allclose(run(num_paths=2 * PATHS).vs[:PATHS], run().vs, rtol=1e-12)


def test_a_start_for_each_path():
    scale = jnp.linspace(0.5, 2.0, PATHS)[:, None, None]
    # the ReLU's SDE is homogeneous: paths are scaled by what their start is
    each = run(v0=V0[None] * scale).vs
    np.testing.assert_allclose(each, run().vs * scale[:, None], rtol=1e-12)


def test_duplicate_inputs_stay_equal():
    v0 = jnp.array([[1.2, 0.3, 1.2], [0.3, 0.8, 0.3], [1.2, 0.3, 1.2]])
    vs = run(v0=v0).vs
    assert np.all(np.isfinite(vs))
    np.testing.assert_allclose(vs[..., 2, :], vs[..., 0, :], rtol=1e-12)
    np.testing.assert_allclose(vs[..., 2, 2], vs[..., 0, 0], rtol=1e-12)
    assert np.linalg.eigvalsh(vs[..., :2, :2]).min() > 0


# Stopping


def test_a_path_stops_by_itself():
    """Below the level a path is what it is without.

    But for the error of the drift's flow, of which there are twice as many then, to have
    a state to look at after every step.
    """
    saveat = jnp.linspace(0.0, 2.0, 65)  # every step
    options = dict(t1=2.0, saveat=saveat, num_paths=50)
    free, stopped = run(**options), run(stop_above=1.6, **options)
    above = np.asarray(mean_variance(free.vs)) > 1.6
    times = np.asarray(stopped.stopped_at)
    assert 5 < np.isfinite(times).sum() < 45
    for i, time in enumerate(times):
        # a path may have crossed the level between two steps, and come back
        first = above[i].argmax() if above[i].any() else 65
        end = min(first, np.searchsorted(saveat, time))
        np.testing.assert_allclose(
            stopped.vs[i, :end], free.vs[i, :end], rtol=1e-4, atol=1e-5
        )
        if np.isfinite(time):
            assert time <= saveat[min(first, 64)]
            after = np.asarray(stopped.vs[i, np.searchsorted(saveat, time) :])
            assert_frozen(after)
            size = np.trace(after, axis1=1, axis2=2) / 2
            np.testing.assert_allclose(size, 1.6, rtol=1e-12)
        else:
            assert not above[i].any()
    np.testing.assert_array_equal(free.stopped_at, np.full(50, np.inf))


def test_first_passage_is_of_order_one():
    """One input: `P(max V > K)` of a geometric Brownian motion, by reflection.

    Without a look between the ends of steps, 8 of them miss 0.07 of it.
    """
    level, t, steps, num_paths = 1.8, 0.5, 8, 100_000
    solution = solve(
        LINEAR,
        jnp.ones((1, 1)),
        t,
        key=KEY,
        num_paths=num_paths,
        dt0=t / steps,
        stop_above=level,
    )
    share = np.mean(np.isfinite(solution.stopped_at))
    a, deviation = np.log(level), np.sqrt(2 * t)
    exact = stats.norm.sf((a + t) / deviation) + np.exp(-a) * stats.norm.cdf(
        (t - a) / deviation
    )
    error = np.sqrt(exact * (1 - exact) / num_paths)
    print(f"{share:.4f} ± {error:.4f}, exact {exact:.4f}")
    assert abs(share - exact) < 4 * error


def test_an_explosion_reads_as_infinite():
    silu = ShapedMLP(ShapedSmooth(jax.nn.silu, a=0.5))  # κ = 3
    saveat = jnp.linspace(0.0, 2.0, 65)
    solution = run(silu, t1=2.0, saveat=saveat, dt0=1 / 32, num_paths=50)
    vs, stopped = np.asarray(solution.vs), np.asarray(solution.stopped_at)
    exploded = np.isfinite(stopped)
    assert 5 < exploded.sum() < 45
    after = np.asarray(saveat)[None] >= stopped[:, None]
    assert_positive_definite(vs[~after])
    assert np.all(np.isposinf(np.diagonal(vs[after], axis1=1, axis2=2)))
    assert np.all(np.isnan(vs[after][:, 0, 1]))
    # the others go on
    assert np.all(vs[~exploded, -1] != vs[~exploded, -2])


# Laws known exactly


def test_probability_of_explosion():
    """`P = P(κ+1, κ v₀)`, the regularised incomplete gamma function (Theorem 3.10).

    Only the step is approximate: a path that is said to explode has left a state above
    `2/(κ h) = 64`, from where the exact one comes back with a probability below e⁻⁶⁰.
    """
    silu, v0 = ShapedMLP(ShapedSmooth(jax.nn.silu, a=0.75**0.5)), 1.5
    kappa = float(silu.activation.stability_index)
    solution = solve(
        silu, jnp.full((1, 1), v0), 12.0, key=KEY, num_paths=40_000, dt0=1 / 32
    )
    exploded = np.isfinite(solution.stopped_at)
    expected = gammainc(kappa + 1, kappa * v0)
    error = np.sqrt(expected * (1 - expected) / len(exploded))
    print(f"P(explosion) {exploded.mean():.4f} ± {error:.4f}, exact {expected:.4f}")
    # undecided paths, which may still explode, are rarer than the error
    undecided = np.asarray(solution.vs)[~exploded, 0, 0, 0] > 0.05
    assert undecided.mean() < 0.1 * error
    assert abs(exploded.mean() - expected) < 4 * error


def test_stationary_law():
    """Below κ = −1 one variance tends to Gamma(shape −κ−1, rate −κ)."""
    tanh = ShapedMLP(ShapedSmooth(jnp.tanh, a=0.6))
    kappa = float(tanh.activation.stability_index)
    assert kappa == pytest.approx(-2 / 0.36)
    # 1/V has a linear drift, by which its mean forgets the start like e^{−(|κ|−2)t}
    assert np.exp((kappa + 2) * 3.0) < 1e-4
    solution = solve(tanh, jnp.ones((1, 1)), 3.0, key=KEY, num_paths=40_000, dt0=1 / 64)
    v = np.asarray(solution.vs).ravel()
    law = stats.gamma(-kappa - 1, scale=-1 / kappa)
    assert law.mean() == pytest.approx(0.8200) and law.var() == pytest.approx(0.1476)
    assert_mean(v, law.mean())
    assert_mean((v - v.mean()) ** 2, law.var())
    assert stats.kstest(v, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "solver",
    [
        GeodesicStrang(),
        PalindromicStrang(),
        WishartEuler(),
        FactorEuler(),
        ProjectedEuler(),
        diffrax.Euler(),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_every_solver_gives_the_law_of_a_linear_network(solver):
    """`E V = V₀` and `log V^{aa} ~ N(log V₀^{aa} − t, 2t)`."""
    solution = solve(LINEAR, V0, 0.25, key=KEY, num_paths=4000, dt0=1 / 256, solver=solver)
    assert solution.vs.shape == (4000, 1, 2, 2)
    assert_positive_definite(solution.vs)
    assert_mean(solution.vs[:, 0], V0)
    for a in range(2):
        log_growth = np.log(solution.vs[:, 0, a, a] / V0[a, a])
        assert stats.kstest((log_growth + 0.25) / np.sqrt(0.5), "norm").pvalue > 1e-3


# One's own drift and activation


class Restoring(covsde.AbstractDrift):
    """`b = target − V`: pulls V to a covariance."""

    target: jax.Array

    def __call__(self, t, v, args):
        return self.target - v


class RestoringLimit(covsde.AbstractLimit):
    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion = covsde.CongruenceDiffusion(0.5)


TARGET = jnp.array([[1.0, -0.6], [-0.6, 2.0]])
RESTORING = RestoringLimit(Restoring(TARGET))


def test_a_drift_of_ones_own():
    saveat = jnp.array([1.0, 4.0])
    solution = solve(RESTORING, V0, 4.0, key=KEY, num_paths=10_000, saveat=saveat)
    assert_positive_definite(solution.vs)
    for i, t in enumerate(saveat):  # dE V = (target − E V) dt
        assert_mean(solution.vs[:, i], TARGET + (V0 - TARGET) * np.exp(-t))


class CubicByHand(covsde.AbstractActivation):
    """`φ_s(x) = x − x³/6n`: φ₂ = 0, φ₃ = −1."""

    def shaped(self, x, width):
        return x - x**3 / (6 * width)

    def drift(self, v_aa, v_bb, v_ab):
        return -0.5 * v_ab * (v_aa + v_bb - 2)


CUBIC = ShapedSmooth(lambda x: x - x**3 / 6, a=1.0)


def test_an_activation_of_ones_own():
    gaps = []
    for h in (1 / 4, 1 / 8):  # one step, with the noise of one key
        options = dict(t1=h, dt0=h, num_paths=200, saveat=None)
        ours, theirs = (run(ShapedMLP(a), **options).vs for a in (CubicByHand(), CUBIC))
        assert_positive_definite(ours)
        gaps.append(np.sqrt(np.mean((ours - theirs) ** 2)))
    # two flows of second order: they are apart by O(h³) in a step
    assert np.log2(gaps[0] / gaps[1]) > 2.5
    # the finite network is there at once
    x = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_allclose(CubicByHand().shaped(x, 50), CUBIC.shaped(x, 50), rtol=1e-13)
    assert float(CubicByHand().normalising_constant(50)) == pytest.approx(
        float(CUBIC.normalising_constant(50))
    )


# The baseline that projects


def test_projections_are_counted():
    """Against Euler steps and projections written out, on the same Brownian path."""
    h, steps = 0.25, 8
    solution = solve(
        RESTORING, V0, h * steps, key=KEY, num_paths=20, dt0=h, solver=ProjectedEuler()
    )
    path = BrownianGrid(jnp.linspace(0.0, h * steps, steps + 1), 2, key=KEY, num_paths=20)
    v, counts = np.broadcast_to(V0, (20, 2, 2)).copy(), np.zeros(20, int)
    for step in range(steps):
        d_s = np.asarray(path.cell(jnp.asarray(step)).symmetrise(2**0.5).to_dense())
        factor = np.asarray(factorise(jnp.asarray(v)).to_dense())
        noise = np.sqrt(0.5) * factor @ d_s @ np.swapaxes(factor, 1, 2)
        euler = v + (np.asarray(TARGET) - v) * h + noise
        values, vectors = np.linalg.eigh(euler)
        left = values.min(axis=1) <= 0
        cut = (vectors * np.maximum(values, 0)[:, None]) @ np.swapaxes(vectors, 1, 2)
        v = np.where(left[:, None, None], cut, euler)
        counts += left
    np.testing.assert_array_equal(solution.projections, counts)
    np.testing.assert_allclose(solution.vs[:, 0], v, rtol=0, atol=1e-12)
    assert 0 == counts.min() < counts.max() < steps


# The step


@pytest.mark.parametrize(
    "solver, limit, m, expected",
    [
        (GeodesicStrang(), LINEAR, 2, 1 / 16),
        (GeodesicStrang(), LINEAR, 20, 0.5 / 20**1.5),
        (PalindromicStrang(), LINEAR, 20, 0.5 / 20**1.5),
        (GeodesicStrang(), ShapedMLP(ShapedReLU(3.0, -3.0)), 2, 1 / 36),  # 1/(4r), r = 9
        (GeodesicStrang(), ShapedMLP(ShapedSmooth(jnp.tanh, 0.5)), 2, 1 / 32),  # r = 8
        (WishartEuler(), LINEAR, 2, 1 / 128),
        (FactorEuler(), LINEAR, 20, 0.5 / 20**1.5 / 8),
        (ProjectedEuler(), LINEAR, 20, 0.5 / 20**1.5 / 8),
        (diffrax.Euler(), LINEAR, 2, 1 / 128),
        (GeodesicStrang(), RESTORING, 20, 1 / 20**1.5),  # Γ = ½
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, int | float) else f"{x:.3g}",
)
def test_default_step(solver, limit, m, expected):
    assert default_step(solver, limit, m) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GeodesicStrang(), RELU, 0), "`m` must be an integer of at least 1; got 0"),
        ((GeodesicStrang(), RELU, 2.5), "`m` must be an integer"),
        ((GeodesicStrang(), "mlp", 2), "`limit` must be a limit"),
        ((GeodesicStrang, RELU, 2), "`solver` must be a solver of covsde"),
        ((None, RELU, 2), "`solver` must be a solver of covsde"),
        (
            (GeodesicStrang(), covsde.UnshapedMLP(), 2),
            r"`solver` must be LinearParabola\(\) for UnshapedMLP.*Pass that one",
        ),
        (
            (covsde.LinearParabola(), RELU, 2),
            r"`solver` must be of covariances.*Pass `default_solver\(limit\)`",
        ),
        ((GeodesicStrang(), RELU, 2, None, -1.0), "`t1` must be a positive finite time"),
        ((GeodesicStrang(), RELU, 2, jnp.eye(3)), r"`v0` must be covariances \(2, 2\)"),
    ],
)
def test_the_default_step_checks_its_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        default_step(*arguments)
    with pytest.raises(TypeError, match="`limit` must be a limit"):
        default_solver(3)  # pyright: ignore[reportArgumentType]


def test_the_default_step_is_within_the_bound():
    for m in (1, 2, 8, 64):
        for limit in (LINEAR, RELU, ShapedMLP(ShapedReLU(40.0, -40.0))):
            for solver in (GeodesicStrang(), PalindromicStrang(), WishartEuler()):
                bound = float(solver.max_step(limit, m))
                assert default_step(solver, limit, m) <= 0.5 * bound * (1 + 1e-12)


def test_the_default_step_is_what_is_taken():
    solution = run(dt0=None)
    assert solution.dt0 == default_step(GeodesicStrang(), RELU, 2) == 1 / 16
    np.testing.assert_array_equal(solution.vs, run().vs)


# Files


def test_to_xarray_and_back(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    solution = dataclasses.replace(run(stop_above=1.2), projections=jnp.arange(PATHS))
    file = solution.save(tmp_path / "new" / "folder" / "paths.nc")
    assert file == tmp_path / "new" / "folder" / "paths.nc"
    with xarray.open_dataset(file, engine="h5netcdf") as saved:
        assert saved.v.dims == ("path", "time", "a", "b")
        np.testing.assert_array_equal(saved.v, solution.vs)
        np.testing.assert_array_equal(saved.time, solution.ts)
        np.testing.assert_array_equal(saved.stopped_at, solution.stopped_at)
        np.testing.assert_array_equal(saved.projections, solution.projections)
        assert np.any(np.isfinite(saved.stopped_at)) and np.any(np.isinf(saved.stopped_at))
        assert saved.attrs["solver"] == "GeodesicStrang"
        assert saved.attrs["dt0"] == DT
        assert saved.attrs["time_unit"] == "depth/width"
        key = jax.random.wrap_key_data(jnp.asarray(saved.attrs["key"], jnp.uint32))
        assert key == KEY
        # the limit's parameters, not only their kind
        assert "ShapedReLU" in saved.attrs["limit"] and "-1." in saved.attrs["limit"]
    assert "projections" not in run().to_xarray()
