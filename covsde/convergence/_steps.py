"""Numbers of steps on one interval, each grid within the next."""

import itertools
from collections.abc import Sequence

import numpy as np

from .._checks import count, found


def check_steps(steps) -> tuple[int, ...]:
    """Refuses numbers of steps whose grids are not nested."""
    way_out = "For example (2, 4, 8, 16)."
    if isinstance(steps, str) or not isinstance(steps, Sequence | np.ndarray):
        raise TypeError(f"`steps` must be integers; got {found(steps)}. {way_out}")
    numbers = tuple(count("steps", n, way_out) for n in steps)
    pairs = itertools.pairwise(numbers)
    if len(numbers) < 2 or any(b <= a or b % a for a, b in pairs):
        raise ValueError(
            "`steps` must be two numbers or more, each a multiple of the one before; got "
            f"{numbers}. {way_out}"
        )
    return numbers
