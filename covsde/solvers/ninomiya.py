"""Two flows a step for noise that depends on the state, Strang-split with the drift."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._checks import found, is_concrete, is_real
from ..diffusions import Tangent
from ..flows import unexploded
from ..matrices import (
    Lower,
    Square,
    apart,
    gram_square,
    multiply,
    multiply_square,
    semidefinite_cholesky,
    triangularise,
)
from ..terms import BoundNoise
from ._base import AbstractStrangSolver, halves, within_span


def _most(x) -> float:
    """Any positive number, infinity included, with which no path is slowed."""
    message = (
        f"`most` must be a positive number; got {found(x)}. It is the share of V by which "
        "a path may move in a step, 1/8 for laws at a given time."
    )
    if not is_real(x) or not is_concrete(x):
        raise TypeError(message)
    if not float(x) > 0:
        raise ValueError(message)
    return float(x)


class NinomiyaNinomiya(AbstractStrangSolver):
    """Weak order 2, positive definite, for any noise that multiplies the factor.

    Without drift, `dF = F (∘dA + c dt)`. A step follows the vector fields along two
    Gaussian directions, one after the other: `Z₁ = g₁/√2`, then `Z₂ = g₂ − g₁/√2` with
    the whole of `c`. Each is a flow on matrices `M` with `F = L M`, and the factor moves by
    `L ← L chol(M Mᵀ)`. Noise that multiplies from the left, too, moves `F = N L M`. Half a
    drift flow stands before and after. Needs two Brownian increments a step, whose length
    only the drift's flow bounds.

    Where `V` is about to explode no step is short enough. A path there takes less than a
    step, so that `V` moves by at most `most` of itself: 1/8 for laws at a given time, less
    for the probability to reach a level, which slowing keeps and a long step does not.

    Source: Ninomiya, Ninomiya (2009), "A new higher-order weak approximation scheme for
    stochastic differential equations and the Runge–Kutta method", Theorem 1.3.
    """

    most: float = eqx.field(static=True, default=1 / 8, converter=_most)
    weak_order: ClassVar[int] = 2
    cells_per_step: ClassVar[int] = 2

    def begin(self, factor):
        # its drift grows with V, and what is pending would be too long after the noise
        return factor

    def increment(self, terms, t0, t1):
        return halves(terms, t0, t1)

    def paced(self, drift, factor, noise, increment, h):
        share = slowed(h * (drift.speed(factor) + noise.speed(factor)), self.most)
        return scaled(increment, jnp.sqrt(share)), h * share

    def kick(self, noise, factor, increment, h):
        # halves of the increment g₂ √h, and g₁ √h their difference
        first, second = increment
        z1 = jax.tree.map(lambda a, b: 0.5**0.5 * (a - b), first, second)
        z2 = jax.tree.map(lambda a, b, z: a + b - z, first, second, z1)
        left, right = two_flows(noise, factor, z1, z2, h)
        moved = multiply(factor, right)
        moved = moved if left is None else multiplied_left(left, moved)
        return unexploded(moved, factor)


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


class Frame(eqx.Module):
    """`F = N L M`, which set out from `L`; no `N` if nothing multiplies from the left.

    Kept apart from `L`, they leave its rank and its small pivots alone.
    """

    left: Square | None
    right: Square

    def of(self, start: Lower) -> Square:
        """`F`."""
        frame = multiply_square(start, self.right)
        return frame if self.left is None else multiply_square(self.left, frame)

    def along(self, tangent: Tangent) -> "Frame":
        """`N' = Y N` and `M' = M A`, so that `F' = Y F + F A`."""
        nothing = self.right * 0.0

        def product(a: Square | None, b: Square | None) -> Square:
            if a is None or b is None:
                return nothing
            return multiply_square(a, b).kept()

        left = None if self.left is None else product(tangent.left, self.left)
        return Frame(left, product(self.right, tangent.right))


@apart
def two_flows(noise: BoundNoise, factor: Lower, z1, z2, h) -> tuple[Square | None, Lower]:
    """`N` and `chol(M Mᵀ)` of the flows along `z1`, then along `z2` and the correction."""
    z1, z2 = within_span(factor, z1), within_span(factor, z2)
    dimension = factor.rank()

    def along(frame: Square) -> Tangent:
        return noise.tangent(frame, z1)

    def along_with_correction(frame: Square) -> Tangent:
        return noise.corrected(frame, z2, dimension, h)

    one = Square.identity(factor.m, factor.batch, factor.dtype)
    from_left = jax.eval_shape(along_with_correction, one).left is not None
    frame = Frame(one if from_left else None, one)
    for tangent in (along, along_with_correction):
        frame = runge_kutta(lambda f, at=tangent: f.along(at(f.of(factor))), frame)
    return frame.left, triangularise(frame.right)


@apart
def multiplied_left(n: Square, factor: Lower) -> Lower:
    """The factor of `N V Nᵀ`; of a singular `V` to absolute accuracy, and of its rank."""
    moved = multiply_square(n, Square.from_triangle(factor))
    if factor.invertible:
        return triangularise(moved)
    singular = semidefinite_cholesky(gram_square(moved))
    return singular.where(factor.is_singular(), triangularise(moved))


def runge_kutta(velocity: Callable[[Frame], Frame], y: Frame) -> Frame:
    """`y' = f(y)` over a unit of time, by the classical step of order 4."""

    def moved(k: Frame, time: float) -> Frame:
        return jax.tree.map(lambda y, k: y + k * time, y, k)

    k1 = velocity(y)
    k2 = velocity(moved(k1, 0.5))
    k3 = velocity(moved(k2, 0.5))
    k4 = velocity(moved(k3, 1.0))
    mean = jax.tree.map(lambda a, b, c, d: a + b * 2.0 + c * 2.0 + d, k1, k2, k3, k4)
    end = moved(mean, 1 / 6)
    return Frame(None if end.left is None else end.left.kept(), end.right.kept())
