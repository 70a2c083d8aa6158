"""From a network's inputs to the covariance it starts from."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._checks import found, is_concrete


def gram(x: Float[Array, "m n_in"]) -> Float[Array, "m m"]:
    """`V_0 = ⟨x^a, x^b⟩/n_in`, the covariance of the first layer.

    **Arguments:**

    - `x`: the inputs, one a row, shape `(m, n_in)`.

    **Raises:** `ValueError` if an input is zero or not finite, or `x` is no matrix.
    """
    if isinstance(x, str) or not hasattr(x, "__len__"):
        raise TypeError(
            f"`x` must be an array of inputs (m, n_in); got {found(x)}. Stack the inputs "
            "as rows, or load them with `numpy.load`."
        )
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(
                f"`x` must be real numbers; got dtype {x.dtype}. Convert it first."
            )
        x = x.astype(jnp.result_type(float))
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(
            f"`x` must have shape (m, n_in), one input a row; got {x.shape}. "
            "Reshape it, e.g. `x.reshape(m, -1)`."
        )
    if is_concrete(x):
        values = np.asarray(x)
        if not np.all(np.isfinite(values)):
            raise ValueError(
                "`x` must be finite; got NaN or infinity. Remove those inputs."
            )
        zero = np.flatnonzero(~np.any(values, axis=1))
        if zero.size:
            raise ValueError(
                f"`x` must have no zero input; row {zero[0]} is zero, so its "
                "correlations are undefined. Remove it, or shift the inputs."
            )
    return jax.lax.dot(x, x.T, precision="highest") / x.shape[1]
