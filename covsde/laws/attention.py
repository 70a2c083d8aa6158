"""Two tokens under shaped attention: whether they explode, by the scale function."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import found
from ..limits import ShapedAttention
from ._checks import known_level, known_start, known_time, numbers, starts, values
from ._diffusion import TAIL, Diffused

# √θ d as good as infinity
_INFINITY = 1e8
_START = "It is V¹¹ − 2V¹² + V²² of two tokens."


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

        - `d0`: the squared distance at the start, not negative, at most the level.
        - `level`: K, positive.
        """
        accepted = "positive and finite"
        level = numbers(
            "level", level, accepted, "It is K.", test=lambda k: (k > 0) & np.isfinite(k)
        )
        d0 = starts("d0", d0, level, way_out=_START)
        scale = np.vectorize(self._scale, otypes=[float])
        return jnp.asarray(scale(d0) / scale(level))

    def explosion_probability(self, d0: Float[ArrayLike, "..."]) -> Array:
        """`s(d₀)/s(∞) = I(½, α−½; θd₀²/(1+θd₀²))`, an incomplete beta function.

        **Arguments:**

        - `d0`: the squared distance at the start, not negative.
        """
        d0 = np.asarray(starts("d0", d0, way_out=_START), float)
        alpha, x = float(self.alpha), float(self.theta) * d0**2
        if alpha <= 0.5:
            return jnp.zeros(x.shape)
        return jnp.asarray(scipy.special.betainc(0.5, alpha - 0.5, x / (1 + x)))

    def surviving(
        self,
        f: Callable[[np.ndarray], np.ndarray],
        d0: float,
        t1: float,
    ) -> Scalar:
        """`E f(d_T)` of a smooth f that vanishes at infinity: 0 after an explosion.

        Solved in cells of `log d`, by the scale function; exact to 1e-9. Computed by
        NumPy.

        **Arguments:**

        - `f`: elementwise on arrays.
        - `d0`: the squared distance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        law = self._log_distance(d0, t1)
        return jnp.asarray(law.mean(values(f, np.exp(law.y))))

    def survival_probability(self, d0: float, t1: float) -> Scalar:
        """That d has not exploded by the time T; exact to 1e-9.

        **Arguments:**

        - `d0`: the squared distance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        return jnp.asarray(1 - self._log_distance(d0, t1).gone)

    def reached_probability(self, d0: float, level: float, t1: float) -> Scalar:
        """That d has reached the level K by the time T; exact to 1e-9.

        **Arguments:**

        - `d0`: the squared distance at the start, positive, less than the level.
        - `level`: K.
        - `t1`: T, in units of depth/width.
        """
        d0 = known_start("d0", d0, _START)
        level = known_level(level, "d0", d0)
        return jnp.asarray(self._log_distance(d0, t1, level).gone)

    def _log_distance(self, d0: float, t1: float, level: float = np.inf) -> Diffused:
        """The law of `log d_T`, of paths that have not exploded, nor reached the level."""
        d0, t1 = known_start("d0", d0, _START), known_time(t1)
        alpha, theta, gain = float(self.alpha), float(self.theta), float(self.gain)

        def log_distance(x):
            """Where `√θ d sinh x = 1`: the noise of x is `√(2Γ) dB`."""
            return -np.log(theta) / 2 - x - np.log(-np.expm1(-2 * x) / 2)

        x0 = np.arcsinh(1 / (np.sqrt(theta) * d0))
        reach = TAIL * np.sqrt(2 * gain * t1) + 2 * gain * t1
        high, above = np.log(_INFINITY) - np.log(theta) / 2, None
        if x0 > reach:  # infinity is far
            high = log_distance(x0 - reach)
        else:
            high = max(high, np.log(_INFINITY * d0))
            if np.isfinite(level):
                high = np.log(level)
            elif alpha > 0.5:
                above = 1 / (2 * alpha - 1)
        return Diffused(
            lambda y: y - alpha * np.log1p(theta * np.exp(2 * y)),
            lambda y: gain * (1 + theta * np.exp(2 * y)),
            np.log(d0),
            t1,
            (log_distance(x0 + reach), high),
            level=np.log(level),
            above=above,
        )

    def _scale(self, d: float) -> float:
        """`√θ s(d)`, by quadrature over `sinh y = √θ x`."""
        end = np.arcsinh(np.sqrt(float(self.theta)) * d)
        power = 1 - 2 * float(self.alpha)

        def integrand(y):
            return np.cosh(y) ** power

        return scipy.integrate.quad(
            integrand, 0.0, end, epsabs=0.0, epsrel=1e-12, limit=200
        )[0]
