"""How far a run has come: a bar on a terminal, lines elsewhere, or a call of yours."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int], object]
_SECONDS = 2.0


@contextmanager
def reporting(progress, done: int, total: int) -> Iterator[Report]:
    """A function to call with how many paths are done; `done` are from an earlier run."""
    if callable(progress):
        yield lambda now: progress(now, total)
    elif not progress:
        yield lambda now: None
    elif sys.stderr.isatty() and (bar := _bar(done, total)) is not None:
        with bar as report:
            yield report
    else:
        yield _Lines(done, total)


class _Rate:
    """Paths a second of this run, and the time that is left."""

    def __init__(self, done: int, total: int):
        self.began, self.first, self.total = time.perf_counter(), done, total

    def __call__(self, now: int) -> str:
        rate = (now - self.first) / max(time.perf_counter() - self.began, 1e-9)
        left = (self.total - now) / rate if rate > 0 else float("inf")
        return f"{rate:.3g} paths/s, {left:.0f} s left"


class _Lines:
    """A line on stderr every two seconds, and at the end."""

    def __init__(self, done: int, total: int):
        self.rate, self.total, self.last = _Rate(done, total), total, time.perf_counter()

    def __call__(self, now: int) -> None:
        if now < self.total and time.perf_counter() - self.last < _SECONDS:
            return
        self.last = time.perf_counter()
        share = now / max(self.total, 1)
        print(
            f"{now:,} of {self.total:,} paths ({share:.0%}), {self.rate(now)}",
            file=sys.stderr,
            flush=True,
        )


def _bar(done: int, total: int):
    """A bar by rich, or None where it is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ImportError:
        return None

    @contextmanager
    def shown() -> Iterator[Report]:
        rate = _Rate(done, total)
        columns = (
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} paths"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=total, completed=done, rate="compiling")
            yield lambda now: bars.update(task, completed=now, rate=rate(now))

    return shown()
