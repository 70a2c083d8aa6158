"""Errors in the words of the command line: the option, what was found, the way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import typer

from ._parameters import option_names

# what the library calls an argument of its functions, and the option that sets it
_CALLS = {
    "activation": "--activation",
    "checkpoint": "--checkpoint",
    "chunk_size": "--chunk-size",
    "dt0": "--dt0",
    "fn": "--activation",
    "key": "--seed",
    "limit": "--activation",
    "method": "--method",
    "num_networks": "--networks",
    "num_paths": "--paths",
    "path": "FILE...",
    "saveat": "--save-times",
    "shard": "--shard",
    "shards": "FILE...",
    "solver": "--solver",
    "stop_above": "--stop-above",
    "t1": "--t1",
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
        named = re.match(r"`(\w+)[\w.]*`", str(error))
        option = _options().get(named[1]) if named else None
        if option is None:
            raise
        raise refuse(option, with_options(str(error))) from error
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        raise typer.BadParameter(f"Something is not installed: {error}") from error
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not _out_of_memory(error):
            raise
        raise refuse(
            "--paths",
            "there is not enough memory. Lower --paths, --networks or --widths.",
        ) from error


def with_options(message: str) -> str:
    """What the library says, its arguments as the options that set them."""
    options = _options()
    return re.sub(r"`(\w+)`", lambda m: options.get(m[1], m[0]), message)


def _options() -> dict[str, str]:
    return _CALLS | option_names()


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
