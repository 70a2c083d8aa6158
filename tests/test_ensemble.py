"""Ensembles: against exact laws and `solve`, whatever the chunks; resumed; refused."""

import dataclasses
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.ensemble._chunks import Range
from covsde.ensemble._survey import Survey
from covsde.ensemble._writer import NetCDF, writer
from covsde.observables import Correlation, LogNorm, Nearness
from covsde.statistics import Covariance, Extremes, Histogram, Moments, Quantiles

RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
KEY = jax.random.key(7)
T, STEP = 0.5, 0.25
OBSERVABLES = {"log V": LogNorm(0), "rho": Correlation(0, 1)}
STATISTICS = (
    Moments(),
    Covariance(),
    Extremes(),
    Quantiles(),
    Histogram(np.linspace(-3, 3, 25)),
)
PATHS = 20_000
EXACT = ("count", "minimum", "maximum", "quantile", "histogram", "below", "above")


def run(**change):
    """An ensemble of two steps; all of this file share what is compiled for it."""
    arguments = dict(
        limit=RELU,
        v0=V0,
        t1=T,
        key=KEY,
        num_paths=PATHS,
        observables=OBSERVABLES,
        statistics=STATISTICS,
        saveat=[T / 2, T],
        dt0=STEP,
        chunk_size=8000,
        devices=1,
    )
    arguments |= change
    first = [arguments.pop(name) for name in ("limit", "v0", "t1")]
    return covsde.ensemble(*first, **arguments)


@pytest.fixture(scope="module")
def reference():
    return run()


@pytest.fixture(scope="module")
def solution():
    return covsde.solve(RELU, V0, T, key=KEY, num_paths=PATHS, saveat=[T / 2, T], dt0=STEP)


def assert_same(one, other, *, bits=False):
    """Counts, sketches and extremes are equal; moments to rounding, or to the bit."""
    for name, part in one.parts.items():
        if name in EXACT or bits:
            np.testing.assert_array_equal(other.parts[name].values, part.values, name)
        else:
            np.testing.assert_allclose(other.parts[name].values, part.values, rtol=1e-9)


# against what is known


def test_the_law_of_a_norm(reference):
    """`log V ~ N(−t, 2t)` for a linear drift of `log V`: the shaped ReLU (0, −1)."""
    for j, t in enumerate(reference.ts):
        law = covsde.laws.log_norm_law(1.0, float(t))
        result = {name: x[j] for name, x in reference["log V"].items()}
        sd = math.sqrt(law.variance)
        assert abs(result["mean"] - law.mean) < 4 * result["standard_error"]
        assert abs(result["variance"] / law.variance - 1) < 4 * math.sqrt(2 / PATHS)
        assert abs(result["skewness"]) < 4 * math.sqrt(6 / PATHS)
        assert abs(result["kurtosis"] - 3) < 4 * math.sqrt(24 / PATHS)
        q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
        exact = norm.ppf(q, law.mean, sd)
        error = np.sqrt(q * (1 - q) / PATHS) / norm.pdf(exact, law.mean, sd)
        apart = np.abs(reference.quantile("log V", q)[j] - exact)
        assert np.all(apart < 4 * error + 2.0**-7 * np.abs(exact))


def test_paths_are_those_of_solve(reference, solution):
    for name, observable in OBSERVABLES.items():
        x = np.asarray(observable(solution.vs)).T
        np.testing.assert_allclose(reference[name]["mean"], x.mean(-1), rtol=1e-10)
        np.testing.assert_allclose(reference[name]["maximum"], x.max(-1), rtol=1e-13)
        counts = np.histogram(x[1], STATISTICS[-1].edges)[0]
        np.testing.assert_array_equal(reference[name]["histogram"][1], counts)
    rows = [np.asarray(f(solution.vs[:, 1])) for f in OBSERVABLES.values()]
    covariance = reference.parts["covariance"].values[:, 1]
    np.testing.assert_allclose(covariance, np.cov(np.stack(rows)), rtol=1e-10)


@pytest.mark.parametrize("chunk_size", [5461, 6001, PATHS, None])
def test_chunks_change_nothing(reference, chunk_size):
    assert_same(reference, run(chunk_size=chunk_size))


def test_few_paths_in_small_chunks(solution):
    few = run(num_paths=100, chunk_size=7)
    x = np.asarray(LogNorm(0)(solution.vs[:100]))
    np.testing.assert_allclose(few["log V"]["variance"], x.var(0, ddof=1), rtol=1e-10)
    exact = np.quantile(x, 0.5, axis=0, method="inverted_cdf")
    assert np.all(np.abs(few.quantile("log V", 0.5)[:, 0] / exact - 1) <= 2.0**-7)


def test_a_start_for_each_path():
    starts = V0[None] * jnp.linspace(0.5, 2.0, 6000)[:, None, None]
    one, other = (run(v0=starts, num_paths=6000, chunk_size=size) for size in (6000, 5500))
    assert_same(one, other)
    scale = np.log(np.linspace(0.5, 2.0, 6000))
    assert abs(one["log V"]["mean"][0] - (scale.mean() - T / 2)) < 0.05


def test_the_first_paths_are_kept(reference, solution):
    assert reference.samples is None
    samples = run(samples=4).samples
    np.testing.assert_allclose(samples.vs, solution.vs[:4], rtol=1e-12)
    assert np.all(np.isinf(samples.stopped_at))


def test_what_is_not_finite_is_counted_and_told():
    pole = {"pole": lambda v: jnp.where(v[:, 0, 1] > 0, v[:, 0, 1], jnp.inf)}
    result = run(observables=pole, statistics=[Moments()])
    lost = result.left_out["pole"]
    assert np.all(lost + result["pole"]["count"] == PATHS) and np.all(lost > 100)
    assert np.all(np.isfinite(result["pole"]["mean"]))
    assert f"left out: pole of {lost[1]:,} paths" in str(result)


def test_float32_is_summed_in_float64():
    """And an observable without a name is called after its function."""
    single = run(v0=V0.astype(jnp.float32), statistics=[Moments()], observables=LogNorm(0))
    result = single["log V[0,0]"]
    assert result["mean"].dtype == np.float64
    assert abs(result["mean"][1] + T) < 4 * result["standard_error"][1]


def test_a_table_and_a_dataset(reference):
    text = str(reference)
    assert "ShapedMLP(ShapedReLU(c_plus=0, c_minus=-1)) at t = 0.5" in text
    assert "20,000 paths, GeodesicStrang, steps of at most 0.25" in text
    assert f"{reference['rho']['mean'][1]:.4g}" in text and "t = 0.25" in text
    xarray = pytest.importorskip("xarray")
    data = reference.to_xarray()
    assert isinstance(data, xarray.Dataset)
    chosen = data["quantile"].sel(observable="rho", level=0.5).values
    np.testing.assert_array_equal(chosen, reference["rho"]["quantile"][:, 2])
    assert data["covariance"].dims == ("observable", "time", "other")


# interrupted, and taken up again


class Stop(Exception):
    """Raised in the midst of a run."""


def stop_after(paths):
    def progress(done, total):
        assert done <= total == PATHS
        if done >= paths:
            raise Stop

    return progress


def test_a_run_goes_on_where_it_was_interrupted(tmp_path):
    small = dict(chunk_size=5461)
    whole = run(**small)
    for paths in (1, 6000, 15_000):
        with pytest.raises(Stop):
            run(checkpoint=tmp_path, progress=stop_after(paths), **small)
    seen = []
    resumed = run(
        checkpoint=tmp_path, progress=lambda done, total: seen.append(done), **small
    )
    assert seen == [PATHS]
    assert_same(whole, resumed, bits=True)
    again = run(checkpoint=tmp_path, progress=stop_after(0), **small)  # nothing is left
    assert_same(whole, again, bits=True)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(checkpoint=tmp_path)
    for change, words in (
        (dict(num_paths=200), "`num_paths` is 200 here and 20000 there"),
        (dict(key=jax.random.key(8)), "`key`"),
        (dict(limit=ShapedMLP(ShapedReLU(0.0, -0.5))), "c_minus=-0.5"),
        (dict(v0=2 * V0), "`v0`"),
        (dict(dt0=0.125), "`dt0` is 0.125 here and 0.25 there"),
        (dict(stop_above=9.0), "`stop_above` is 9 here and None there"),
        (dict(chunk_size=50), "`chunk_size` is 50 here and 8000 there"),
        (dict(statistics=[Moments()]), "`statistics`"),
        (dict(observables=OBSERVABLES | {"rho": lambda v: v[:, 0, 1]}), "a function of"),
    ):
        with pytest.raises(ValueError, match="`checkpoint` must be of the same") as caught:
            run(checkpoint=tmp_path, **change)
        assert words in str(caught.value), caught.value


def test_a_torn_checkpoint_is_refused(tmp_path):
    run(checkpoint=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read"):
        run(checkpoint=tmp_path)


# files of every path


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_every_path_in_a_file(tmp_path, ending):
    """Interrupted and resumed; paths that stop are in the statistics before they do."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip({"nc": "h5netcdf", "zarr": "zarr"}[ending])
    where = dict(save=tmp_path / f"sub/paths.{ending}", checkpoint=tmp_path / "state")
    with pytest.raises(Stop):
        run(progress=stop_after(8000), stop_above=1.5, **where)
    result = run(stop_above=1.5, **where)
    options = dict(engine="zarr", consolidated=False) if ending == "zarr" else {}
    with xarray.open_dataset(where["save"], **options) as data:
        assert dict(data.sizes) == {"path": PATHS, "time": 2, "observable": 2}
        assert list(data["path"][[0, -1]]) == [0, PATHS - 1]
        ended = data["stopped_at"].values[:, None] <= data["time"].values
        x = np.where(ended, np.nan, data["values"].values[..., 0])
    assert 0 < ended[:, 0].mean() < ended[:, 1].mean() < 1
    np.testing.assert_array_equal(result.stopped, ended.mean(0))
    np.testing.assert_array_equal(result["log V"]["count"], (~ended).sum(0))
    np.testing.assert_allclose(result["log V"]["mean"], np.nanmean(x, 0), rtol=1e-10)
    assert f"stopped: {ended[:, 1].mean():.2%} of the paths" in str(result)


def test_a_file_that_does_not_go_with_the_checkpoint_is_refused(tmp_path):
    pytest.importorskip("h5netcdf")
    run(checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"`save` must be the file .* not exist"):
        run(save=tmp_path / "a.nc", checkpoint=tmp_path)
    (tmp_path / "a.nc").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"`save` must be the file .* cannot be read"):
        run(save=tmp_path / "a.nc", checkpoint=tmp_path)
    other = NetCDF(tmp_path / "a.nc", Range(0, 5))
    other.begin({"num_paths": "5"}, ["rho"], np.array([1.0]), np.float64, resumed=False)
    other.close()
    with pytest.raises(ValueError, match=r"`save` must be the file .* another run"):
        run(save=tmp_path / "a.nc", checkpoint=tmp_path)


def test_a_zarr_that_is_not_made_whole_is_not_there(tmp_path, monkeypatch):
    """Nor is the one touched in whose place it was to be."""
    zarr = pytest.importorskip("zarr")
    arguments = {}, ["rho"], np.array([1.0]), np.float64

    def begin():
        writer(tmp_path / "a.zarr", Range(0, 5), 5).begin(*arguments, resumed=False)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    for before in ([], ["a.zarr"]):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(zarr.Group, "create_array", interrupted)
            begin()
        assert [file.name for file in tmp_path.iterdir()] == before
        begin()
        assert set(zarr.open_group(tmp_path / "a.zarr", mode="r").array_keys()) == {
            *("values", "stopped_at", "time", "path")
        }


# progress


def test_progress_is_told(capsys):
    seen = []
    run(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8000, PATHS), (16_000, PATHS), (PATHS, PATHS)]
    run(progress=True)
    error = capsys.readouterr().err
    assert "20,000 of 20,000 paths (100%)" in error and "paths/s" in error


# several devices


PROGRAM = """
    import sys
    import jax, jax.numpy as jnp, numpy as np
    jax.config.update("jax_enable_x64", True)
    import covsde
    from covsde.observables import Correlation, LogNorm, Nearness
    from covsde.statistics import Covariance, Extremes, Histogram, Moments, Quantiles
    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    v0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
    result = lambda **options: covsde.ensemble(
        limit, v0, 0.5, key=jax.random.key(7), num_paths=20_000,
        observables={"log V": LogNorm(0), "rho": Correlation(0, 1)},
        statistics=(Moments(), Covariance(), Extremes(), Quantiles(),
                    Histogram(np.linspace(-3, 3, 25))),
        saveat=[0.25, 0.5], dt0=0.25, **options)
"""


def in_a_process(program, flags="", **environment):
    """Starts a program that begins like `PROGRAM`."""
    text = textwrap.dedent(PROGRAM) + textwrap.dedent(program)
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


# Other calls, large enough to be shared: what they return of `limit` and `v0`.
SHARED = """
    def of_others(limit, v0):
        asked = dict(key=jax.random.key(7), dt0=0.25, saveat=[0.25, 0.5])
        paths = covsde.solve(limit, v0, 0.5, num_paths=50_000, **asked)
        networks = [
            covsde.oracles.sample(
                limit, v0, 4 / width, width=width, key=jax.random.key(8),
                num_networks=number, method=method)
            for method, width, number in (("gram", 64, 5000), ("weights", 512, 12))]
        grid = covsde.sweep(
            lambda c: covsde.ShapedMLP(covsde.ShapedReLU(0.0, c)),
            dict(c=np.linspace(-1, 0, 9)), v0, 0.5, num_paths=500,
            observables=covsde.observables.LogNorm(0),
            statistics=[covsde.statistics.Moments()], **asked)
        arrays = [x.vs for x in (paths, *networks)] + [grid[name] for name in grid]
        return [np.asarray(x) for x in arrays]
"""


def test_two_devices(reference, tmp_path):
    """They have the numbers of one, to the bit where calls are the same."""
    pytest.importorskip("h5netcdf")
    pytest.importorskip("xarray")
    file = tmp_path / "two.nc"
    program = f"""
        assert jax.local_device_count() == 2
        two = result(chunk_size=5461, save={str(tmp_path / "all.nc")!r})
        two.save({str(file)!r})
        from covsde import _devices
        at_a_time, pool = [], _devices.ThreadPoolExecutor
        _devices.ThreadPoolExecutor = lambda n: at_a_time.append(n) or pool(n)
        np.savez({str(tmp_path / "others.npz")!r}, *of_others(limit, v0))
        assert at_a_time == [2, 2, 2, 2], at_a_time
    """
    program = textwrap.dedent(SHARED) + textwrap.dedent(program)
    finish(in_a_process(program, "--xla_force_host_platform_device_count=2"))
    two = covsde.Ensemble.load(file)
    assert_same(reference, two)
    import h5netcdf

    with h5netcdf.File(tmp_path / "all.nc") as data:
        values = np.asarray(data["values"][:, 1, 0])
    np.testing.assert_allclose(values.mean(), reference["log V"]["mean"][1], rtol=1e-10)
    scope = {"covsde": covsde, "jax": jax, "np": np}
    exec(textwrap.dedent(SHARED), scope)
    with np.load(tmp_path / "others.npz") as others:
        for one, two in zip(scope["of_others"](RELU, V0), others.values(), strict=True):
            assert one.tobytes() == two.tobytes()


def test_two_processes(reference, tmp_path):
    """Joined by `jax.distributed` on this machine; each has the whole result."""
    pytest.importorskip("h5netcdf")
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    join = f"""
    import jax
    jax.distributed.initialize({address!r}, 2, int(__import__("os").environ["RANK"]))
    """
    processes = []
    for rank in (0, 1):
        save = f"result().save({str(tmp_path / f'{rank}.nc')!r})"
        text = textwrap.dedent(join) + textwrap.dedent(PROGRAM) + save
        environment = os.environ | {"RANK": str(rank), "JAX_PLATFORMS": "cpu"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", text],
                env=environment,
                cwd=Path(__file__).parent.parent,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in processes:
        finish(process)
    for rank in (0, 1):
        loaded = covsde.Ensemble.load(tmp_path / f"{rank}.nc")
        assert loaded.is_whole
        assert_same(reference, loaded)


@pytest.mark.parametrize(("ending", "kills"), [("nc", 2), ("zarr", 1)])
def test_a_killed_process_is_taken_up_again(tmp_path, ending, kills):
    """Killed at a random moment, in the midst of a chunk or of a write; once or twice."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip({"nc": "h5netcdf", "zarr": "zarr"}[ending])
    small = dict(chunk_size=100, stop_above=1.5)
    options = dict(engine="zarr", consolidated=False) if ending == "zarr" else {}
    free = run(save=tmp_path / f"whole.{ending}", checkpoint=tmp_path / "other", **small)
    whole = xarray.load_dataset(tmp_path / f"whole.{ending}", **options)
    where = dict(save=tmp_path / f"paths.{ending}", checkpoint=tmp_path / "state")
    done = 0
    for delay in np.random.default_rng(5).uniform(0.05, 0.3, kills):
        program = f"""
            import os, signal, threading
            kill = threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL))
            seen = lambda done, total: kill.is_alive() or kill.start()
            result(chunk_size=100, stop_above=1.5, save={str(where["save"])!r},
                   checkpoint={str(where["checkpoint"])!r}, checkpoint_every=0,
                   progress=seen)
        """
        process = in_a_process(program)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == -9, output
        with xarray.open_dataset(where["save"], **options) as data:
            values, stopped_at = data["values"].values, data["stopped_at"].values
        written = ~np.isnan(stopped_at)
        np.testing.assert_array_equal(values[written], whole["values"].values[written])
        np.testing.assert_array_equal(stopped_at[written], whole["stopped_at"][written])
        assert done < written.sum() < PATHS and np.isnan(values[-1]).all()
        done = written.sum()
    assert_same(free, run(**where, **small), bits=True)
    resumed = xarray.load_dataset(where["save"], **options)
    for name in ("values", "stopped_at"):
        np.testing.assert_array_equal(resumed[name].values, whole[name].values)
    assert resumed.attrs == whole.attrs


# bad input


class Bare:
    """No function."""


def test_several_observables_are_called_by_their_labels():
    def gap(v):
        return v[:, 0, 0] - v[:, 1, 1]

    several = run(num_paths=100, observables=[*RELU.observables(2), gap])
    assert several.names == ("log V[0,0]", "log V[1,1]", "ρ[0,1]", "log det V", "gap")
    named = run(num_paths=100, observables={"rho": Correlation(0, 1), "gap": gap})
    for one, other in (("ρ[0,1]", "rho"), ("gap", "gap")):
        np.testing.assert_allclose(several[one]["mean"], named[other]["mean"], rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "error", "name", "words"),
    [
        (dict(limit="mlp"), TypeError, "limit", ["ShapedMLP"]),
        (dict(v0=-V0), ValueError, "v0", ["diagonal"]),
        (dict(t1=-1.0), ValueError, "t1", ["-1"]),
        (dict(dt0=100.0, t1=100.0, saveat=None), ValueError, "dt0", ["got 100", "None"]),
        (dict(num_paths=0), ValueError, "num_paths", ["got 0"]),
        (dict(num_paths=2**32 + 1), ValueError, "num_paths", ["2^32", "4294967297"]),
        (dict(num_paths=1e6), TypeError, "num_paths", ["1000000.0", "1_000_000"]),
        (dict(observables={}), ValueError, "observables", ["none", "lambda v"]),
        (dict(observables=3), TypeError, "observables", ["3 (int)", "dict"]),
        (dict(observables={"a": Bare()}), TypeError, "observables", ["'a'", "Bare"]),
        (dict(observables={1: abs}), TypeError, "observables", ["1: "]),
        (dict(observables=lambda v: v), ValueError, "observables", ["(7, 2, 2)"]),
        (dict(observables=lambda v: v.sum()), ValueError, "observables", ["()"]),
        (dict(observables=Correlation(0, 5)), IndexError, "v", ["at least 6 inputs"]),
        (dict(observables="rho"), TypeError, "observables", ["'rho'", "several"]),
        (dict(observables=[]), ValueError, "observables", ["none"]),
        (dict(observables=[LogNorm(0), 3]), TypeError, "observables", ["3 (int)"]),
        (dict(observables=[LogNorm(0)] * 2), ValueError, "observables", ["'log V[0,0]'"]),
        (dict(observables=Nearness()), ValueError, "observables", ["(7, 2, 2)", "'u'"]),
        (dict(statistics=[]), ValueError, "statistics", ["none", "None"]),
        (dict(statistics=["mean"]), TypeError, "statistics", ["'mean'"]),
        (dict(statistics="mean"), TypeError, "statistics", ["'mean'"]),
        (dict(statistics=[Moments] * 2), TypeError, "statistics", ["the class Moments"]),
        (dict(statistics=[Moments()] * 2), ValueError, "statistics", ["Moments twice"]),
        (dict(chunk_size=0), ValueError, "chunk_size", ["got 0"]),
        (dict(chunk_size=2**31), ValueError, "chunk_size", ["2147483648"]),
        (dict(devices=0), ValueError, "devices", ["got 0"]),
        (dict(devices="cpu"), TypeError, "devices", ["'cpu'"]),
        (dict(devices=[]), ValueError, "devices", ["[]"]),
        (dict(shard=(2, 2)), ValueError, "shard", ["(2, 2)", "(0, 4)"]),
        (dict(shard=(0, 10**6)), ValueError, "shard", ["num_paths"]),
        (dict(shard=3), TypeError, "shard", ["3"]),
        (dict(shard="1/2"), TypeError, "shard", ["'1/2'"]),
        (dict(checkpoint=3), TypeError, "checkpoint", ["3 (int)"]),
        (dict(checkpoint=__file__), ValueError, "checkpoint", ["the file"]),
        (dict(checkpoint_every=-1), ValueError, "checkpoint_every", ["-1"]),
        (dict(checkpoint_every=None), TypeError, "checkpoint_every", ["None"]),
        (dict(save="paths.csv"), ValueError, "save", [".nc", ".zarr", "paths.csv"]),
        (dict(save=3), TypeError, "save", ["3 (int)"]),
        (dict(samples=-1), ValueError, "samples", ["-1"]),
        (dict(samples=PATHS + 1), ValueError, "samples", ["20001"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_bad_input(change, error, name, words, monkeypatch):
    """Refused before anything is launched."""
    monkeypatch.setattr(
        sys.modules["covsde.ensemble._accumulate"],
        "tally_of",
        lambda *_: pytest.fail("ran"),
    )
    with pytest.raises(error) as caught:
        run(**change)
    message = str(caught.value)
    assert message.startswith(f"`{name}`") and " must " in message
    assert all(word in message for word in words), message


def test_a_program_is_no_longer_for_more_saved_times():
    """Of 200 times it took 48 s to compile."""
    survey = Survey(tuple(OBSERVABLES), tuple(OBSERVABLES.values()), ())
    few, many = (
        len(jax.make_jaxpr(survey.values)(jnp.zeros((4, k, 2, 2))).eqns) for k in (2, 20)
    )
    assert few == many


def test_traced_input_is_refused():
    with pytest.raises(TypeError, match=r"must be known for `ensemble`.* outside `jit`"):
        jax.jit(lambda v0: run(v0=v0, num_paths=10)["rho"]["mean"])(V0)


def test_an_unknown_observable_is_refused(reference):
    with pytest.raises(KeyError, match="must be one of 'log V', 'rho'"):
        reference["sigma"]
    without = dataclasses.replace(reference, statistics=(Moments(),) * 5)
    with pytest.raises(ValueError, match=r"must have `Quantiles\(\)`"):
        without.quantile("rho", 0.5)
