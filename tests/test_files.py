"""Files put in place whole: whatever fails, there is the old one or the new one."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ShapedMLP, ShapedReLU, UnshapedMLP, _files
from covsde._files import Aside, replacing
from covsde.observables import LogNorm

pytest.importorskip("h5netcdf")
xarray = pytest.importorskip("xarray")

RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
KEY = jax.random.key(0)


@contextmanager
def full_at(size):
    """No file of a result may grow beyond `size`, as on a full disk.

    A limit of the system's would be one of the whole process, compiler and all.
    """

    class Full(io.FileIO):
        def write(self, data, /):
            room = size - self.tell()
            if room <= 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return super().write(memoryview(data)[:room])

        def truncate(self, size_=None, /):
            if (self.tell() if size_ is None else size_) > size:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return super().truncate(size_)

    bases = Aside.__bases__
    Aside.__bases__ = (Full,)
    try:
        yield
    finally:
        Aside.__bases__ = bases


@pytest.fixture(scope="module")
def results():
    """What can be saved, and the files of each."""
    run = dict(key=KEY, num_paths=2000, dt0=0.5)
    ensemble = covsde.ensemble(RELU, V0, 0.5, observables=LogNorm(0), **run)
    report = covsde.validate(RELU, V0, 0.5, width=[4, 8], num_networks=200, **run)
    nearness = UnshapedMLP(1.0, 0.0).solve(0.5, key=KEY, num_paths=2000, dt0=0.1)
    return {
        "solution": lambda folder: report.limit.save(folder / "v.nc"),
        "nearness": lambda folder: nearness.save(folder / "v.nc"),
        "ensemble": lambda folder: ensemble.save(folder / "v.nc"),
        "report": report.save,
        "figures": report.figures,
    }


KINDS = ("solution", "nearness", "ensemble", "report", "figures")


def contents(folder):
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [10, 5000])
def test_a_full_disk_leaves_the_old_file(results, kind, size, tmp_path):
    if kind == "figures":
        pytest.importorskip("matplotlib")
    save = results[kind]
    save(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OSError, match="File too large") as caught, full_at(size):
        save(tmp_path)
    assert caught.value.filename in map(str, tmp_path.iterdir())
    assert contents(tmp_path) == before
    for name in before:
        if name.endswith(".nc"):
            xarray.load_dataset(tmp_path / name)
    save(tmp_path)
    assert contents(tmp_path).keys() == before.keys()


def test_what_a_full_disk_lost_is_read_all_the_same(tmp_path):
    """HDF5 reads its tables again as it closes; of garbage it makes what it will."""
    draw, size = np.random.default_rng(0), 5000
    plain = io.BytesIO(bytes(size))
    with full_at(1000), Aside(tmp_path / "file", "x+") as file:
        for _ in range(300):
            begin, length = map(int, draw.integers([0, 1], [size - 300, 300]))
            data = draw.bytes(length)
            for some in (file, plain):
                some.seek(begin)
                assert some.write(data) == length
                assert some.tell() == begin + length
            for some in (file, plain):
                some.seek(begin // 2)
            seen = bytearray(200)
            written = plain.getbuffer()[begin // 2 :][:200]
            assert file.readinto(seen) == 200 and file.tell() == begin // 2 + 200
            assert seen == written
            written.release()
        assert isinstance(file.error, OSError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_save_that_fails_leaves_nothing(results, kind, tmp_path):
    if kind == "figures":
        pytest.importorskip("matplotlib")
    with pytest.raises(OSError, match="File too large"), full_at(10):
        results[kind](tmp_path / "new")
    assert contents(tmp_path / "new") == {}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_error_midway_leaves_the_old_file(results, error, tmp_path, monkeypatch):
    results["solution"](tmp_path)
    before = contents(tmp_path)
    dump = xarray.Dataset.dump_to_store

    def torn(*arguments):
        dump(*arguments)
        raise error("midway")

    monkeypatch.setattr(xarray.Dataset, "dump_to_store", torn)
    with pytest.raises(error, match="midway"):
        results["solution"](tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("at", [1, 3, 10, 20])
def test_ctrl_c_in_the_midst_of_a_write(results, at, tmp_path, monkeypatch):
    """Raised within HDF5, it would end the process."""
    results["ensemble"](tmp_path)
    before, writes, write = contents(tmp_path), [], Aside.write

    def interrupted(self, data):
        writes.append(len(data))
        if len(writes) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return write(self, data)

    monkeypatch.setattr(Aside, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        results["ensemble"](tmp_path)
    assert len(writes) > at
    assert contents(tmp_path) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    results["ensemble"](tmp_path)


def test_who_has_the_old_file_open_keeps_it(tmp_path):
    one, other = (
        covsde.solve(RELU, V0, 0.5, key=jax.random.key(i), num_paths=9, dt0=0.5)
        for i in range(2)
    )
    file = one.save(tmp_path / "v.nc")
    with xarray.open_dataset(file, engine="h5netcdf") as held:
        other.save(file)
        np.testing.assert_array_equal(held["v"], one.vs)
        with xarray.open_dataset(file, engine="h5netcdf") as fresh:
            np.testing.assert_array_equal(fresh["v"], other.vs)


def test_several_threads_save_to_one_path(results, tmp_path):
    threads = [
        threading.Thread(target=results["ensemble"], args=(tmp_path,)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(contents(tmp_path)) == ["v.nc"]
    covsde.Ensemble.load(tmp_path / "v.nc")


PROGRAM = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
for _ in range(100):
    with files.replacing(Path(sys.argv[2])) as file:
        for _ in range(10):
            file.write(sys.argv[3].encode() * 10_000)
"""


def test_several_processes_save_to_one_path(tmp_path):
    """Every file that is read is a whole one, of one of them."""
    path = tmp_path / "file"
    command = [sys.executable, "-c", PROGRAM, _files.__file__, str(path)]
    processes = [subprocess.Popen([*command, letter]) for letter in "ab"]
    seen = set()
    while any(process.poll() is None for process in processes):
        if path.exists():
            seen.add(path.read_bytes())
    assert [process.returncode for process in processes] == [0, 0]
    assert seen <= {b"a" * 100_000, b"b" * 100_000} and seen
    assert list(contents(tmp_path)) == ["file"]


def write(path, data):
    with replacing(Path(path)) as file:
        file.write(data)


KILLED = """
import importlib.util, os, pathlib, signal, sys
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
with files.replacing(pathlib.Path(sys.argv[2])) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_a_file_that_is_in_nobodys_way(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, _files.__file__, str(path)])
    assert killed.returncode == -signal.SIGKILL and path.read_bytes() == b"old"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.match(".covsde-*.tmp")
    write(path, b"new")
    assert path.read_bytes() == b"new" and left.read_bytes() == b"half"


def test_a_link_and_the_mode_of_a_file_stay(tmp_path):
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    write(target, b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    write(tmp_path / "plain", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "plain").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("where", ["", "file/below", "/dev/null", "/proc/nothing"])
def test_what_cannot_be_replaced_is_named(where, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / where
    with pytest.raises(OSError, match=r"^\[Errno \d+\] \w") as caught:
        write(path, b"new")
    assert caught.value.filename == str(path)
    assert list(contents(tmp_path)) == ["file"]


def test_a_read_only_file_stays(tmp_path, monkeypatch):
    write(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # of root all is writable
    with pytest.raises(PermissionError, match="file"):
        write(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}
