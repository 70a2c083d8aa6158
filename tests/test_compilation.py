"""What a user waits for: what is imported, what is compiled, and what is kept of it."""

import json
import os
import subprocess
import sys
import warnings
from typing import ClassVar

import jax
import numpy as np
import pytest

import covsde
from covsde import _jit
from covsde._checks import is_concrete
from covsde.solve import _reuse, plan, simulate, simulated

pytest.importorskip("typer")
pytest.importorskip("rich")

from covsde.cli import _cache
from covsde.cli._cache import keep_programs

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")

# Calls in a process of their own. It prints how many programs were asked for and found in
# the folder that it is given, and writes their text to another.
CALLS = """
import json, sys
import covsde

loaded = [name for name in sys.argv[3:] if name in sys.modules]
from collections import Counter

import jax
import jax.numpy as jnp

assert jax.config.jax_compilation_cache_dir is None  # not set by the import
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_dump_ir_to", sys.argv[2])
events = Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))

v0, key = jnp.eye(2), jax.random.key(0)
first = covsde.observables.LogNorm(0)
make = lambda c_minus: covsde.ShapedMLP(covsde.ShapedReLU(0.0, c_minus))
limit, asked = make(-1.0), dict(key=key, num_paths=64)
covsde.solve(limit, v0, 0.1, **asked)
covsde.ensemble(limit, v0, 0.1, observables=first, **asked)
covsde.estimate(limit, v0, 0.1, first, key=key, tol=0.1)
covsde.sweep(make, {"c_minus": [-1.0, -0.5]}, v0, 0.1, observables=first, **asked)
times = dict(saveat=jnp.array([0.05]), stop_above=9.0)  # without noise, to a tolerance
covsde.solve(covsde.KernelODE(limit.drift), v0, 0.1, **asked, **times)
print(json.dumps([events, loaded]))
"""
# As long to import as all of covsde, or in an extra.
HEAVY = "scipy.stats scipy.interpolate scipy.integrate matplotlib xarray h5py rich typer"


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Two that make the same calls, one after the other: what each told, its programs."""
    folder = tmp_path_factory.mktemp("programs")
    environment = {k: x for k, x in os.environ.items() if not k.startswith("JAX_COMPIL")}
    told = []
    for number in "12":
        texts = folder / number
        texts.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", CALLS, folder / "kept", texts, *HEAVY.split()],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        told.append((*json.loads(done.stdout.splitlines()[-1]), texts))
    return told


def test_an_import_loads_nothing_heavy(processes):
    assert not processes[0][1]


def test_programs_ask_nothing_of_the_host(processes):
    """What does cannot be kept, and an accelerator would wait for it."""
    texts = [file.read_text() for file in processes[0][2].glob("*.mlir")]
    assert sum("@jit_simulate" in text or "@jit__terms" in text for text in texts) > 3
    # its name where JAX calls back: `xla_ffi_python_cpu_callback`, or that of a GPU
    assert not [text[:80] for text in texts if "callback(" in text]


def test_a_second_process_compiles_nothing(processes):
    (first, *_), (second, *_) = processes
    asked, found = (
        "/jax/compilation_cache/" + name
        for name in ("compile_requests_use_cache", "cache_hits")
    )
    assert first.get(found, 0) < first[asked]
    assert second[found] == second[asked] == first[asked]


# What a loop compiles


@pytest.fixture
def compiled():
    """How many programs were compiled since it was asked last."""
    names = []

    def listen(name, seconds, **_):
        names.extend([name] if name.endswith("backend_compile_duration") else [])

    def asked():
        number = len(names)
        names.clear()
        return number

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield asked
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_loop_compiles_once(compiled):
    """Over times, parameters, paths, saved times, levels, keys, starts and functions."""
    one, v0 = np.ones((2, 2)), np.eye(2)

    def relu(i, t1, num_paths, saved, **asked):
        limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0 / i))
        key, start = jax.random.key(i), jax.numpy.asarray(v0 + 0.1 * i * one)
        saveat = np.linspace(0, t1, saved)
        return covsde.solve(
            limit, start, t1, key=key, num_paths=num_paths, saveat=saveat, **asked
        )

    def smooth(i):
        limit = covsde.ShapedMLP(covsde.ShapedSmooth(lambda x: jax.numpy.tanh(x), 2.0 + i))
        return covsde.solve(
            limit, v0, 0.1 * i, key=jax.random.key(i), num_paths=199 * i, stop_above=3.0 + i
        )

    relu(1, 0.3, 200, 3)
    assert compiled() > 0  # this is how it is known
    relu(2, 1.7, 1100, 4)
    relu(3, 0.05, 17_000, 3, dt0=1e-3)
    assert compiled() == 0
    smooth(1)
    assert compiled() > 0
    smooth(2)
    assert compiled() == 0


class Counted(covsde.ShapedMLP):
    """An MLP that tells how often its parts were built of known parameters."""

    built: ClassVar[list[str]] = []

    @property
    def drift(self):
        self.built.extend(["drift"] if is_concrete(self) else [])
        return super().drift

    @property
    def diffusion(self):
        self.built.extend(["diffusion"] if is_concrete(self) else [])
        return super().diffusion


@pytest.mark.parametrize("call", ["ensemble", "sweep", "estimate"])
def test_a_loop_of_statistics_compiles_once(call, compiled):
    """Over times, parameters, paths, saved times, levels and keys; and each limit builds
    its drift and its noise once."""
    rho, v0 = covsde.observables.Correlation(0, 1), np.eye(2)

    def shaped(c_minus):
        return Counted(covsde.ShapedReLU(0.0, c_minus))

    def once(i, t1, num_paths, saved):
        key, level = jax.random.key(i), 3.0 + i
        if call == "estimate":
            asked = dict(key=key, tol=1.0, stop_above=level)
            return covsde.estimate(shaped(-1.0 / i), v0, t1, rho, **asked)
        asked = dict(key=key, num_paths=num_paths, saveat=np.linspace(0, t1, saved))
        asked |= dict(observables=rho, stop_above=level)
        if call == "ensemble":
            return covsde.ensemble(shaped(-1.0 / i), v0, t1, **asked)
        pytest.importorskip("xarray")
        grid = {"c_minus": -np.arange(1.0, 3 + i) / 9}
        return covsde.sweep(shaped, grid, v0, t1, **asked)

    once(1, 0.3, 1700, 3)
    assert compiled() > 0
    Counted.built.clear()
    once(2, 0.7, 5200, 4)
    assert compiled() == 0
    limits = 4 if call == "sweep" else 1
    assert sorted(Counted.built) == ["diffusion"] * limits + ["drift"] * limits


def test_room_for_times_changes_no_statistic():
    """Nor has it a place in what is returned."""
    limit, v0 = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0)), np.eye(2) + 0.1
    saveat, key = np.array([0.1, 0.2, 0.3]), jax.random.key(0)
    asked = dict(key=key, num_paths=200, dt0=0.1, saveat=saveat)
    names = ("Moments", "Covariance", "Extremes")
    statistics = [getattr(covsde.statistics, name)() for name in names]
    entries = [covsde.observables.Entry(0, 0), covsde.observables.Entry(0, 1)]
    told = covsde.ensemble(
        limit, v0, 0.4, observables=entries, statistics=statistics, **asked
    )
    vs = np.asarray(covsde.solve(limit, v0, 0.4, **asked).vs)[:, :, 0]
    parts = {name: part.values for name, part in told.parts.items()}
    np.testing.assert_allclose(parts["mean"], vs.mean(0).T, rtol=1e-12)
    np.testing.assert_array_equal(parts["maximum"], vs.max(0).T)
    for j in range(3):
        found = parts["covariance"][:, j]
        np.testing.assert_allclose(found, np.cov(vs[:, j].T), rtol=1e-9, atol=1e-15)


def test_room_changes_no_number(optimised, monkeypatch):
    """Nor does it matter how paths are put together."""
    # in as many pieces for LLVM as a user's: one piece rounds by what is around
    pieces = {"xla_cpu_parallel_codegen_split_count": 32}
    monkeypatch.setattr(_jit, "CPU_OPTIONS", _jit.CPU_OPTIONS | pieces)
    alone = _jit.jit(simulate)
    monkeypatch.setattr(_reuse, "_simulate", alone)
    limit, starts = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0)), np.eye(2) + 0.1
    run, _ = plan(
        limit,
        starts,
        0.7,
        key=jax.random.key(0),
        num_paths=1200,
        saveat=np.array([0.0, 0.1, 0.33]),
        stop_above=2.0,
    )
    for found, exact in zip(
        jax.tree.leaves(simulated(run, 1200)),
        jax.tree.leaves(alone(run, 1200)),
        strict=True,
    ):
        assert found.shape == exact.shape and found.tobytes() == np.asarray(exact).tobytes()


# What the command line keeps


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Where the command line has JAX keep programs, in an environment of these variables;
    None if nowhere."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.delenv("COVSDE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def keep(given=None, **environment):
        jax.config.update("jax_compilation_cache_dir", given)
        for name, x in environment.items():
            monkeypatch.setenv(name, str(x))
        keep_programs()
        return jax.config.jax_compilation_cache_dir

    with warnings.catch_warnings():
        yield keep
    for name, x in before.items():
        jax.config.update(name, x)


def test_programs_are_kept_where_caches_are(kept, tmp_path):
    folder = tmp_path / "caches" / "covsde"
    assert kept(XDG_CACHE_HOME=folder.parent) == str(folder) and folder.is_dir()
    assert kept(XDG_CACHE_HOME="", HOME=tmp_path) == str(tmp_path / ".cache" / "covsde")


def test_programs_are_kept_where_one_is_told(kept, tmp_path, capsys):
    assert kept(COVSDE_CACHE=tmp_path / "here") == str(tmp_path / "here")
    assert kept(COVSDE_CACHE="0") is None
    assert kept(COVSDE_CACHE="") is None
    # JAX was told already
    assert kept("there", COVSDE_CACHE=tmp_path / "here") == "there"
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_cannot_be_written_is_no_error(kept, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert kept(XDG_CACHE_HOME=file) is None
    assert capsys.readouterr() == ("", "")
    assert kept(COVSDE_CACHE=file / "here") is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and str(file / "here") in told


def test_the_oldest_programs_are_dropped(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_MOST", 399)
    files = [tmp_path / f"{i}-cache" for i in range(4)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(100))
        os.utime(file, (i, i))
    (tmp_path / "another").touch()
    kept(COVSDE_CACHE=tmp_path)
    assert [file.exists() for file in files] == [False, False, True, True]
    assert (tmp_path / "another").exists()
