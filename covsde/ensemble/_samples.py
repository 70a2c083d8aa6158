"""The first paths of an ensemble, whole."""

from typing import NamedTuple

import numpy as np


class Samples(NamedTuple):
    """The first paths, whole.

    - `vs`: covariances `(samples, k, m, m)`, or what observables read in place of them.
    - `stopped_at`: `(samples,)`, inf where never.
    """

    vs: np.ndarray
    stopped_at: np.ndarray
