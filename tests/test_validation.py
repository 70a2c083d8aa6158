"""The validation finds what is wrong, passes what is right, and says what it left out."""

import dataclasses
import functools
import math
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import covsde
from covsde import oracles
from covsde._names import full_name
from covsde.observables import (
    AbstractObservable,
    Correlation,
    LogDet,
    LogNorm,
    MeanVariance,
    Nearness,
)
from covsde.validation import _rows, _statistics, _together, measure, validate
from covsde.validation._together import together

KEY = jax.random.key(20)
V0 = jnp.array([[1.0, 0.3], [0.3, 1.2]])
RELU = covsde.ShapedMLP(covsde.ShapedReLU(1.0, -1.0))


class Impostor(covsde.ShapedMLP):
    """A limit that is held against the networks of another activation."""


@oracles.finite_network.register(Impostor)
def _(limit, width):
    return oracles.finite_network(covsde.ShapedMLP(covsde.Identity()), width)


@pytest.fixture(scope="module")
def report():
    """The right limit, narrow and wide."""
    calls = []
    made = validate(
        RELU,
        V0,
        0.5,
        width=(128, 8),
        key=KEY,
        num_paths=6_000,
        num_networks=3_000,
        saveat=jnp.array([0.125, 0.25]),
        progress=lambda *call: calls.append(call),
    )
    return made, calls


# distances


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=500), rng.normal(0.3, 2, size=300)
    x[:20] = y[:20]  # ties
    found = _statistics.distances(x, y)
    assert found.ks == pytest.approx(scipy.stats.ks_2samp(x, y).statistic)
    assert found.wasserstein == pytest.approx(scipy.stats.wasserstein_distance(x, y))


def test_the_level_is_exceeded_in_one_sample_of_twenty():
    rng = np.random.default_rng(1)
    repetitions, n, k = 4_000, 400, 300
    level = _statistics.ks_level(n, k)
    ks = [
        _statistics.distances(rng.normal(size=n), rng.normal(size=k)).ks
        for _ in range(repetitions)
    ]
    exceeded = np.mean(np.array(ks) > level)
    # the asymptotic level is slightly conservative: at these sizes by up to 1/√n
    assert exceeded < 0.05 + 4 * math.sqrt(0.05 * 0.95 / repetitions)
    assert exceeded > 0.05 * (1 - 0.3) - 4 * math.sqrt(0.05 * 0.95 / repetitions)


def test_the_exponent_of_a_power_law():
    widths = np.array([32, 64, 128])
    assert _statistics.decay_exponent(widths, 3.0 / widths) == pytest.approx(-1)
    assert math.isnan(_statistics.decay_exponent(widths[:1], 1.0 / widths[:1]))


# right and wrong limits


def test_a_right_limit_agrees_at_large_width(report):
    rows = [row for row in report[0].rows if row.width == 128]
    assert [row.observable for row in rows] == [
        "log V[0,0]",
        "log V[1,1]",
        "ρ[0,1]",
        "log det V",
    ]
    # the level at which one of four rows is exceeded with probability 1 %
    factor = math.sqrt(math.log(0.01 / 4 / 2) / math.log(0.05 / 2))
    for row in rows:
        assert row.ks < factor * row.ks_level
        error = math.hypot(row.limit_se, row.network_se)
        assert abs(row.limit_mean - row.network_mean) < 4 * error


def test_a_narrow_network_is_told_from_the_limit(report):
    narrow = {row.observable: row for row in report[0].rows if row.width == 8}
    wide = {row.observable: row for row in report[0].rows if row.width == 128}
    assert narrow["log det V"].above
    assert narrow["log det V"].ks > 2 * wide["log det V"].ks


def test_a_wrong_activation_is_found_out():
    limit = Impostor(covsde.ShapedReLU(1.5, -1.5))
    wrong = validate(limit, V0, 0.5, width=(64, 128), key=KEY, num_networks=3_000)
    rho = [row for row in wrong.rows if row.kind == "rho"]
    assert all(row.above for row in rho)
    # and it does not go away as the width grows
    assert rho[-1].ks > 0.8 * rho[0].ks > 3 * rho[0].ks_level
    line = next(line for line in wrong.table().splitlines() if line.startswith("ρ[0,1]"))
    assert line.count("*") == 2 and "n^" in line


# the unshaped limit, of one number


RELU_UNSHAPED = covsde.UnshapedMLP()


class UnshapedImpostor(covsde.UnshapedMLP):
    """A limit that solves the equation of other slopes than its networks have."""

    @property
    def attraction(self):
        return covsde.UnshapedMLP(1.0, -0.3).attraction

    @property
    def spread(self):
        return covsde.UnshapedMLP(1.0, -0.3).spread


def unshaped(limit=RELU_UNSHAPED, **change):
    arguments = {"v0": V0, "t1": 0.5, "width": (64, 256), "key": KEY} | change
    arguments = {"num_paths": 4_000, "num_networks": 1_000} | arguments
    return validate(limit, arguments.pop("v0"), arguments.pop("t1"), **arguments)


def test_networks_approach_the_unshaped_limit():
    calls = []
    made = unshaped(progress=lambda *call: calls.append(call))
    assert [row.observable for row in made.rows] == ["u", "u"]
    narrow, wide = made.rows
    # a bias of O(log n/n) falls to a third
    assert narrow.above and wide.ks < narrow.ks / 2
    assert narrow.initial == 0 and (narrow.a, narrow.b) == (None, None)
    u = [np.asarray(one.us[:, -1]) for one in (made.limit, made.networks[1])]
    assert wide.ks == pytest.approx(scipy.stats.ks_2samp(*u).statistic)
    assert wide.network_mean == pytest.approx(u[1].mean())
    exact = float(RELU_UNSHAPED.mean(0.5))
    assert abs(wide.limit_mean - exact) < 4 * wide.limit_se
    assert {("limit", 0, 4_000), ("n = 256", 1_000, 1_000)} <= set(calls)
    table = made.table()
    assert "UnshapedMLP(slope_plus=1, slope_minus=0)" in table and "O(log n/n)" in table
    assert "steps of at most 0.0625" in table and "inputs count" not in table
    # 1/(n √(1−ρ₀)) at ρ₀ = 0.3/√1.2
    words = " ".join(table.split())
    assert "u starts at 0 in the limit, in networks at 0.0183 (n = 64)" in words


def test_wrong_slopes_are_found_out():
    narrow, wide = unshaped(UnshapedImpostor(1.0, 0.0)).rows
    assert wide.ks > 3 * wide.ks_level and wide.ks > 0.8 * narrow.ks


def test_the_right_slopes_of_a_leaky_network_are_not():
    narrow, wide = unshaped(covsde.UnshapedMLP(1.0, -0.3)).rows
    assert wide.ks < narrow.ks / 2


def test_networks_whose_inputs_have_become_one_are_counted_and_left_out():
    made = unshaped(width=8, t1=1.0, num_networks=500)
    nearness, share = made.rows
    assert (nearness.kind, share.kind) == ("u", "stopped")
    gone = int((~made.networks[0].running).sum())
    assert 0 < gone == 500 - nearness.num_networks
    assert share.limit_mean == 0 and share.network_mean == gone / 500
    assert np.isfinite(nearness.network_mean)
    assert "become one" in made.table()


def test_a_report_of_the_unshaped_limit_is_saved_and_drawn(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    pytest.importorskip("matplotlib")
    made = unshaped(
        width=(16, 32),
        num_paths=100,
        num_networks=100,
        saveat=jnp.array([0.25]),
    )
    for solution in (made.limit, *made.networks):
        np.testing.assert_allclose(solution.ts, [0.25, 0.5])
    files = [*made.save(tmp_path), *made.figures(tmp_path)]
    assert {file.name for file in files} == {
        "report.nc",
        "table.txt",
        "limit.nc",
        "networks-16.nc",
        "networks-32.nc",
        "densities.png",
        "fan.png",
    }
    with xarray.open_dataset(tmp_path / "report.nc", engine="h5netcdf") as data:
        assert data.ks.sel(observable="u", width=32).item() == made.rows[1].ks
        assert "O(log n/n)" in data.attrs["ks_bias"]
    with xarray.open_dataset(tmp_path / "networks-16.nc", engine="h5netcdf") as data:
        np.testing.assert_array_equal(data.u, made.networks[0].us)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v0": jnp.eye(3)}, r"`v0` must be the covariance of two.*\(3, 3\).*v0\[:2, :2\]"),
        ({"v0": jnp.ones((2, 2))}, "`v0` must have a correlation below 1.*got 1"),
        (
            {"v0": 2 * jnp.eye(2) - 1, "limit": covsde.UnshapedMLP(1.0, -1.0)},
            "`v0` must have a correlation between -1 and 1 for an even.*got -1",
        ),
        ({"v0": jnp.array([[1.0, 2.0], [2.0, 1.0]])}, "`v0` must be positive"),
        (
            {"solver": covsde.GeodesicStrang()},
            r"`solver` must be LinearParabola\(\).*Geodesic.*Pass that one",
        ),
        ({"stop_above": 8.0}, "`stop_above` must be None.*got 8.0.*Leave it out"),
        ({"method": "angles"}, '`method` must be "gram" or "weights".*angles.*same law'),
        (
            {"limit": covsde.UnshapedMLP(2.0, 2.0)},
            r"`slope_plus` and `slope_minus` must differ.*Identity\(\)",
        ),
        ({"width": 1}, "`width` must be an integer of at least 2"),
        ({"width": 2, "t1": 0.1}, "`t1` must be long enough"),
        ({"saveat": [0.1, 0.101]}, "`saveat` must ask for each layer once"),
        ({"dt0": 0.0}, "`dt0` must be a positive"),
        ({"num_paths": 0}, "`num_paths`"),
        ({"num_networks": 0}, "`num_networks`"),
        ({"key": jnp.zeros(2)}, "`key`"),
    ],
)
def test_what_has_no_meaning_for_the_unshaped_limit_is_refused(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        unshaped(**change)


# the report


def test_rows_are_the_distances_of_the_solutions_it_holds(report):
    made, _ = report
    row = next(row for row in made.rows if row.kind == "rho" and row.width == 8)
    limit = measure(np.asarray(made.limit.vs[:, -1]))
    network = measure(np.asarray(made.networks[0].vs[:, -1]))
    rho = next(key for key in limit if key.kind == "rho")
    assert made.networks[0].width == 8
    assert row.ks == pytest.approx(scipy.stats.ks_2samp(limit[rho], network[rho]).statistic)
    assert row.limit_mean == pytest.approx(limit[rho].mean())
    assert row.network_se == pytest.approx(scipy.stats.sem(network[rho]))
    assert row.initial == pytest.approx(0.3 / math.sqrt(1.2))


def test_requested_times_are_kept_and_t1_too(report):
    for solution in (report[0].limit, *report[0].networks):
        np.testing.assert_allclose(solution.ts, [0.125, 0.25, 0.5])


def test_progress_tells_every_stage(report):
    _, calls = report
    stages = {"limit": 6_000, "n = 8": 3_000, "n = 128": 3_000}
    assert {what for what, _, _ in calls} == stages.keys()
    for stage, total in stages.items():  # they run at once
        counts = [done for what, done, all_of in calls if what == stage]
        assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == total


def test_the_table_says_what_it_shows(report):
    table = report[0].table()
    assert "ShapedMLP(ShapedReLU(c_plus=1, c_minus=-1))" in table
    assert "depth/width" in table
    assert "O(1/n)" in table and "5 % level" in table
    assert max(map(len, table.splitlines())) <= 100
    assert str(report[0]) == table


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (0.5, 0.5, ["noise"]),
        (1.5, 0.5, ["to noise"]),
        (0.5, 1.5, ["unclear"]),
        (4.0, 3.0, []),
    ],
)
def test_words_for_the_decay_are_explained_where_they_occur(report, narrow, wide, expected):
    rows = tuple(
        dataclasses.replace(row, ks=(narrow if row.width == 8 else wide) * row.ks_level)
        for row in report[0].rows
    )
    table = dataclasses.replace(report[0], rows=rows).table()
    words = ("noise", "to noise", "unclear")
    assert [word for word in words if f'"{word}": KS is' in table] == expected
    assert all(f"  {word}\n" in table for word in expected)


def test_the_bias_of_a_lopsided_relu_is_stated():
    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    assert "O(1/√n)" in covsde.validation._table.expected_bias(limit)


def test_a_report_is_immutable(report):
    with pytest.raises(AttributeError):
        report[0].t1 = 1.0
    with pytest.raises(AttributeError):
        report[0].rows[0].ks = 0.0


def test_a_report_is_saved_whole(report, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    made, _ = report
    files = made.save(tmp_path / "new" / "folder")
    assert {file.name for file in files} == {
        "report.nc",
        "table.txt",
        "limit.nc",
        "networks-8.nc",
        "networks-128.nc",
    }
    with xarray.open_dataset(tmp_path / "new/folder/report.nc", engine="h5netcdf") as data:
        ks = data.ks.sel(observable="ρ[0,1]", width=8).item()
        assert data.sizes == {"observable": 4, "width": 2}
        assert "c_minus=-1" in data.attrs["limit"]
        np.testing.assert_allclose(data.attrs["v0"], np.ravel(V0))
    assert ks == next(row.ks for row in made.rows if row.kind == "rho")
    with xarray.open_dataset(tmp_path / "new/folder/limit.nc", engine="h5netcdf") as data:
        np.testing.assert_array_equal(data.v, made.limit.vs)


def test_a_report_is_drawn(report, tmp_path):
    pytest.importorskip("matplotlib")
    files = report[0].figures(tmp_path / "new")
    assert {file.name for file in files} == {"densities.png", "fan.png", "correlations.png"}
    assert all(file.stat().st_size > 10_000 for file in files)


# observables of one's own


class Gap(AbstractObservable):
    """The difference of two variances."""

    a: int
    b: int
    kind = "gap"

    def __call__(self, v):
        return v[..., self.a, self.a] - v[..., self.b, self.b]

    @property
    def label(self):
        return f"gap[{self.a},{self.b}]"

    @property
    def inputs(self):
        return self.a, self.b


def product(v):
    return v[:, 0, 0] * v[:, 1, 1]


def compared(observables, v0=V0, **change):
    arguments = dict(width=(8, 16), key=KEY, num_paths=300, num_networks=200) | change
    return validate(RELU, v0, 0.25, observables=observables, **arguments)


def test_observables_of_ones_own_are_compared_like_the_others():
    pytest.importorskip("xarray")
    made = compared([Gap(0, 1), MeanVariance(), Correlation(0, 1), product])
    wide = {row.observable: row for row in made.rows if row.width == 16}
    assert list(wide) == ["gap[0,1]", "tr V/m", "ρ[0,1]", "product"]
    assert [row.kind for row in wide.values()] == ["gap", "tr V/m", "rho", "function"]
    assert (wide["gap[0,1]"].a, wide["gap[0,1]"].b) == (0, 1)
    assert wide["product"].a is None and wide["product"].b is None
    limit, network = (np.asarray(one.vs[:, -1]) for one in (made.limit, made.networks[1]))
    row = wide["product"]
    assert row.initial == pytest.approx(1.2) and wide["gap[0,1]"].initial == pytest.approx(
        -0.2
    )
    assert row.limit_mean == pytest.approx(product(limit).mean())
    assert row.network_se == pytest.approx(scipy.stats.sem(product(network)))
    ks = scipy.stats.ks_2samp(product(limit), product(network)).statistic
    assert row.ks == pytest.approx(ks)
    table = made.table()
    assert all(f"\n{name} " in table for name in wide)
    data = made.to_xarray()
    assert list(data.observable.values) == list(wide)
    assert data.kind.sel(observable="product") == "function"


def test_observables_by_a_name_or_one_alone():
    named = compared({"mine": Correlation(0, 1)}).rows
    alone = compared(Correlation(0, 1)).rows
    assert [row.observable for row in named] == ["mine"] * 2
    assert [row.kind for row in named] == ["rho"] * 2
    assert [row.ks for row in named] == [row.ks for row in alone]
    assert alone == tuple(row for row in compared(None).rows if row.kind == "rho")


def test_many_functions_are_all_shown_and_many_of_a_kind_are_not():
    functions = {f"power {p}": lambda v, p=p: v[:, 0, 0] ** p for p in range(1, 6)}
    table = compared(functions).table()
    assert all(f"\npower {p} " in table for p in range(1, 6)) and "Shown" not in table
    gaps = [Gap(a, b) for a in range(4) for b in range(a)]
    v0 = jnp.eye(4) + jnp.diag(jnp.arange(4.0))
    table = compared(gaps, v0).table()
    assert "median of 6 gap" in table and "Shown: the first gap; and of each" in table


def test_what_is_not_finite_is_left_out_and_noted():
    def root(v):
        return jnp.sqrt(v[:, 0, 1])

    made = compared([LogNorm(0), root])
    assert {row.observable for row in made.rows} == {"log V[0,0]"}
    limit, *networks = (np.asarray(x.vs[:, -1]) for x in (made.limit, *made.networks))
    broken = sum(int((v[:, 0, 1] < 0).sum()) for v in (limit, *networks))
    assert made.notes[0] == (
        f"root is left out: it is not finite for {broken} paths and networks."
    )
    with pytest.raises(ValueError, match=r"`observables` must have a law.*singular.*None"):
        compared(LogDet(), jnp.ones((2, 2)))


def test_functions_of_the_nearness_are_compared():
    def square(u):
        return u**2

    made = unshaped(width=64, observables=[Nearness(), square], num_paths=500)
    assert [row.observable for row in made.rows] == ["u", "square"]
    u = np.asarray(made.limit.us[:, -1])
    assert made.rows[1].limit_mean == pytest.approx((u**2).mean())
    assert made.rows[1].initial == 0
    assert RELU_UNSHAPED.observables() == (Nearness(),)


@pytest.mark.parametrize(
    ("run", "observables", "message"),
    [
        (compared, "rho", "`observables` must be a function of cov.*'rho'"),
        (compared, [], "`observables` must be.*none"),
        (compared, [product, product], "`observables` must be.*'product'"),
        (compared, Nearness(), r"`observables` must return one real.*\(7, 2, 2\)"),
        (compared, LogNorm(2), "`v` must have at least 3 inputs"),
        (unshaped, 3, r"`observables` must be a function of u \(num_paths,\).*u\*\*2"),
        (unshaped, lambda u: u[:, None], r"`observables` must return.*lambda u: u\*\*2"),
    ],
)
def test_observables_that_are_none_are_refused(run, observables, message, monkeypatch):
    monkeypatch.setattr(jax, "block_until_ready", pytest.fail)  # nothing was run
    with pytest.raises((TypeError, ValueError, IndexError), match=message):
        run(observables=observables)


# what is left out


def linear_maps(seed, count, width=None):
    """A made-up solution, random linear maps of three inputs, and its start."""
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    maps = np.random.default_rng(seed).normal(size=(count, 5, 2))
    y = np.einsum("af,nhf->nah", x, maps)
    return covsde.Solution(
        ts=jnp.array([0.5]),
        vs=jnp.array(np.einsum("nah,nbh->nab", y, y)[:, None]),
        stopped_at=jnp.full(count, jnp.inf),
        limit=covsde.ShapedMLP(covsde.Identity()),
        key=KEY,
        width=width,
    ), x @ x.T


def test_what_has_no_law_is_left_out_and_named():
    """Two equal inputs: their correlation is 1, and V is singular, for ever."""
    limit, v0 = linear_maps(0, 100)
    network, _ = linear_maps(1, 50, width=10)
    observables = {f.label: f for f in limit.limit.observables(3)}
    rows, notes = _rows.compare(observables, v0, limit, (network,))
    names = [row.observable for row in rows]
    assert names == ["log V[0,0]", "log V[1,1]", "log V[2,2]", "ρ[0,2]", "ρ[1,2]"]
    assert "v0 is singular" in notes[0] and "ρ[0,1]: left out" in notes[1]


def test_stopped_paths_are_counted_and_left_out():
    limit = covsde.ShapedMLP(covsde.ShapedSmooth(jax.nn.silu, a=0.5))
    made = validate(
        limit,
        jnp.array([[1.0]]),
        0.5,
        width=50,
        key=KEY,
        num_paths=4_000,
        num_networks=2_000,
        stop_above=3.0,
    )
    assert [row.kind for row in made.rows] == ["log V", "stopped"]
    norm, share = made.rows
    stopped = np.isfinite(np.asarray(made.limit.stopped_at))
    assert 0 < stopped.sum() == made.limit.num_paths - norm.num_paths
    assert share.limit_mean == stopped.mean()
    assert share.ks == pytest.approx(abs(share.limit_mean - share.network_mean))
    error = math.hypot(share.limit_se, share.network_se)
    assert share.ks_level == pytest.approx(1.96 * error, rel=0.05)
    assert made.limit.dt0 == 1 / 50
    assert "stopped share" in made.table()


def test_limits_are_described_with_their_numbers():
    limit = covsde.ShapedMLP(covsde.ShapedSmooth(jnp.tanh, a=1.5))
    assert full_name(limit) == "ShapedMLP(ShapedSmooth(tanh, a=1.5, center=0))"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"width": 0}, ValueError, "`width`"),
        ({"width": "64"}, TypeError, "`width`"),
        ({"width": []}, TypeError, "`width`"),
        ({"width": 2.5}, TypeError, "`width`"),
        ({"width": (8, 8)}, ValueError, "each width once"),
        ({"width": (1, 64)}, ValueError, "`t1`"),
        ({"num_networks": 0}, ValueError, "`num_networks`"),
        ({"num_paths": 0}, ValueError, "`num_paths`"),
        ({"method": "exact"}, ValueError, "`method`"),
        ({"v0": jnp.stack([V0, V0])}, ValueError, "`v0`"),
        ({"t1": -1.0}, ValueError, "`t1`"),
        ({"saveat": [0.1, 0.11]}, ValueError, "`saveat`"),
        ({"solver": covsde.GeodesicStrang}, TypeError, "`solver`"),
        ({"dt0": -1.0}, ValueError, "`dt0`"),
        ({"progress": "bar"}, TypeError, "`progress`"),
        ({"limit": "relu"}, TypeError, "`limit`"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(change, error, message):
    arguments = {"limit": RELU, "v0": V0, "t1": 0.4, "width": 16, "key": KEY} | change
    with pytest.raises(error, match=message):
        validate(
            arguments.pop("limit"), arguments.pop("v0"), arguments.pop("t1"), **arguments
        )


# Several calls at once


def test_calls_are_made_together_and_told_of_here(monkeypatch):
    monkeypatch.setattr(_together, "processors", lambda: 2)
    both, told = threading.Barrier(2, timeout=60), []

    def call(name, tell):
        both.wait()  # neither comes past it alone
        tell(name, threading.current_thread())
        return name

    calls = [functools.partial(call, name) for name in "ab"]
    found = together(calls, lambda *said: told.append((*said, threading.current_thread())))
    assert found == ["a", "b"]
    assert sorted(name for name, *_ in told) == ["a", "b"]
    here = threading.current_thread()
    assert all(made is not here and heard is here for _, made, heard in told)


def test_of_several_calls_one_that_fails_ends_the_others(monkeypatch):
    monkeypatch.setattr(_together, "processors", lambda: 2)
    began = threading.Event()

    def fails(tell):
        began.wait(60)
        raise ValueError("this")

    def goes_on(tell):
        while True:
            tell()
            began.set()

    with pytest.raises(ValueError, match="this"):
        together([goes_on, fails], lambda: None)


def test_calls_are_made_in_turn_where_settings_are_the_callers_own():
    with jax.default_matmul_precision("highest"):
        found = together([lambda tell: threading.current_thread()] * 2, print)
    assert found == [threading.current_thread()] * 2
