"""Freezing networks that grow too large, as `solve` freezes paths."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

from ..functionals import infinite_state
from ..observables import mean_variance
from ._network import covariance


class Frozen(eqx.Module):
    """Covariances, and the time at which each network was stopped, inf where it runs."""

    v: Float[Array, "networks m m"]
    stopped_at: Float[Array, " networks"]

    def __init__(self, v: Array, stopped_at: Array | None = None):
        self.v = v
        never = jnp.full(v.shape[:1], jnp.inf, v.dtype)
        self.stopped_at = never if stopped_at is None else stopped_at

    @property
    def running(self) -> Bool[Array, " networks"]:
        """Which networks are not stopped."""
        return jnp.isinf(self.stopped_at)

    def advance(self, v: Array, time: Scalar, level: Scalar) -> "Frozen":
        """The state after a layer with covariance `v` at `time`.

        A network is kept at its first state with `tr V/m` above `level`. One that leaves
        the numbers reads as a path that exploded.
        """
        size = mean_variance(v)
        finite = jnp.isfinite(size)
        stops = self.running & ~(finite & (size <= level))
        kept = jnp.where(finite[:, None, None], v, infinite_state(v.shape[1:], v.dtype))
        return Frozen(
            jnp.where(self.running[:, None, None], kept, self.v),
            jnp.where(stops, time.astype(v.dtype), self.stopped_at),
        )

    def advance_hidden(self, hidden: Array, time: Scalar, level: Scalar):
        """The state after a layer with this hidden matrix, and the matrix to go on with.

        A network that was stopped goes on as zeros, which stay finite.
        """
        state = self.advance(covariance(hidden), time, level)
        return state, jnp.where(state.running[:, None, None], hidden, 0)
