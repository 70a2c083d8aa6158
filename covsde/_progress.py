"""How far a run has come: a bar on a terminal, lines elsewhere, or a call of yours."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._checks import found

Report = Callable[..., object]
_SECONDS = 2.0


def check_progress(progress, arguments: str) -> bool | Callable:
    """Whether to show it, or a function of these arguments to call."""
    if isinstance(progress, bool) or callable(progress):
        return progress
    raise TypeError(
        f"`progress` must be True, False or a function of {arguments}; got "
        f"{found(progress)}. True shows it on stderr."
    )


@contextmanager
def reporting(progress, done: int, total: int, unit: str = "paths") -> Iterator[Report]:
    """A function to call with how many are done, where they change of how many, and with
    the error so far where there is one; `done` are from an earlier run.
    """
    if callable(progress):
        yield lambda now, *more: progress(now, *(more or (total,)))
    elif not progress:
        yield lambda *now: None
    elif sys.stderr.isatty() and (bar := _bar(done, total, unit)) is not None:
        with bar as report:
            yield report
    else:
        yield _Lines(done, total, unit)


class _Rate:
    """How many a second of this run, the time that is left, and the error so far."""

    def __init__(self, done: int, unit: str):
        self.began, self.first, self.unit = time.perf_counter(), done, unit

    def __call__(self, now: int, total: int, error: float | None) -> str:
        rate = (now - self.first) / max(time.perf_counter() - self.began, 1e-9)
        left = (total - now) / rate if rate > 0 else float("inf")
        known = "" if error is None else f", error {error:.2g}"
        return f"{rate:.3g} {self.unit}/s, {left:.0f} s left{known}"


class _Lines:
    """A line on stderr every two seconds, and at the end."""

    def __init__(self, done: int, total: int, unit: str):
        self.rate, self.total, self.unit = _Rate(done, unit), total, unit
        self.last = time.perf_counter()

    def __call__(self, now: int, total: int | None = None, error: float | None = None):
        total = self.total if total is None else total
        if now < total and time.perf_counter() - self.last < _SECONDS:
            return
        self.last = time.perf_counter()
        share = now / max(total, 1)
        print(
            f"{now:,} of {total:,} {self.unit} ({share:.0%}), "
            f"{self.rate(now, total, error)}",
            file=sys.stderr,
            flush=True,
        )


def _bar(done: int, total: int, unit: str):
    """A bar by rich, or None where it is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ImportError:
        return None

    @contextmanager
    def shown() -> Iterator[Report]:
        rate = _Rate(done, unit)
        columns = (
            TextColumn(f"{{task.completed:,.0f}} of {{task.total:,.0f}} {unit}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=total, completed=done, rate="compiling")

            def report(now: int, total: int = total, error: float | None = None):
                told = rate(now, total, error)
                bars.update(task, completed=now, total=total, rate=told)

            yield report

    return shown()
