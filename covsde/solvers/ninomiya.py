"""Two flows a step for noise that depends on the state, Strang-split with the drift."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..diffusions import AbstractNoise
from ..matrices import Lower, Square, apart, multiply_square, triangularise
from ._base import AbstractStrangSolver, halves, rank, within_span

# Growth of V within one step that counts as an explosion
EXPLOSION = 1e6


class NinomiyaNinomiya(AbstractStrangSolver):
    """Weak order 2, positive definite, for any noise that multiplies the factor.

    Without drift, `dF = F (∘dA + c dt)`. A step follows the vector fields along two
    Gaussian directions, one after the other: `Z₁ = g₁/√2`, then `Z₂ = g₂ − g₁/√2` with
    the whole of `c`. Each is a flow on matrices `M` with `F = L M`, and the factor moves by
    `L ← L chol(M Mᵀ)`. Half a drift flow stands before and after. Needs two Brownian
    increments a step, whose length only the drift's flow bounds.

    Where `V` is about to explode no step is short enough. A path there takes less than a
    step, so that `V` moves by at most `most` of itself: 1/8 for laws at a given time, less
    for the probability to reach a level, which slowing keeps and a long step does not.

    Source: Ninomiya, Ninomiya (2009), "A new higher-order weak approximation scheme for
    stochastic differential equations and the Runge–Kutta method", Theorem 1.3.
    """

    most: float = eqx.field(static=True, default=1 / 8)
    weak_order: ClassVar[int] = 2
    cells_per_step: ClassVar[int] = 2

    def begin(self, factor):
        # its drift grows with V, and what is pending would be too long after the noise
        return factor

    def increment(self, terms, t0, t1):
        return halves(terms, t0, t1)

    def paced(self, drift, factor, noise, increment, h):
        share = slowed(h * (drift.speed(factor) + noise.speed()), self.most)
        return scaled(increment, jnp.sqrt(share)), h * share

    def multiplier(self, noise, factor, increment, h):
        # halves of the increment g₂ √h, and g₁ √h their difference
        first, second = increment
        z1 = jax.tree.map(lambda a, b: 0.5**0.5 * (a - b), first, second)
        z2 = jax.tree.map(lambda a, b, z: a + b - z, first, second, z1)
        return two_flows(noise, factor, z1, z2, h)


def slowed(speed: Array, most: float) -> Array:
    """The share of a step that a path takes whose `V` moves by `speed` in it.

    All of it while that is less than `most`, up to the eighth order, and never more than
    `most` of `V`. Drift and noise are slowed alike: which levels are reached is kept, and
    not when. Beyond a speed of 1e6 the path has exploded.
    """
    share = (1 + (speed / most) ** 8) ** -0.125
    return jnp.where(speed < 1e6, share, jnp.nan)


def scaled(increment, number: Array):
    """An increment, each path times its own number."""
    if isinstance(increment, tuple):
        return tuple(scaled(part, number) for part in increment)
    return increment * number


@apart
def two_flows(noise: AbstractNoise, factor: Lower, z1, z2, h) -> Lower:
    """`chol(M Mᵀ)` for the flows along `z1`, then along `z2` and the correction."""
    z1, z2 = within_span(factor, z1), within_span(factor, z2)
    dimension = rank(factor)
    start = Square.from_triangle(factor)

    def along(m: Square) -> Square:
        return noise.field(multiply_square(start, m), z1)

    def along_with_correction(m: Square) -> Square:
        frame = multiply_square(start, m)
        return noise.field(frame, z2) + noise.correction(frame, dimension) * h

    m = Square.identity(factor.m, factor.batch, factor.dtype)
    m = runge_kutta(along_with_correction, runge_kutta(along, m))
    # a flow that leaves the scale of all that is known is an explosion
    bounded = m.squared_norm() / m.m < EXPLOSION
    return triangularise(m * jnp.where(bounded, 1.0, jnp.nan))


def runge_kutta(field: Callable[[Square], Square], m: Square) -> Square:
    """`M' = M a(M)` over a unit of time, by the classical step of order 4."""

    def velocity(m: Square) -> Square:
        return multiply_square(m, field(m)).kept()

    k1 = velocity(m)
    k2 = velocity(m + k1 * 0.5)
    k3 = velocity(m + k2 * 0.5)
    k4 = velocity(m + k3)
    return (m + (k1 + k2 * 2.0 + k3 * 2.0 + k4) * (1 / 6)).kept()
