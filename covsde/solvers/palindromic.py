"""Palindromic splitting of the triangular noise, Strang-split with the drift's flow."""

from typing import ClassVar

import jax.numpy as jnp

from ..matrices import Lower, divide_right, multiply
from ._base import AbstractFactorSolver, congruence_gain, row_numbers


class PalindromicStrang(AbstractFactorSolver):
    """Weak order 2, positive definite, with the exact law of every pivot `L_ii`.

    Without drift, `dL = L dN` with triangular `N`. A step is the palindrome
    `G = Δ (I + X)(I − X')⁻¹ Δ'` of its two halves, `L ← L G`: `Δ` exponentiates the
    diagonal of a half increment exactly and `X` is its strictly lower part. The error
    expands in even powers of the step, so it extrapolates to order 4. Half a drift flow
    stands before and after. Needs two Brownian increments a step; any step length.
    """

    weak_order: ClassVar[int] = 2
    cells_per_step: ClassVar[int] = 2

    def max_step(self, limit, m):
        return 2 * float(limit.drift.max_step)

    def advance(self, terms, t0, t1, factor, args):
        drift, noise = terms.vf(t0, factor, args)
        gain = congruence_gain(self, noise)
        h = t1 - t0
        middle = t0 + h / 2
        _, first = terms.contr(t0, middle)
        _, second = terms.contr(middle, t1)
        first, second = first * jnp.sqrt(gain), second * jnp.sqrt(gain)

        factor = drift.flow(t0, h / 2, factor)
        factor = factor.scale_columns(diagonal_increment(first, gain * h / 2))
        factor = multiply(factor, first.strict().add_diagonal(1.0))
        factor = divide_right(factor, (second.strict() * -1.0).add_diagonal(1.0))
        factor = factor.scale_columns(diagonal_increment(second, gain * h / 2))
        return drift.flow(middle, h / 2, factor)


def diagonal_increment(increment: Lower, t):
    """`exp(B_ii/√2 − i t/2)`: the exact law of `L_ii` over a time `t` without drift."""
    b = increment.diagonal()
    return jnp.exp(b / 2**0.5 - row_numbers(increment) * (t / 2))
