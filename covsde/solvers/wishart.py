"""The Wishart step: a layer of a finite linear network of width 1/h."""

from typing import ClassVar

import jax.numpy as jnp
from jax.scipy.special import gammainc, gammaincc, gammaln, ndtr

from ..matrices import Lower, multiply
from ._base import (
    AbstractFactorSolver,
    congruence_gain,
    noise_gain,
    within_span,
)


class WishartEuler(AbstractFactorSolver):
    """Weak order 1: `L ← L chol(Wishart_m(I, 1/h) h)`, positive definite.

    Without drift, a step of length `h` *is* a layer of a linear network of width
    `n = 1/h`. The Wishart factor is Bartlett's: normals below the diagonal, on it the
    roots of χ² variables with `n, n−1, …` degrees of freedom, each the monotone image of
    the Brownian increment. A full drift flow stands before it. Needs `Γ h < 1/(m−1)`.
    """

    weak_order: ClassVar[int] = 1

    def max_step(self, limit, m, t1=1.0):
        bartlett = 1 / max(noise_gain(self, limit, t1) * (m - 1), 1e-300)
        return min(bartlett, limit.bounds(m).max_step)

    def advance(self, terms, t0, t1, factor, args):
        drift, noise = terms.vf(t0, factor, args)
        _, increment = terms.contr(t0, t1)
        gain = congruence_gain(self, noise, factor)
        h = t1 - t0
        factor = drift.flow(t0, h, factor)
        normals = within_span(factor, increment) * (1 / jnp.sqrt(h))
        return multiply(factor, bartlett(normals, factor.pivot_numbers(), gain * h))


def bartlett(normals: Lower, rows, t) -> Lower:
    """`chol(Wishart_m(I, 1/t) t)` from standard normals, its rows numbered `rows`."""
    # without noise it is I, of any large number of degrees of freedom
    time = jnp.maximum(normals.against_rows(t), 1e-30)
    freedom = 1 / time + 1 - rows
    chi = jnp.sqrt(chi_square(normals.diagonal(), freedom) * time)
    return (normals.strict() * jnp.sqrt(t)).add_diagonal(chi)


_MANY = 1000.0


def chi_square(z, freedom):
    """The χ² quantile at the probability of a standard normal `z`, elementwise.

    Halley's iteration on the regularised incomplete gamma function, from the
    Wilson–Hilferty approximation; the nearer tail is used, so both are accurate. Of more
    than a thousand degrees the approximation alone, whose mean is right to `1/freedom²`:
    the iteration, whose series grow with the degrees, would take ever longer.
    """
    many = freedom > _MANY
    approximate = freedom * (1 - 2 / (9 * freedom) + z * jnp.sqrt(2 / (9 * freedom))) ** 3
    a = jnp.where(many, _MANY, freedom) / 2
    lower = z < 0
    tail = ndtr(-jnp.abs(z))
    cube = 1 - 1 / (9 * a) + z / (3 * jnp.sqrt(a))
    # far in the lower tail of few degrees of freedom: P(a, x) ≈ x^a / Γ(a+1)
    power = jnp.exp((jnp.log(ndtr(z)) + gammaln(a + 1)) / a)
    x = jnp.where((a < 2) & lower, power, a * jnp.maximum(cube, 0.1) ** 3)
    for _ in range(6):
        density = jnp.exp((a - 1) * jnp.log(x) - x - gammaln(a))
        excess = jnp.where(lower, gammainc(a, x) - tail, tail - gammaincc(a, x))
        newton = excess / density
        bend = jnp.clip(newton * ((a - 1) / x - 1), -1.0, 1.0)
        x = jnp.maximum(x - newton / (1 - 0.5 * bend), 0.1 * x)
    return jnp.where(many, approximate, 2 * x)
