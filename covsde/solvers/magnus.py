"""Strong order 1: the Magnus expansion on the triangular group, with its Lévy areas."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ..brownian import LevyIncrement
from ..matrices import Lower, apart, expm_lower, multiply
from ._base import (
    AbstractStrangSolver,
    congruence_gain,
    noise_gain,
    within_span,
)


class MagnusStrang(AbstractStrangSolver):
    """Strong order 1, positive definite: for paths, where the other solvers have one half.

    Without drift, `dL = L ∘ (dN + D dt)`, `N_ii = B_ii/√2`, `N_ij = B_ij` and
    `D = −½ diag(1, …, m)`. A step multiplies by the exponential of the first two terms of
    the Magnus series, `L ← L exp(ΔN + h D + A)`, with the Lévy area
    `A = ½ ∫ (N dN − dN N)`, which the noise, for it does not commute, cannot do without. Of
    its entries `m(m²−1)/6` are independent. Half a drift flow stands before and after.

    The area of a step is that of the Brownian path on the cells of its grid within the
    step: to see strong order 1 they have to be as short as the step's square.
    `covsde.solve` makes 32 of them.
    """

    weak_order: ClassVar[int] = 1
    cells_per_step: ClassVar[int] = 32

    def max_step(self, limit, m, t1=1.0):
        noise_gain(self, limit, t1)  # refuses another noise
        return super().max_step(limit, m, t1)

    def strong_order(self, terms):
        return 1.0

    def increment(self, terms, t0, t1):
        return terms.contr(t0, t1, use_levy=True)[1]

    def kick(self, noise, factor, increment, h):
        gain = congruence_gain(self, noise, factor)
        return multiply(factor, magnus(factor, increment, gain, h))


@apart
def magnus(factor: Lower, increment: LevyIncrement, gain: Array, h) -> Lower:
    """`exp(√Γ ΔN + Γ (h D + A))`."""
    moved = within_span(factor, increment.motion).scale_diagonal(0.5**0.5)
    area = within_span(factor, increment.area)
    time = factor.against_rows(-gain * h / 2)
    drift = factor.pivot_numbers() * factor.nonzero_pivots() * time
    exponent = moved * jnp.sqrt(gain) + area * gain
    return expm_lower(exponent.add_diagonal(drift))
