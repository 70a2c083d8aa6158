"""An ordinary equation of matrices, to a tolerance."""

from collections.abc import Callable

import diffrax
import jax.numpy as jnp
import optimistix
from jax import lax
from jaxtyping import Array, Float, Scalar

MOST_STEPS = 100_000
# Of the time, steps that are shorter end the solution: it explodes.
_SHORTEST = 16


def solve_ode(
    field: Callable[[Scalar, Array], Array],
    v0: Float[Array, "m m"],
    times: Float[Array, " k"],
    level: Scalar | None,
    *,
    rtol: float,
    atol: float | Scalar,
) -> tuple[Float[Array, "k m m"], Scalar]:
    """`V` of `dV = field(t, V) dt` at increasing times, and when it stopped.

    It stops where `tr V/m` reaches the level, or where it explodes, which shows in steps
    that no longer move the time; later times have the state at which it did. Both are NaN
    if even `MOST_STEPS` steps do not reach one time from that before it. By Diffrax's
    `Dopri8`, with derivatives in both modes.

    From time to time, for Diffrax asks the host whether several in a row are increasing:
    of such a program nothing could be kept on disk.
    """
    reached = None
    if level is not None:
        size = 1 / v0.shape[-1]
        reached = diffrax.Event(
            lambda t, y, args, **_: level - jnp.trace(y) * size,
            # it falls, as does what Diffrax has in its place for a batch's other paths
            optimistix.Bisection(rtol=rtol, atol=0.0, flip=True),
        )
    shortest = _SHORTEST * float(jnp.finfo(v0.dtype).eps) * times[-1]
    controller = diffrax.PIDController(
        rtol=rtol, atol=atol, dtmin=shortest, force_dtmin=False
    )

    def advance(now: tuple[Array, Array, Array], t1: Scalar):
        t0, v, stopped_at = now
        running = jnp.isinf(stopped_at)
        solved = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, v, _: field(jnp.asarray(t), v)),
            diffrax.Dopri8(),
            t0=t0,
            t1=jnp.where(running, t1, t0),
            dt0=None,
            y0=v,
            stepsize_controller=controller,
            event=reached,
            max_steps=MOST_STEPS,
            throw=False,
            adjoint=diffrax.DirectAdjoint(),
        )
        (end,), (v,) = solved.ts, solved.ys  # pyright: ignore
        complete = solved.result == diffrax.RESULTS.successful
        if level is not None:  # where another path of a batch reaches it, to its tolerance
            elsewhere = jnp.invert(solved.event_mask)  # pyright: ignore
            complete |= elsewhere & (end >= t1 * (1 - 4 * rtol))
        endless = solved.result == diffrax.RESULTS.max_steps_reached
        stops = jnp.where(endless, jnp.nan, jnp.where(complete, jnp.inf, end))
        stopped_at = jnp.where(running, stops, stopped_at)
        return (end, v, stopped_at), v

    zero = jnp.zeros((), v0.dtype)
    (*_, stopped_at), vs = lax.scan(advance, (zero, v0, zero + jnp.inf), times)
    vs = jnp.where(jnp.isnan(stopped_at), jnp.nan, vs)
    return (vs + jnp.swapaxes(vs, 1, 2)) / 2, stopped_at
