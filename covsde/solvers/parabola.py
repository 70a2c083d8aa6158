"""A linear equation of one number, along the parabola that fits its Brownian motion."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._affine import Affine


class LinearParabola(diffrax.AbstractItoSolver):
    """Weak order 3, with an exact mean: `du = (a + b u) dt + σ u dB`, one number a path.

    `u_h = E_h (u_0 + a ∫₀ʰ ds/E_s)`, `E_t = exp((b − σ²/2) t + σ B_t)`, is exact but for
    the integral, which has its mean given the increment of B and its space-time area. So
    `u` stays positive for steps of any length, and where `a = 0` each is exact.

    Of a Diffrax program it needs a path with `levy_area=diffrax.SpaceTimeLevyArea`; the
    coefficients are those of the terms at the start of a step.

    Source: the parabola of Foster, Lyons, Oberhauser (2020), "An optimal polynomial
    approximation of Brownian motion".
    """

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]
    ]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation
    weak_order: ClassVar[int] = 3
    accepts_singular: ClassVar[bool] = True
    stays_within: ClassVar[bool] = True

    def max_step(self, limit, m: int, t1: float = 1.0) -> float:
        """None: a step may be of any length."""
        del limit, m, t1
        return math.inf

    def order(self, terms):
        return self.weak_order

    def strong_order(self, terms):
        return 1.5

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del made_jump
        (u,), form = jax.tree.flatten(y0)
        h, levy = terms.contr(t0, t1, use_levy=True)
        u, _ = coefficients(terms, t0, u.dtype, args).along(u, h, levy.W, levy.H)
        y1 = form.unflatten([u])
        return y1, None, dict(y0=y0, y1=y1), solver_state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def coefficients(terms: diffrax.AbstractTerm, t: Any, dtype: Any, args: Any) -> Affine:
    """`a`, `b` and `σ` of a linear equation, which is known by its values at 0 and at 1."""
    zero = jnp.zeros((), dtype)
    a, _ = terms.vf(t, zero, args)
    a_and_b, sigma = terms.vf(t, zero + 1, args)
    return Affine(a, a_and_b - a, sigma)
