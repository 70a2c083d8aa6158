"""Palindromic splitting of the triangular noise, Strang-split with the drift's flow."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._checks import found
from ..matrices import Lower, apart, divide_right, multiply
from ._base import (
    AbstractStrangSolver,
    congruence_gain,
    halves,
    noise_gain,
    within_span,
)


class PalindromicStrang(AbstractStrangSolver):
    """Weak order 2, positive definite, with the exact law of every pivot `L_ii`.

    Without drift, `dL = L dN` with triangular `N`. A step is the palindrome
    `G = Δ (I + X)(I − X')⁻¹ Δ'` of its two halves, `L ← L G`: `Δ` exponentiates the
    diagonal of a half increment exactly and `X` is its strictly lower part. The error
    expands in even powers of the step, so it extrapolates to order 4. Half a drift flow
    stands before and after. Needs two Brownian increments a step,
    whose length only the drift's flow bounds.

    Where there is a drift, extrapolation needs a flow of it with `drift_order=4`, which
    takes some times longer and a start that is not singular.
    """

    drift_order: int = eqx.field(static=True, default=2)
    weak_order: ClassVar[int] = 2
    cells_per_step: ClassVar[int] = 2

    def __init__(self, drift_order: int = 2):
        """**Arguments:**

        - `drift_order`: order of the drift's flow, 2 or 4.
        """
        if not isinstance(drift_order, int | np.integer) or drift_order not in (2, 4):
            raise ValueError(
                f"`drift_order` must be 2 or 4; got {found(drift_order)}. 4 is of use for "
                "means that are extrapolated, else leave it out."
            )
        self.drift_order = int(drift_order)

    @property
    def accepts_singular(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.drift_order == 2

    def max_step(self, limit, m, t1=1.0):
        noise_gain(self, limit, t1)  # refuses another noise
        return super().max_step(limit, m, t1)

    def of_order(self, drift):
        return drift.of_order(self.drift_order)

    def increment(self, terms, t0, t1):
        return halves(terms, t0, t1)

    def kick(self, noise, factor, increment, h):
        gain = congruence_gain(self, noise, factor)
        first, second = (half * jnp.sqrt(gain) for half in increment)
        return multiply(factor, palindrome(factor, first, second, gain * h))


@apart
def palindrome(factor: Lower, first: Lower, second: Lower, t) -> Lower:
    """`Δ (I + X)(I − X')⁻¹ Δ'` from the Brownian increments of the halves of a time `t`."""
    first, second = within_span(factor, first), within_span(factor, second)
    rows = factor.pivot_numbers()
    g = first.strict().add_diagonal(1.0)
    g = g.scale_rows(diagonal_increment(first, rows, t / 2))
    g = divide_right(g, (second.strict() * -1.0).add_diagonal(1.0))
    return g.scale_columns(diagonal_increment(second, rows, t / 2))


def diagonal_increment(increment: Lower, rows, t):
    """`exp(B_ii/√2 − i t/2)`: the exact law of `L_ii` over a time `t` without drift."""
    return jnp.exp(increment.diagonal() / 2**0.5 - rows * increment.against_rows(t / 2))
