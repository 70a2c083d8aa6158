"""The ends of the steps."""

import itertools
import math

import jax.numpy as jnp
import numpy as np

MAX_STEPS = 1_000_000


def step_times(save_times: np.ndarray, t1: float, dt0: float) -> np.ndarray:
    """Ends of the steps: equal, at most `dt0`, between consecutive times to save."""
    stops = sorted({0.0, *save_times.tolist(), t1})
    pieces = [np.array([0.0])]
    for start, end in itertools.pairwise(stops):
        wanted = (end - start) / dt0
        if wanted > MAX_STEPS:
            raise ValueError(
                f"`dt0` must leave at most {MAX_STEPS:,} steps; got {dt0:g}, which takes "
                f"{wanted:.3g} steps from t = {start:g} to {end:g}. Pass a longer step, a "
                "shorter `t1`, or an activation of weaker shaping."
            )
        steps = max(1, math.ceil(wanted - 1e-9))
        pieces.append(np.linspace(start, end, steps + 1)[1:])
    return np.concatenate(pieces)


def check_resolution(steps: np.ndarray, dtype) -> None:
    """Refuses steps that the dtype cannot tell apart."""
    shortest, eps = np.min(np.diff(steps)), float(jnp.finfo(dtype).eps)
    if shortest < 100 * eps * steps[-1]:
        raise ValueError(
            f"`dt0` and `saveat` must leave steps of at least {100 * eps:.1g} t1 in "
            f"{dtype}; got one of {shortest:.3g}. Pass a longer step or a float64 `v0`."
        )
