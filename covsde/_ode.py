"""An ordinary equation of matrices, to a tolerance."""

from collections.abc import Callable

import diffrax
import jax.numpy as jnp
import optimistix
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
    if even `MOST_STEPS` steps do not reach the last time. By Diffrax's `Dopri8`, with
    derivatives in both modes.
    """
    reached = None
    if level is not None:
        size = 1 / v0.shape[-1]
        reached = diffrax.Event(
            lambda t, y, args, **_: jnp.trace(y) * size - level,
            optimistix.Bisection(rtol=rtol, atol=0.0),
        )
    eps = float(jnp.finfo(v0.dtype).eps)
    solved = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, v, _: field(jnp.asarray(t), v)),
        diffrax.Dopri8(),
        t0=jnp.zeros((), v0.dtype),
        t1=times[-1],
        dt0=None,
        y0=v0,
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]
        ),
        # saved times are ends of steps: interpolation is less accurate
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(
                rtol=rtol, atol=atol, dtmin=_SHORTEST * eps * times[-1], force_dtmin=False
            ),
            step_ts=times,
        ),
        event=reached,
        max_steps=MOST_STEPS,
        throw=False,
        adjoint=diffrax.DirectAdjoint(),
    )
    (saved_ts, end_t), (vs, end) = solved.ts, solved.ys  # pyright: ignore
    complete = solved.result == diffrax.RESULTS.successful
    endless = solved.result == diffrax.RESULTS.max_steps_reached
    vs = jnp.where(jnp.isfinite(saved_ts)[:, None, None], vs, end)
    stopped_at = jnp.where(complete, jnp.inf, end_t[0])
    vs, stopped_at = (jnp.where(endless, jnp.nan, x) for x in (vs, stopped_at))
    return (vs + jnp.swapaxes(vs, 1, 2)) / 2, stopped_at
