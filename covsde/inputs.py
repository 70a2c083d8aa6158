"""From a network's inputs to the covariance it starts from."""

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._checks import check_finite, is_concrete, real_array


def gram(x: Float[ArrayLike, "m n_in"]) -> Float[Array, "m m"]:
    """`V_0 = ⟨x^a, x^b⟩/n_in`, the covariance of the first layer.

    **Arguments:**

    - `x`: the inputs, one a row, shape `(m, n_in)`.

    **Raises:** `ValueError` if an input is zero, not finite, or of a mean square that is no
    float, or `x` is no matrix; `TypeError` if it holds no real numbers.
    """
    way_out = "Stack the inputs as rows, or load them with `numpy.load`."
    x = real_array("x", x, "an array of inputs (m, n_in)", way_out)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`x` must have shape (m, n_in), one input a row; got {x.shape}. "
            "Reshape it, e.g. `x.reshape(m, -1)`."
        )
    if is_concrete(x):
        values = np.asarray(x)
        check_finite("x", values, "Remove that input.")
        zero = np.flatnonzero(~np.any(values, axis=1))
        if zero.size:
            raise ValueError(
                f"`x` must have no zero input; row {zero[0]} is zero, so its "
                "correlations are undefined. Remove it, or shift the inputs."
            )
        with np.errstate(over="ignore", under="ignore"):
            size = np.mean(values**2, axis=1)
        least, most = np.finfo(size.dtype).tiny, np.finfo(size.dtype).max
        wrong = np.flatnonzero(~((size >= least) & (size <= most)))
        if wrong.size:
            raise ValueError(
                f"`x` must have mean squares from {least:.2g} to {most:.2g}, where "
                f"{size.dtype} ends; got {size[wrong[0]]:.3g} in row {wrong[0]}. Scale the "
                "inputs to mean square 1."
            )
    return jax.lax.dot(x, x.T, precision="highest") / x.shape[1]
