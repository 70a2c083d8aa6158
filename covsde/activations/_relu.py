"""The shaped ReLU and its drift ν(ρ)."""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from .._checks import count, parameter
from .._polynomials import polynomial
from ..equations import CORRELATION, Equation, Symbol
from ..flows import ssp_10_4, where_leaving_span
from ..matrices import (
    Lower,
    Symmetric,
    apart,
    cholesky,
    gram,
    half_squared_distances,
    materialise,
    multiply,
    recomputed,
    semidefinite_cholesky,
    unit_rows,
    whiten_within,
)
from ..references import NEURAL_COVARIANCE_SDE
from ._base import AbstractActivation, check_exponent, power_of_width

# (√(1−ρ²) − ρ arccos ρ) / (2s)^{3/2} on s = 1 − ρ ∈ [0, 1], to 4e-16 relative: Chebyshev
# interpolation in 60-digit arithmetic, in powers of s.
_SERIES = (
    0.33333333333333326,
    0.0166666666666998,
    0.0026785714257675955,
    0.0006200397759919919,
    0.00017262305525795132,
    5.3796322631137854e-05,
    1.795868338985993e-05,
    6.9685155009579114e-06,
    5.401736167588166e-07,
    5.310685715671067e-06,
    -7.297116906957925e-06,
    9.717628059571215e-06,
    -8.376545655408196e-06,
    5.019142671965274e-06,
    -1.7936757567999036e-06,
    3.1252295628314493e-07,
)

# arccos(1−s) / √(2s) likewise, to 4e-17
_ANGLE_SERIES = (
    1.0,
    0.08333333333332493,
    0.01875000000100454,
    0.005580357095326875,
    0.0018988727122969892,
    0.0006991120243537611,
    0.0002713168974859926,
    0.00010783942106165609,
    5.1527353795913684e-05,
    -5.081128609960328e-06,
    7.68712046582239e-05,
    -0.00014495631985790157,
    0.0002461429846321823,
    -0.00030406259919709615,
    0.00028332940124443625,
    -0.00019010314561151078,
    8.785920457938688e-05,
    -2.501627469436502e-05,
    3.392373797469592e-06,
)


@jax.custom_jvp
def nu(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """`√(1−ρ²) − ρ arccos ρ` as a function of `u = 1 − ρ ∈ [0, 2]`, elementwise.

    It is the shaped ReLU's drift of a correlation, up to the factor `(c₊−c₋)²/2π`.
    Exact to rounding for all `u`, however small; its derivative is `arccos ρ`, also at
    the ends of the interval, where automatic differentiation would give NaN.

    Source: "The Neural Covariance SDE", Theorem 3.2. With `s = 1−|ρ|` it is
    `(2s)^{3/2} R(s) + π max(−ρ, 0)`, where R is analytic on `[0, 1]`.
    """
    s = _below_one(u)
    t = 2 * s
    return t * jnp.sqrt(t) * polynomial(_SERIES, s) + math.pi * jnp.maximum(u - 1, 0.0)


@nu.defjvp
def _nu_jvp(primals, tangents):
    (u,), (du,) = primals, tangents
    s = _below_one(u)
    angle = jnp.sqrt(2 * s) * polynomial(_ANGLE_SERIES, s)
    return nu(u), jnp.where(u > 1, math.pi - angle, angle) * du


def _below_one(u: Array) -> Array:
    """`s = 1 − |ρ|`."""
    return jnp.maximum(jnp.minimum(u, 2 - u), 0.0)


class ShapedReLU(AbstractActivation):
    """The shaped ReLU, `φ_s(x) = s₊ max(x, 0) + s₋ min(x, 0)`, `s_± = 1 + c_± n^{-p}`.

    `b^{ab} = ν(ρ^{ab}) √(V^{aa} V^{bb})`,
    `ν(ρ) = (c₊−c₋)²/2π · (√(1−ρ²) − ρ arccos ρ)`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Definition 3.1, Theorem 3.2.
    """

    c_plus: Scalar
    c_minus: Scalar
    p: float = eqx.field(default=0.5, static=True)
    accepts_singular: ClassVar[bool] = True

    def __init__(self, c_plus: float, c_minus: float, p: float = 0.5):
        """**Arguments:**

        - `c_plus`: c₊ of the positive slope `1 + c₊/√n`, any finite number.
        - `c_minus`: c₋ of the negative slope `1 + c₋/√n`, any finite number.
        - `p`: exponent of the shaping, `n^p` for `√n`. 0.5 has an SDE as its limit; less,
          of an MLP, a deterministic one in the time `layers/n^{2p}`
          ([`covsde.KernelODE`][]); more, no drift.
        """
        way_out = "For example `ShapedReLU(c_plus=0.0, c_minus=-1.0)`."
        self.c_plus = parameter("c_plus", c_plus, "a finite real number", way_out)
        self.c_minus = parameter("c_minus", c_minus, "a finite real number", way_out)
        self.p = check_exponent(p)

    def slopes(self, width: int) -> tuple[Scalar, Scalar]:
        """`(s₊, s₋)` at width `n`."""
        count("width", width, "Pass the number of neurons of a hidden layer.")
        scale = width**self.p
        return 1 + self.c_plus / scale, 1 + self.c_minus / scale

    def shaped(self, x, width):
        """`s₊ max(x, 0) + s₋ min(x, 0)`."""
        s_plus, s_minus = self.slopes(width)
        return s_plus * jnp.maximum(x, 0) + s_minus * jnp.minimum(x, 0)

    def normalising_constant(self, width):
        """`c = 2/(s₊² + s₋²)`."""
        s_plus, s_minus = self.slopes(width)
        return 2 / (s_plus**2 + s_minus**2)

    @property
    def strength(self) -> Scalar:
        """`(c₊−c₋)²/2π`, the factor of the drift."""
        return (self.c_plus - self.c_minus) ** 2 / (2 * math.pi)

    def drift(self, v_aa, v_bb, v_ab):
        """`ν(ρ) √(V^{aa} V^{bb})`."""
        scale = jnp.sqrt(v_aa * v_bb)
        # on the diagonal (and for equal inputs) u is exactly 0, not rounding
        u = jnp.where(v_ab == scale, 0.0, 1 - v_ab / scale)
        return self.strength * nu(u) * scale

    def drift_of(self, v):
        """`ν(ρ) √(V^{aa} V^{bb})` off the diagonal, with a root for each input."""
        roots = materialise(jnp.sqrt(v.diagonal()))
        return self._between(v, roots)

    @recomputed
    def _between(self, v: Symmetric, roots: Array) -> Symmetric:
        def entry(scale: Array, v_ab: Array) -> Array:
            return self.strength * nu(1 - v_ab / scale) * scale

        return v.map_pairs_of(roots, entry)

    @property
    def max_step(self):
        """`h₀ = 4/(c₊−c₋)²`: `V + h b(V)` is a covariance for every `V` iff `h ≤ h₀`."""
        return 1 / self.rate

    @property
    def rate(self):
        """`(c₊−c₋)²/4 = 1/h₀`."""
        return self.strength * (math.pi / 2)

    @property
    def stability_index(self):
        """κ = 0: each `V^{aa}` is a geometric Brownian motion."""
        return 0.0

    @property
    def exponent(self):
        """p."""
        return self.p

    @property
    def equation(self):
        """The drift in LaTeX."""
        drift = (
            r"b^{ab} = \frac{(c_+ - c_-)^2}{2 \pi} \left(\sqrt{1 - \rho^2} - \rho"
            r" \arccos \rho\right) \sqrt{V^{aa} V^{bb}}"
        )
        n = power_of_width(self.p)
        return Equation(
            "ShapedReLU",
            (),
            (
                Symbol("b", "drift of the shaped ReLU", drift),
                CORRELATION,
                Symbol(
                    "c_+", f"shaping of the slope 1 + c₊/{n}", "", self.c_plus, "c_plus"
                ),
                Symbol(
                    "c_-", f"shaping of the slope 1 + c₋/{n}", "", self.c_minus, "c_minus"
                ),
            ),
            (NEURAL_COVARIANCE_SDE.at("Definition 3.1, Theorem 3.2"),),
        )

    def flow(self, factor, h):
        """Two-stage strong-stability-preserving Runge–Kutta, in whitened coordinates.

        Acts on the correlations alone; the diagonal of `V` does not move. Positive
        definite, with pivots bounded below, for `h ≤ max_step`.
        """

        tau = jnp.minimum(h * self.rate, 1.0)
        return _raised(factor, _rise, self.strength * h, 0.5 + 0.5 * (1 - tau) ** 2)

    def fourth_order_flow(self, factor, h):
        """Ten-stage strong-stability-preserving Runge–Kutta, in whitened coordinates.

        Positive definite, with pivots bounded below, for `h ≤ 6 max_step`.
        """

        tau = jnp.minimum(h / 6 * self.rate, 1.0)
        # of the scheme's stages each leaves at least 1 − τ of every eigenvalue
        least = ssp_10_4(lambda least: least * (1 - tau), jnp.ones_like(tau))
        return _raised(factor, _fourth_order_rise, self.strength * h, least)


# How much correlations rise in a time `h` of `dρ = ν(ρ) dt`, from `u = 1 − ρ`


@apart
def _rise(u: Symmetric, h: Array) -> Symmetric:
    def rise(u: Array, h: Array) -> Array:
        first = materialise(nu(u))
        return (first + nu(u - first * h)) * (0.5 * h)

    return u.map_pairs(rise, h)


@apart
def _fourth_order_rise(u: Symmetric, h: Array) -> Symmetric:
    def rise(u: Array, h: Array) -> Array:
        def euler(risen: Array) -> Array:
            return risen + nu(u - risen) * (h / 6)

        return ssp_10_4(euler, jnp.zeros_like(u))

    return u.map_pairs(rise, h)


def _raised(
    factor: Lower, rise: Callable[[Symmetric, Array], Symmetric], h: Array, least: Array
) -> Lower:
    """The factor after its correlations have risen by `Δ`, each by an equation of its own.

    `rise(u, h)` is `Δ` for `u = 1 − ρ`; `least` a lower bound of the eigenvalues of
    `I + L⁻¹ Δ L⁻ᵀ`.
    """
    unit, lengths = unit_rows(factor)
    change = rise(half_squared_distances(unit), h)
    moved = where_leaving_span(
        unit,
        change,
        _moved_within(unit, change, least),
        lambda: semidefinite_cholesky(gram(unit) + change),
    )
    return _with_lengths(moved, unit, lengths)


@apart
def _moved_within(unit: Lower, change: Symmetric, least: Array) -> Lower:
    """The factor after a change of `V` in its span."""
    inner = whiten_within(unit, change).add_diagonal(1.0)
    return multiply(unit, cholesky(inner, floor=least))


@recomputed
def _with_lengths(moved: Lower, unit: Lower, lengths: Array) -> Lower:
    """The diagonal does not move; this takes back the rounding of a step.

    Where inputs have come so near that the change of `V` is rounding, in directions that
    are far smaller, a row has another length. Such a step is left out.
    """
    if moved.m > 2:
        other = ~(jnp.abs(moved.squared_rows() - 1) < jnp.finfo(moved.dtype).eps ** 0.5)
        moved = unit.where(moved.any_row(other), moved)
    return moved.scale_rows(lengths / jnp.sqrt(moved.squared_rows()))
