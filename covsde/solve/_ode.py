"""Limits without noise: ordinary equations, to a tolerance in place of a step."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Scalar

from .._checks import is_concrete
from .._ode import MOST_STEPS, solve_ode
from .._problem import in_dtype
from ..functionals import AT_LEVEL, EXPLODED, RUNNING, Fates
from ..limits import AbstractLimit

# Of a step, relative, and for entries near zero relative to tr V0/m.
RTOL, ATOL = 1e-8, 1e-10
SOLVER = diffrax.Dopri8()
_AT_A_TIME = 64


def without_noise(
    limit: AbstractLimit,
    v0: Float[Array, "m m"] | Float[Array, "starts m m"],
    save_times: Float[Array, " k"],
    level: Scalar | None,
) -> tuple[Float[Array, "paths k m m"], Float[Array, " paths"]]:
    """`V` of `dV = b(V) dt` at the times to save, from one start or from several, and
    where each path stopped.

    The last time to save is the end. A path stops where `tr V/m` reaches the `level`, or
    where it explodes, and reads as infinite then. `V` is symmetric, and a covariance but
    for the tolerance: at a singular start an eigenvalue may be negative by as much. A path
    that takes too many steps is NaN, and not said to stop. To be compiled.
    """
    starts = v0 if v0.ndim == 3 else v0[None]
    limit = in_dtype(limit, starts.dtype)
    # what rounding leaves of a tolerance
    rtol = max(RTOL, 16 * float(jnp.finfo(starts.dtype).eps))

    def path(v0):
        size = jnp.trace(v0) / v0.shape[-1]
        return solve_ode(
            lambda t, v: limit.drift(t, v, None),
            v0,
            save_times,
            level,
            rtol=rtol,
            atol=ATOL / RTOL * rtol * lax.stop_gradient(size),
        )

    if len(starts) == 1:
        vs, stopped_at = jax.tree.map(lambda x: x[None], path(starts[0]))
    else:
        vs, stopped_at = lax.map(path, starts, batch_size=_AT_A_TIME)
    stopped_at = jnp.where(jnp.isnan(stopped_at), jnp.inf, stopped_at)
    fate = EXPLODED if level is None else AT_LEVEL
    fates = Fates(stopped_at, jnp.where(stopped_at < jnp.inf, fate, RUNNING))
    return jax.vmap(fates.readable, in_axes=(1, 0), out_axes=1)(vs, save_times), stopped_at


def check_reached(vs: Float[Array, "paths k m m"]) -> None:
    """Refuses paths that took too many steps, where that is known."""
    if is_concrete(vs) and np.any(np.isnan(vs[:, -1, 0, 0])):
        raise ValueError(
            f"`limit` must be solved in {MOST_STEPS:,} steps to a tolerance; its drift is "
            "too strong for that. Pass `dt0` to choose steps, or a shorter `t1`."
        )
