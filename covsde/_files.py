"""Files that are made aside and put in place whole: there is the old one, or the new."""

import errno
import io
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_TABLE = 2**20  # HDF5 reads no longer piece again


class Aside(io.FileIO):
    """A file that keeps its first error for later, and seems to be written all the same.

    HDF5 cannot close a file that it fails to write, and takes the process down with it. It
    reads its own tables again, so what is lost of these stays in memory until the end.
    """

    error: BaseException | None = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._lost: list[tuple[int, bytes]] = []

    def write(self, data, /) -> int:
        """Writes all of `data`."""
        begin, rest = self.tell(), memoryview(data)
        size = rest.nbytes
        try:
            while rest.nbytes and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        if rest.nbytes:
            if size <= _TABLE:
                self._lost.append((begin, bytes(data)))
            self.seek(begin + size)
        return size

    def readinto(self, buffer, /) -> int:
        """Reads what was written, lost or not."""
        begin, into = self.tell(), memoryview(buffer)
        if not self._lost:
            return super().readinto(buffer)
        super().readinto(buffer)
        for at, data in self._lost:
            first, last = max(at, begin), min(at + len(data), begin + into.nbytes)
            if first < last:
                into[first - begin : last - begin] = data[first - at : last - at]
        self.seek(begin + into.nbytes)
        return into.nbytes

    def truncate(self, size=None, /) -> int:
        """Cuts or lengthens it to `size`."""
        try:
            if self.error is None:
                return super().truncate(size)
        except OSError as error:
            self.error = error
        return self.tell() if size is None else size

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Raises what was kept at its end; what Ctrl-C raises is kept as well.

        For it would be raised within HDF5.
        """
        handlers = {}
        if threading.current_thread() is threading.main_thread():  # nowhere else
            handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
            handlers = {s: handler for s, handler in handlers.items() if callable(handler)}

        def keep(number, frame):
            try:
                handlers[number](number, frame)
            except BaseException as error:  # it is raised in the end
                self.error = error

        try:
            for number in handlers:
                signal.signal(number, keep)
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if self.error is not None:
                raise self.error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An `OSError` names `path` and the reason."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Aside]:
    """A file to write to; in the end it takes the place of `path`, whose folder is made.

    Until then, and after an error, `path` is as it was. Whoever has the old file open
    keeps it, and of several that write to one path the last has its way. A process that is
    killed leaves its file, `.covsde-….tmp`, in the folder: no other can tell that it is
    not being written, so none removes it.

    **Raises:** `OSError` that names `path` and the reason, e.g. a full disk.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    fresh = target.with_name(f".covsde-{secrets.token_hex(8)}.tmp")
    with naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_replaceable(target)
        try:
            with Aside(fresh, "x+") as file, file.keeping():
                yield file
                if file.error is None:
                    os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, fresh)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    sync_folder(target.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder to make and fill aside; in the end it takes the place of `path`, whole."""
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not target.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    aside = TemporaryDirectory(prefix=".covsde-", suffix=".tmp", dir=target.parent)
    with aside as room:
        fresh, old = Path(room, "new"), Path(room, "old")
        yield fresh
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    sync_folder(target.parent)


def _check_replaceable(target: Path) -> None:
    """Refuses what a file must not take the place of, and what may not be written."""
    if target.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        raise OSError(errno.EEXIST, "There is something that is no file")
    if target.exists() and not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def sync(path: Path) -> None:
    """What was written to a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The names of its files are on the disk, where a system can tell."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
