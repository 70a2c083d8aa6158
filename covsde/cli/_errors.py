"""Errors in the words of the command line: the option, what was found, the way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import typer

# what the library calls an argument, and the option that sets it
_OPTIONS = {
    "a": "--a",
    "c": "--branch-variance",
    "c_minus": "--c-minus",
    "c_plus": "--c-plus",
    "center": "--center",
    "checkpoint": "--checkpoint",
    "chunk_size": "--chunk-size",
    "dt0": "--dt0",
    "feed_forward_gamma": "--feed-forward-gamma",
    "fn": "--activation",
    "gamma": "--gamma",
    "heads": "--heads",
    "hidden_ratio": "--hidden-ratio",
    "key": "--seed",
    "limit": "--activation",
    "method": "--method",
    "num_networks": "--networks",
    "num_paths": "--paths",
    "path": "FILE...",
    "saveat": "--save-times",
    "shard": "--shard",
    "shards": "FILE...",
    "slope_minus": "--slope-minus",
    "slope_plus": "--slope-plus",
    "solver": "--solver",
    "stop_above": "--stop-above",
    "t1": "--t1",
    "tau0": "--tau0",
    "v0": "--inputs",
    "width": "--widths",
    "x": "--inputs",
}


def refuse(option: str, message: str) -> typer.BadParameter:
    """An error about an option; it ends the program with exit code 2."""
    return typer.BadParameter(message, param_hint=option)


@contextmanager
def in_words_of_the_command_line() -> Iterator[None]:
    """Turns what the library refuses into an error about an option."""
    try:
        yield
    except (ValueError, TypeError) as error:
        named = re.match(r"`(\w+)`", str(error))
        if named is None or named[1] not in _OPTIONS:
            raise
        message = re.sub(r"`(\w+)`", lambda m: _OPTIONS.get(m[1], m[0]), str(error))
        raise refuse(_OPTIONS[named[1]], message) from error
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        raise typer.BadParameter(f"Something is not installed: {error}") from error
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not _out_of_memory(error):
            raise
        raise refuse(
            "--paths",
            "there is not enough memory. Lower --paths or --networks.",
        ) from error


def _out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or "memory" in str(error).lower()


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Turns a failure to write into an error about `--out`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = error.filename or str(path)
        raise refuse(
            option, f"cannot write {where!r}: {reason}. Name a place you may write to."
        ) from error


def number(option: str, x: float | None, meaning: str, *, positive: bool = True) -> None:
    """Refuses a number that is not finite, or not positive."""
    kind = "a positive finite number" if positive else "a finite number"
    if x is not None and not (np.isfinite(x) and (x > 0 or not positive)):
        raise refuse(option, f"must be {kind}; got {x:g}. {meaning}")


def at_least(option: str, x: int | None, least: int, meaning: str) -> None:
    """Refuses an integer that is too small."""
    if x is not None and x < least:
        raise refuse(option, f"must be an integer of at least {least}; got {x}. {meaning}")
