"""Two tokens under shaped attention: whether they explode, by the scale function."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar
from scipy.integrate import quad
from scipy.special import beta, betainc

from .._checks import found, number
from ..limits import ShapedAttention
from ._base import final_time
from ._volumes import mean_below

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
        self.theta = softmax.strength**2 / (8 * weights.strength)
        self.gain = weights.strength

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
        d0, t1 = _distance(d0), final_time(t1)
        return jnp.asarray(self._below(f, d0, np.inf, t1))

    def survival_probability(self, d0: float, t1: float) -> Scalar:
        """That d has not exploded by the time T: `surviving` of 1.

        **Arguments:**

        - `d0`: the squared distance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        return self.surviving(np.ones_like, d0, t1)

    def reached_probability(self, d0: float, level: float, t1: float) -> Scalar:
        """That d has reached the level K by the time T.

        As `surviving`, of a process that ends at the level.

        **Arguments:**

        - `d0`: the squared distance at the start, positive, less than the level.
        - `level`: K.
        - `t1`: T, in units of depth/width.
        """
        d0, t1 = _distance(d0), final_time(t1)
        accepted, way_out = f"a number above d0 = {d0}", "At the level it is reached."
        level = number("level", level, accepted, way_out, test=lambda x: x > d0)
        return jnp.asarray(1 - self._below(np.ones_like, d0, level, t1))

    def _below(self, f: Callable, d0: float, level: float, t1: float) -> float:
        """`E f(d_T)` of paths that have not reached the level."""
        alpha, theta, gain = float(self.alpha), float(self.theta), float(self.gain)
        rate = np.sqrt(2 * gain)

        def distance(x):
            return 1 / (np.sqrt(theta) * np.sinh(-rate * x))

        def coordinate(d):
            return -np.arcsinh(1 / (np.sqrt(theta) * d)) / rate

        def log_slope(x):
            d = distance(x)
            # of the scale function in d, and of d in x
            return -alpha * np.log1p(theta * d**2) + np.log(rate * d / np.tanh(-rate * x))

        def above(x):
            return self._scale_above(distance(x))

        start, top = coordinate(d0), coordinate(level)
        reach = _TAIL * np.sqrt(t1) + rate * t1
        # infinity, or as good as that, where α ≤ ½
        top = min(top, start + reach)
        return mean_below(
            lambda x: f(distance(x)),
            log_slope,
            start,
            reach,
            top,
            t1,
            noise=0.5,
            above=above if level == np.inf else None,
        )

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


def _distance(d0) -> float:
    way_out = "It is V¹¹ − 2V¹² + V²² of two tokens."
    return number("d0", d0, "a positive number", way_out, test=lambda x: x > 0)
