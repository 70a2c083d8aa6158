"""Sweeps: each point is a solve with its key, by one compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ShapedMLP, ShapedReLU, sweep
from covsde.observables import Correlation, Entry

pytest.importorskip("xarray")

V0 = jnp.array([[1.0, 0.3], [0.3, 0.8]])
KEY, PATHS, T, DT = jax.random.key(3), 300, 0.5, 0.125
TIMES = [0.25, T]
GRID = {"c_minus": [-1.0, -0.5, -0.2], "c_plus": [0.0, 0.4]}
OBSERVABLES = {"rho": Correlation(0, 1), "v00": Entry(0, 0)}


def make(c_plus, c_minus):
    return ShapedMLP(ShapedReLU(c_plus, c_minus))


def run(parameters=GRID, v0=V0, t1=T, make=make, **change):
    arguments = dict(key=KEY, num_paths=PATHS, observables=OBSERVABLES, dt0=DT)
    return sweep(make, parameters, v0, t1, **(arguments | change))


@pytest.fixture(scope="module")
def grid():
    return run(saveat=TIMES, gradients=("c_minus", "c_plus"))


def by_solve(c_minus, c_plus, v0=V0):
    limit = make(c_plus, c_minus)
    return covsde.solve(limit, v0, T, key=KEY, num_paths=PATHS, dt0=DT, saveat=TIMES)


def test_a_point_is_a_solve(grid):
    vs = by_solve(-0.5, 0.4).vs
    here = grid.sel(c_minus=-0.5, c_plus=0.4, observable="rho")
    rho = np.asarray(OBSERVABLES["rho"](vs))
    np.testing.assert_allclose(here["mean"], rho.mean(0), rtol=1e-12)
    deviation = rho.std(0, ddof=1)
    np.testing.assert_allclose(here["standard_deviation"], deviation, rtol=1e-10)
    error = deviation / PATHS**0.5
    np.testing.assert_allclose(here["standard_error"], error, rtol=1e-10)
    median = np.sort(rho, axis=0)[PATHS // 2 - 1]
    np.testing.assert_allclose(here["quantile"].sel(level=0.5), median, rtol=2**-7)
    assert (grid["stopped"] == 0).all() and (grid["left_out"] == 0).all()


def test_several_observables_are_called_by_their_labels():
    parameters = {"c_plus": [0.0], "c_minus": [-1.0]}
    several = run(parameters, observables=[Entry(0, 0), Correlation(0, 1)])
    assert list(several["observable"]) == ["V[0,0]", "ρ[0,1]"]


def test_labels(grid):
    sizes = dict(c_minus=3, c_plus=2, observable=2, time=2, level=5, parameter=2)
    assert dict(grid.sizes) == sizes
    assert grid["mean"].dims == ("c_minus", "c_plus", "observable", "time")
    assert grid["gradient"].dims[2:] == ("parameter", "observable", "time")
    np.testing.assert_array_equal(grid["c_minus"], GRID["c_minus"])
    np.testing.assert_array_equal(grid["time"], TIMES)
    assert grid.attrs["solver"] == "GeodesicStrang()" and grid.attrs["dt0"] == DT


def test_gradients_are_those_of_the_same_paths(grid):
    e = 1e-4
    here = grid["gradient"].sel(c_minus=-0.5, c_plus=0.4, observable="rho")
    for name, step in (("c_minus", (e, 0.0)), ("c_plus", (0.0, e))):
        up, down = (
            OBSERVABLES["rho"](by_solve(-0.5 + s * step[0], 0.4 + s * step[1]).vs)
            for s in (1, -1)
        )
        slopes = np.asarray(up - down) / (2 * e)
        found = here.sel(parameter=name)
        np.testing.assert_allclose(found, slopes.mean(0), rtol=1e-5)
        error = grid["gradient_standard_error"].sel(
            c_minus=-0.5, c_plus=0.4, observable="rho", parameter=name
        )
        expected = slopes.std(0, ddof=1) / PATHS**0.5
        np.testing.assert_allclose(error, expected, rtol=1e-4)


def test_one_program_for_any_values():
    traced = {"make": 0, "observable": 0}

    def counted(c_minus):
        traced["make"] += isinstance(c_minus, jax.core.Tracer)
        return make(0.0, c_minus)

    def rho(v):
        traced["observable"] += 1
        return v[:, 0, 1]

    def once(values, make=counted, **change):
        return run(dict(c_minus=values), make=make, observables=rho, **change)

    first = once([-1.0, -0.5, -0.2])
    compiled = dict(traced)
    # abstractly, for the checks, and an observable in the program
    assert compiled == {"make": 1, "observable": 2}
    again = once(np.array([-0.5, -0.8, -0.3]), make=lambda c_minus: counted(c_minus))
    assert traced == {"make": 2, "observable": 3}  # the checks alone
    np.testing.assert_array_equal(first["mean"][1], again["mean"][0])
    apart = once([-1.0, -0.5, -0.2], independent=True)
    assert not np.isin(apart["mean"][1:], first["mean"]).any()
    # 4 standard errors of a difference of independent means
    gap, error = abs(apart - first)["mean"], first["standard_error"]
    assert (gap < 4 * 2**0.5 * error).all()


def test_starts_and_the_default_step():
    steep = jnp.array([[1.0, -0.2], [-0.2, 2.0]])
    swept = run(dict(c_minus=[-0.5, -9.0]), jnp.stack([V0, steep]), make=sloped, dt0=None)
    assert swept["mean"].dims == ("c_minus", "start", "observable", "time")
    limit = sloped(-9.0)
    step = covsde.default_step(covsde.GeodesicStrang(), limit, 2)
    assert swept.attrs["dt0"] == step < 1 / 16
    solution = covsde.solve(limit, steep, T, key=KEY, num_paths=PATHS)
    mean = np.mean(solution.vs[:, -1, 0, 0])
    found = swept["mean"].sel(c_minus=-9.0, start=1, observable="v00")
    np.testing.assert_allclose(found, [mean], rtol=1e-12)


def sloped(c_minus):
    return make(0.0, c_minus)


def test_stopped_paths_are_told():
    swept = run(dict(c_minus=[-1.0]), make=sloped, stop_above=1.5, saveat=TIMES)
    limit = sloped(-1.0)
    solution = covsde.solve(
        limit, V0, T, key=KEY, num_paths=PATHS, dt0=DT, saveat=TIMES, stop_above=1.5
    )
    running = np.asarray(solution.stopped_at)[:, None] > np.array(TIMES)
    np.testing.assert_allclose(swept["stopped"][0], 1 - running.mean(0))
    values = np.where(running, solution.vs[..., 0, 0], np.nan)
    found = swept["mean"].sel(observable="v00")[0]
    np.testing.assert_allclose(found, np.nanmean(values, 0), rtol=1e-12)


def valued(c_minus):
    return sloped(-1.0 if c_minus < -1 else c_minus)


def exploding(a):
    return ShapedMLP(covsde.ShapedSmooth(jax.nn.silu, a))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (dict(parameters=[1.0]), TypeError, r"`parameters` must be a dict.*got \[1.0\]"),
        (dict(parameters={"time": [1.0]}), ValueError, "`parameters` must be named"),
        (dict(parameters={"c": "a"}), TypeError, r"`parameters\['c'\]` must be a seq.*'a'"),
        (dict(parameters={"c": 1.0}), ValueError, r"`parameters\['c'\]`.*shape \(\)"),
        (dict(parameters={"c": [1, 1]}), ValueError, "a value twice. Pass `np.unique`"),
        (dict(parameters={"c": [np.nan]}), ValueError, "must be finite; got nan"),
        (dict(make=3), TypeError, "`make` must be a function.*got 3"),
        (
            dict(make=valued),
            TypeError,
            "`make` must build its limit from param.*`jax.numpy`",
        ),
        (dict(make=lambda c_minus: V0), TypeError, "`limit` must be a limit"),
        (
            dict(parameters={"c_minus": [-1.0, -9.0]}, dt0=0.2),
            ValueError,
            "`dt0` must be at most .* At the grid point c_minus = -9",
        ),
        (
            dict(v0=V0[None, None]),
            ValueError,
            r"`v0` must have shape .*starts.*\(1, 1, 2, 2\)",
        ),
        (
            dict(observables=lambda v: v),
            ValueError,
            r"one real number for each path.*\(7, 2, 2",
        ),
        (
            dict(gradients=("gamma",)),
            ValueError,
            "`gradients` must be names of.*got 'gamma'",
        ),
        (
            dict(gradients=("c_minus",), stop_above=9.0),
            ValueError,
            "can be stopped.*Take diff",
        ),
        (
            dict(parameters={"a": [1.0]}, make=exploding, gradients="a"),
            ValueError,
            "can be stopped.*Take diff",
        ),
        (dict(num_paths=0), ValueError, "`num_paths` must be"),
        (dict(key=0), TypeError, "`key` must be a JAX random key.*c_minus = -1"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(change, error, words, monkeypatch):
    import sys

    def nothing(*_):
        pytest.fail("bad input was simulated")

    monkeypatch.setattr(sys.modules["covsde.sweep._sweep"], "tally_at", nothing)
    change = dict(parameters={"c_minus": [-1.0]}, make=sloped) | change
    with pytest.raises(error, match=words):
        run(**change)


def test_values_are_known():
    with pytest.raises(TypeError, match=r"must be known for `sweep`.*outside `jit`"):
        jax.jit(lambda v0: run(dict(c_minus=[-1.0]), v0, make=sloped)["mean"].values)(V0)
