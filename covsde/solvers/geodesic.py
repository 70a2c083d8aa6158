"""The default: curvature-corrected geodesic noise, Strang-split with the drift's flow."""

from typing import ClassVar

import jax.numpy as jnp

from .._built import plain
from ..diffusions import symmetric_gaussian
from ..matrices import Lower, apart, cholesky, expm, multiply
from ._base import (
    AbstractStrangSolver,
    congruence_gain,
    noise_gain,
    within_span,
)


class GeodesicStrang(AbstractStrangSolver):
    """Weak order 2, positive definite, the same in every basis of the inputs (default).

    Without drift, `V` is a Brownian motion of the GL(m)-invariant metric on covariances
    with a scalar drift. A step follows the geodesic of a Gaussian direction,
    `V ← F e^W Fᵀ`, whose length carries the heat kernel's first curvature correction:

    `W = √h' S₀ + √h (tr S/m) I − h (m+1)/2 I`, `h' = h/(1 − m h/12)`, `S₀` the traceless
    part of `S`. Half a drift flow stands before and after it. The law of `det V` is exact
    when the drift is zero. Needs `m(m+1)/2` normals a step and `Γ h < 12/m`.
    """

    weak_order: ClassVar[int] = 2

    @plain
    def max_step(self, limit, m, t1=1.0):
        longest = 12 / (m * max(noise_gain(self, limit, t1), 1e-300))
        return min(longest, super().max_step(limit, m, t1))

    def increment(self, terms, t0, t1):
        return terms.contr(t0, t1)[1]

    def kick(self, noise, factor, increment, h):
        gain = congruence_gain(self, noise, factor)
        return _kicked(factor, increment, gain, h)


@apart
def _kicked(factor: Lower, increment: Lower, gain, h) -> Lower:
    return multiply(factor, geodesic_increment(factor, increment, gain, h))


@apart
def geodesic_increment(factor: Lower, increment: Lower, gain, h) -> Lower:
    """`chol(e^W)` for the Brownian increment of a step `h`."""
    m = factor.rank()
    s = symmetric_gaussian(within_span(factor, increment))
    mean = s.trace() / m
    traceless = s.add_diagonal(-s.per_row(mean) * factor.nonzero_pivots())
    correction = 1 / (1 - m * gain * h / 12)
    scalar = jnp.sqrt(gain) * mean - gain * h * (m + 1) / 2
    w = traceless * jnp.sqrt(gain * correction)
    # the scalar part commutes: exponentiate it exactly
    return cholesky(expm(w, scalar))
