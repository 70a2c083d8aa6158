"""Euler–Maruyama on the Cholesky factor."""

from typing import ClassVar

import jax.numpy as jnp

from ..matrices import Lower, gram, lower_half, multiply, whiten
from ._base import AbstractFactorSolver, congruence_gain, noise_gain


class FactorEuler(AbstractFactorSolver):
    """Weak order 1: `L ← L (I + ΔN + h Φ(L⁻¹ b L⁻ᵀ))`, positive semi-definite.

    `N` is the Itô motion of the triangular factor, `N_ij = B_ij` below the diagonal and
    `N_ii = B_ii/√2 − (¼ + (i−1)/2) t` on it; `Φ` takes the lower half of a symmetric
    matrix. `V = L Lᵀ` cannot leave the cone, though `L_ii` may change sign.
    """

    weak_order: ClassVar[int] = 1
    accepts_singular: ClassVar[bool] = False

    def max_step(self, limit, m, t1=1.0):
        noise_gain(self, limit, t1)  # refuses another noise
        return jnp.inf

    def advance(self, terms, t0, t1, factor, args):
        drift, noise = terms.vf(t0, factor, args)
        _, increment = terms.contr(t0, t1)
        gain = congruence_gain(self, noise, factor)
        h = t1 - t0
        velocity = whiten(factor, drift.velocity(t0, gram(factor)))
        moved = ito_increment(increment * jnp.sqrt(gain), factor.pivot_numbers(), gain * h)
        moved = moved + lower_half(velocity) * h
        return multiply(factor, moved.add_diagonal(1.0))


def ito_increment(increment: Lower, rows, t) -> Lower:
    """`ΔN` over a time `t`, its rows numbered `rows`."""
    scaled = increment.scale_diagonal(0.5**0.5)
    return scaled.add_diagonal((0.25 - rows / 2) * increment.against_rows(t))
