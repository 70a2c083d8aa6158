"""The inputs of the networks: rows of a file, or handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array

from .._names import full_name
from ..inputs import gram
from ..limits import AbstractLimit
from ._catalogue import ARCHITECTURES
from ._errors import refuse
from ._groups import PANEL_WHAT, Group
from ._read import whole

_MOST_INPUTS = 100
# digits that are taken if nothing is given, but for limits of a number of their own
_DIGITS = 7
_OWN = {name: getattr(make, "num_inputs", None) for name, make in ARCHITECTURES.items()}
_OTHERWISE = "".join(f", or {count} for {name}" for name, count in _OWN.items() if count)


class Inputs(NamedTuple):
    """Inputs `(m, n_in)`, one a row, and a sentence about them."""

    x: np.ndarray
    words: str

    def covariance(self, dtype) -> Array:
        """`V_0`."""
        return gram(jnp.asarray(self.x)).astype(dtype)


@dataclass(frozen=True)
class Data(Group):
    """The options that name inputs."""

    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Inputs, one a row, in a .npy or .csv file. They are used as they are.",
            rich_help_panel=PANEL_WHAT,
        ),
    ] = None
    digits: Annotated[
        int | None,
        typer.Option(
            "--digits",
            parser=whole,
            metavar="N",
            help="Handwritten digits 0, 1, …, N−1 as inputs, up to 10. (default: "
            f"{_DIGITS}{_OTHERWISE})",
            rich_help_panel=PANEL_WHAT,
        ),
    ] = None

    def read(self, limit: AbstractLimit) -> Inputs:
        """The inputs that are asked for; refuses others than so many as the limit is of."""
        wanted = limit.num_inputs
        made = self._made(wanted or _DIGITS)
        if wanted not in (None, len(made.x)):
            raise refuse(
                "--digits" if self.inputs is None else "--inputs",
                f"must give {wanted} inputs for {full_name(limit)}; got {len(made.x)}. "
                f"Give {wanted} rows by --inputs, or --digits {wanted}.",
            )
        return made

    def _made(self, default: int) -> Inputs:
        if self.inputs is None:
            return handwritten_digits(default if self.digits is None else self.digits)
        if self.digits is not None:
            raise refuse(
                "--digits", "cannot be given together with --inputs. Choose one of them."
            )
        x = read_file(self.inputs)
        return Inputs(x, f"{len(x)} inputs of dimension {x.shape[1]} from {self.inputs}")


def handwritten_digits(count: int) -> Inputs:
    """One image of each of the classes 0, 1, …, from the set bundled with scikit-learn.

    8×8 pixels. The mean image of the set is taken off, and all images are divided by one
    number, such that the mean of `V_0^{aa}` is 1.
    """
    if not 1 <= count <= 10:
        raise refuse(
            "--digits",
            f"must be from 1 to 10, for there is one image of each digit; got {count}. "
            "Give other inputs by --inputs.",
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise refuse(
            "--digits",
            "the digits come with scikit-learn, which is not installed. Install it with "
            "`pip install 'covsde[examples]'`, or give other inputs by --inputs.",
        ) from error
    images, classes = load_digits(return_X_y=True)
    first = [np.flatnonzero(classes == digit)[0] for digit in range(count)]
    x = images[first] - images.mean(axis=0)
    x = x / np.sqrt(np.mean(x**2))
    return Inputs(x, f"{count} handwritten digits (one image a class, less the mean image)")


def read_file(path: Path) -> np.ndarray:
    """A matrix from a .npy or .csv file; refuses what is no set of inputs."""
    hint = "Give a .npy or .csv file with one input a row."
    if path.suffix.lower() not in (".npy", ".csv"):
        raise refuse("--inputs", f"must be a .npy or .csv file; got {str(path)!r}. {hint}")
    try:
        if not path.is_file():
            kind = "is a folder" if path.is_dir() else "does not exist"
            raise refuse("--inputs", f"the file {str(path)!r} {kind}. {hint}")
        x = _load(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise refuse("--inputs", f"cannot read {str(path)!r}: {reason}. {hint}") from error
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        way_out = (
            "Every line must hold as many numbers, separated by commas, and no heading."
            if path.suffix.lower() == ".csv"
            else "Write it with `numpy.save`."
        )
        raise refuse(
            "--inputs",
            f"cannot read {str(path)!r} as a matrix of numbers ({reason}). {way_out}",
        ) from error
    return _check(x, path, hint)


def _load(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:  # `numpy.load` would read other formats, too
            return np.lib.format.read_array(file, allow_pickle=False)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if not any(line.partition("#")[0].strip() for line in lines):
        raise ValueError("the file is empty")
    return np.loadtxt(lines, delimiter=",", ndmin=2)


def _check(x: np.ndarray, path: Path, hint: str) -> np.ndarray:
    name = repr(str(path))
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
        raise refuse(
            "--inputs", f"{name} must hold real numbers; got dtype {x.dtype}. {hint}"
        )
    if x.ndim != 2 or 0 in x.shape:
        raise refuse(
            "--inputs",
            f"{name} must hold a matrix, one input a row; got shape {x.shape}. Reshape it, "
            "e.g. `x.reshape(len(x), -1)`.",
        )
    if len(x) > _MOST_INPUTS:
        raise refuse(
            "--inputs",
            f"{name} must hold at most {_MOST_INPUTS} inputs, one a row; got {len(x)}. "
            "V has an entry for each pair of inputs: choose some rows.",
        )
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise refuse(
            "--inputs",
            f"{name} must hold finite numbers; got NaN or infinity in row {bad[0] + 1}. "
            "Remove that row, or fill it in.",
        )
    zero = np.flatnonzero(~x.any(axis=1))
    if zero.size:
        raise refuse(
            "--inputs",
            f"{name} must have no zero input; got one in row {zero[0] + 1}, whose "
            "correlations are undefined. Remove it, or shift the inputs.",
        )
    with np.errstate(over="ignore", under="ignore"):
        size = np.mean(x**2, axis=1)
    if not (np.isfinite(size).all() and (size > np.finfo(np.float32).tiny).all()):
        raise refuse(
            "--inputs",
            f"{name} must hold numbers of ordinary size; got inputs of mean square from "
            f"{size.min():.3g} to {size.max():.3g}. Scale them to mean square 1.",
        )
    return x
