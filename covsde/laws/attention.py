"""Two tokens under shaped attention: whether they explode, by the scale function."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar
from scipy.integrate import quad
from scipy.special import betainc

from .._checks import found
from ..limits import ShapedAttention


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

    def _scale(self, d: float) -> float:
        """`√θ s(d)`, by quadrature over `sinh y = √θ x`."""
        end = np.arcsinh(np.sqrt(float(self.theta)) * d)
        power = 1 - 2 * float(self.alpha)

        def integrand(y):
            return np.cosh(y) ** power

        return quad(integrand, 0.0, end, epsabs=0.0, epsrel=1e-12, limit=200)[0]
