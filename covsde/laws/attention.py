"""Two tokens under shaped attention: whether they explode, by the scale function."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar
from scipy import sparse
from scipy.integrate import quad, solve_ivp
from scipy.special import beta, betainc

from .._checks import found, number
from ..limits import ShapedAttention

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
# How many standard deviations of log d the cells reach below the start
_TAIL = 8.0


class TwoTokens(eqx.Module):
    """`d = V¹¹ − 2V¹² + V²²`, the squared distance of two tokens under shaped attention.

    It is a diffusion by itself, whatever else V does:

        dd = γ² d³/(16 τ₀²) dt + √(2 Γ d² + γ⁴ d⁴/(4 H τ₀²)) dB.

    Its scale function is `s(d) = ∫₀^d (1 + θx²)^{−α} dx`, with `α = H/4γ²` and
    `θ = γ⁴/(8 H τ₀² Γ)`. It explodes with positive probability if and only if `γ² < H/2`.

    Source: the equation of "The Shaped Transformer" (Noci et al. 2023), Theorem 4.2.
    """

    alpha: Scalar
    theta: Scalar
    gain: Scalar

    def __init__(self, limit: ShapedAttention):
        """**Arguments:**

        - `limit`: a [`covsde.ShapedAttention`][], with any number of heads H.
        """
        if not isinstance(limit, ShapedAttention):
            raise TypeError(
                f"`limit` must be a limit of attention alone; got {found(limit)}. For "
                "example `ShapedAttention(0.5, 1.0)`."
            )
        weights, softmax = limit.diffusion.parts  # pyright: ignore[reportAttributeAccessIssue]
        self.alpha = limit.heads / (4 * limit.gamma**2)
        self.theta = softmax.strength**2 / (8 * weights.gain)
        self.gain = weights.gain

    def hitting_probability(
        self, d0: Float[ArrayLike, "..."], level: Float[ArrayLike, "..."]
    ) -> Array:
        """`s(d₀)/s(K)`: that d reaches the level K ever, and does not die out before.

        **Arguments:**

        - `d0`: the squared distance at the start, at most the level.
        - `level`: K.
        """
        scale = np.vectorize(self._scale, otypes=[float])
        return jnp.asarray(scale(d0) / scale(level))

    def explosion_probability(self, d0: Float[ArrayLike, "..."]) -> Array:
        """`s(d₀)/s(∞) = I(½, α−½; θd₀²/(1+θd₀²))`, an incomplete beta function.

        **Arguments:**

        - `d0`: the squared distance at the start.
        """
        alpha, x = float(self.alpha), float(self.theta) * np.asarray(d0, float) ** 2
        if alpha <= 0.5:
            return jnp.zeros(x.shape)
        return jnp.asarray(betainc(0.5, alpha - 0.5, x / (1 + x)))

    def surviving(
        self,
        f: Callable[[np.ndarray], np.ndarray],
        d0: float,
        t1: float,
    ) -> Scalar:
        """`E f(d_T)` of a smooth f that vanishes at infinity: 0 after an explosion.

        The backward equation in finite volumes, whose rates are those of the scale function
        and the speed measure, equal in the coordinate `r` in which the noise is 1,
        `√θ d sinh(√(2Γ) r) = 1`; extrapolated from two meshes, it is exact to 1e-7 or
        better. Computed by NumPy.

        **Arguments:**

        - `f`: elementwise on arrays.
        - `d0`: the squared distance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        accepted, way_out = "a positive number", "It is V¹¹ − 2V¹² + V²² of two tokens."
        d0 = number("d0", d0, accepted, way_out, test=lambda x: x > 0)
        accepted, way_out = "a positive finite time", "It is depth over width, d/n."
        t1 = number("t1", t1, accepted, way_out, test=lambda x: x > 0)
        coarse, fine = (self._volumes(f, d0, t1, n) for n in (1, 2))
        return jnp.asarray((4 * fine - coarse) / 3)

    def _volumes(self, f: Callable, d0: float, t1: float, finer: int) -> float:
        """By cells that are so many times finer."""
        alpha, theta, gain = float(self.alpha), float(self.theta), float(self.gain)
        rate = np.sqrt(2 * gain)

        def distance(r):
            return 1 / (np.sqrt(theta) * np.sinh(rate * r))

        def log_slope(d):  # of the scale function
            return -alpha * np.log1p(theta * d**2)

        def log_speed(d):
            return -log_slope(d) - np.log(gain * d**2 * (1 + theta * d**2))

        def integral(log_density, r0, r1, offset):
            """Of `exp(log_density + offset)` over d, in each cell, by Gauss–Legendre."""
            middle, half = (r0 + r1) / 2, (r1 - r0) / 2
            r = middle[:, None] + half[:, None] * _NODES
            d = distance(r)
            stretch = rate * d / np.tanh(rate * r)  # −dd/dr
            return half * ((np.exp(log_density(d) + offset[:, None]) * stretch) @ _WEIGHTS)

        r0 = np.arcsinh(1 / (np.sqrt(theta) * d0)) / rate
        reach = _TAIL * np.sqrt(t1) + rate * t1
        top = max(r0 - reach, 0.0)  # infinity, or as good as that
        cells = finer * max(10, int(np.ceil(70 * (r0 - top) / np.sqrt(t1))))
        h = (r0 - top) / (cells + 0.5)
        below = int(np.ceil(reach / h))
        # centres, from far below to the top; one of them is the start
        r = top + h * (cells + 0.5 + np.arange(below, -cells - 1, -1))
        d = distance(r)
        offset = -log_speed(d)
        mass = integral(log_speed, np.maximum(r - h / 2, 1e-300), r + h / 2, offset)
        up = integral(log_slope, r[1:], r[:-1], -offset[:-1])
        above = self._scale_above(d[-1])
        up = np.append(up, above * np.exp(-offset[-1]))
        down = integral(log_slope, r[1:], r[:-1], -offset[1:])
        rise, fall = 1 / (mass * up), 1 / (mass[1:] * down)
        leave = -rise - np.append(0.0, fall)
        generator = sparse.diags_array(
            [fall, leave, rise[:-1]],
            offsets=[-1, 0, 1],  # pyright: ignore[reportArgumentType]
            format="csc",
        )
        values = solve_ivp(
            lambda _, y: generator @ y,
            (0.0, t1),
            f(d),
            method="Radau",
            jac=generator,
            rtol=1e-10,
            atol=1e-13,
        ).y
        return float(values[below, -1])

    def _scale_above(self, d: float) -> float:
        """`s(∞) − s(d)`, infinite if it does not explode."""
        alpha, theta = float(self.alpha), float(self.theta)
        if alpha <= 0.5:
            return np.inf
        whole = beta(alpha - 0.5, 0.5) / (2 * np.sqrt(theta))
        return whole * betainc(alpha - 0.5, 0.5, 1 / (1 + theta * d**2))

    def _scale(self, d: float) -> float:
        """`√θ s(d)`, by quadrature over `sinh y = √θ x`."""
        end = np.arcsinh(np.sqrt(float(self.theta)) * d)
        power = 1 - 2 * float(self.alpha)

        def integrand(y):
            return np.cosh(y) ** power

        return quad(integrand, 0.0, end, epsabs=0.0, epsrel=1e-12, limit=200)[0]
