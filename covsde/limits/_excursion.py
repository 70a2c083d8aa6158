"""Excursions: how a state comes back from far out, where the noise is all that is felt."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from ..matrices import Lower, Square, multiply_square, triangularise

# Of a factor far out; of the speed of its drift over that of its noise; of the fall of the
# logarithm of what has run away; and of a number of (0, 1) and four normals: by what the
# factor is multiplied from the right on its return. Numbers are one per path.
Excursion = Callable[[Lower, Array, Array, Array, Array], Lower]


def of_two_tokens(
    factor: Lower, ratio: Array, fall: Array, uniforms: Array, normals: Array
) -> Lower:
    """That of two tokens, until their squared distance d has fallen by `e^{−fall}`.

    With `R = drift/noise`, `r = R/2 − 1` and the clock `∫ noise dt`, `log d` is a Brownian
    motion of drift `2r` and variance 4. One that returns does so with the drift `−2|r|`,
    at a time `τ` of an inverse Gaussian law, of mean `fall/2|r|` and shape `fall²/4`.
    On a factor `F`, K is `k q qᵀ`. For p orthogonal to q, `F p` grows by `G = e^{(R−1)τ/2}`
    and is fed into `F q`, whose sum, beside that of `F p` at the end, takes a normal number
    of the variance `2/((2+b)² − r²)`, `b² = r² + 2R − 2`, on average. Whoever stays out for
    long has a sum that is far beyond d: `G` is bounded so that d keeps its digits.
    """
    frame = Square.from_triangle(factor)
    centred = frame.centred()
    k = multiply_square(centred.mT, centred)
    q = k * (1 / k.trace())
    quarter = jnp.asarray([0.0, -1.0, 1.0, 0.0], factor.dtype)
    turn = Square.from_entries(jnp.tile(quarter[:, None], factor.batch), 2)
    across = multiply_square(turn, q)  # p qᵀ
    rest = multiply_square(across, turn.mT)  # p pᵀ
    noise = multiply_square(Square.from_entries(normals, 2), q)
    along, fed = (multiply_square(x, noise).trace() for x in (q, across.mT))

    r, level = ratio / 2 - 1, fall / 2
    tau = _inverse_gaussian(jnp.abs(r), level, along, uniforms)
    outgrown = 0.5 * jnp.log(multiply_square(frame, rest).squared_norm() / k.trace())
    most = -0.25 * jnp.log(jnp.finfo(factor.dtype).eps) - level - jnp.maximum(outgrown, 0.0)
    growth = jnp.exp(jnp.minimum((r + 0.5) * tau, most))
    spread = jnp.sqrt(2 / ((2 + jnp.sqrt(r**2 + 2 * ratio - 2)) ** 2 - r**2))
    back = q * jnp.exp(-level) + (rest + across * (spread * fed)) * growth
    return triangularise(back)


def _inverse_gaussian(drift: Array, level: Array, normal: Array, uniform: Array) -> Array:
    """When a Brownian motion of a drift, which may be 0, reaches a level.

    Source: Michael, Schucany, Haas (1976), "Generating random variates using
    transformations with multiple roots".
    """
    y, middle = normal**2, 2 * drift * level
    first = 2 * level**2 / (middle + y + jnp.sqrt(y * (y + 2 * middle)))
    second = (level / jnp.maximum(drift, 1e-30)) ** 2 / first
    return jnp.where(uniform * (level + drift * first) < level, first, second)
