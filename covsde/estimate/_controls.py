"""Control variates: functions of the Brownian motion at the end, whose means are known."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..brownian import BrownianGrid

# How many standard errors a correlation is away from 0 to be believed. Of controls that
# tell nothing one in eighty is taken.
_SIGNIFICANT = 2.5
# As many paths of a pilot for each control at least.
_PATHS_EACH = 8


def controls_of(
    path: BrownianGrid, cells: Array | None = None
) -> Float[Array, "num_paths controls"]:
    """Each entry of the motion as a standard normal, and its square less one.

    All have mean 0, and no two are correlated. The grid has so many cells, if it has room
    for more.
    """
    normals = path.whole(cells) / jnp.sqrt(path.t1 - path.t0)
    return jnp.concatenate([normals, normals**2 - 1], axis=-1)


def fit_controls(controls: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Slopes by which to subtract controls of a pilot, and the variance that is left.

    Every slope has an error, by which it adds to the variance on other paths. So a control
    is taken where it is correlated with y, or with what the first choice leaves of it. The
    variance is that on other paths: of n paths and p slopes it is `n/(n − 1 − p)²` times
    the sum of squared residuals (generalised cross-validation).

    Source: Craven, Wahba (1979), "Smoothing noisy data with spline functions".
    """
    controls, y = controls - controls.mean(axis=0), y - y.mean()
    n, p = controls.shape
    slopes, rest, taken = np.zeros(p), y, np.zeros(p, bool)
    for _ in range(2):
        taken |= _significant(controls, rest, n // _PATHS_EACH - taken.sum())
        slopes[taken] = np.linalg.lstsq(controls[:, taken], y, rcond=None)[0]
        rest = y - controls @ slopes
    return slopes, float(rest @ rest * n / (n - 1 - taken.sum()) ** 2)


def _significant(controls: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Which controls are correlated with y beyond doubt, the `most` closest ones."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of a y without variance
        norms = np.linalg.norm(controls, axis=0) * np.linalg.norm(y)
        apart = np.abs(y @ controls) / norms * len(y) ** 0.5
    closest = np.argsort(np.argsort(-apart)) < most
    return closest & (apart > _SIGNIFICANT)
