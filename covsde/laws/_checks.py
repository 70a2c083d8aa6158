"""The arguments of laws, checked: levels, probabilities, starts and times.

What is known now is checked; what JAX traces passes, unless the law is computed by NumPy.
"""

import numpy as np
from jaxtyping import Array

from .._checks import is_concrete, real_array


def numbers(name: str, x, accepted: str, way_out: str, *, test) -> Array:
    """Real numbers that pass a test, elementwise on arrays; NaN passes none."""
    array = real_array(name, x, accepted, way_out)
    if is_concrete(array):
        values = np.asarray(array)
        refused = values[~(test(values) & ~np.isnan(values))]
        if refused.size:
            raise ValueError(f"`{name}` must be {accepted}; got {refused[0]}. {way_out}")
    return array
