"""ReLU ResNets, plain and balanced: log-Gaussian norms, and too few active units."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import count, parameter
from ._base import AbstractLogNormLaw, LogGaussian
from ._checks import correlations, flag

# Gauss–Legendre, in √u, of the integral of kernel_limit_variance: exact to rounding
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# beyond this u the correlation e^{−u/2} is below 1e-17
_LONGEST_MEMORY = 80.0


def interlayer_covariance(r: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """`G(r) = (2/π) [3r √(1−r²) + (1+2r²) arcsin r]`.

    `E[x|x| y|y|]` of a Gaussian pair with correlation `r`: `n` times the covariance of
    what two layers add to the log-norm, as each doubles its active half. `G(1) = 3`.

    Source: "The Future is Log-Gaussian" (Li, Nica, Roy 2021).
    """
    r = correlations("r", r)
    return 2 / np.pi * (3 * r * _cosine(r) + (1 + 2 * r**2) * jnp.arcsin(r))


def interlayer_bias(r: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """`F(r) = r G'(r) = (8r/π) [√(1−r²) + r arcsin r]`.

    How much less than on average a layer adds after one that added more.

    Source: "The Future is Log-Gaussian" (Li, Nica, Roy 2021).
    """
    r = correlations("r", r)
    return 8 / np.pi * r * (_cosine(r) + r * jnp.arcsin(r))


def _cosine(r: Array) -> Array:
    return jnp.sqrt((1 - r) * (1 + r))


def _tangent_covariance(r: Array) -> Array:
    """`E[v² sgn(x) w² sgn(y)]`, with `(v, w)` an independent copy of the pair `(x, y)`."""
    return 2 / np.pi * (1 + 2 * r**2) * jnp.arcsin(r)


def _tangent_bias(r: Array) -> Array:
    return 4 / np.pi * r * (2 * r * jnp.arcsin(r) - _cosine(r))


class LogGaussianResNet(AbstractLogNormLaw):
    """The law of `R = log(V_d/V_0)`, `V = |z|²/n`, of a ReLU ResNet.

    `z_{l+1} = α z_l + λ √(2/n) W_l relu(z_l)`, `α² + λ² = 1`, from a Gaussian `z_0`. As
    depth and width grow together `R` is Gaussian, with

        Var R = (1/n) [(4λ²+λ⁴) d + 2λ⁴ Σ_{k=1}^{d−1} (d−k) G(α^k)]
        E R = −(1/2n) [(4λ²+λ⁴) d + λ⁴ Σ_{k=1}^{d−1} (d−k) F(α^k)].

    A *balanced* ResNet applies `relu(s_i z_i)`, with random signs `s_i` fresh for every
    unit and layer. Layers are then uncorrelated: both sums drop, and `E R = −Var R/2`.

    Source: "The Future is Log-Gaussian" (Li, Nica, Roy 2021).
    """

    alpha_squared: Scalar
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    balanced: bool = eqx.field(static=True)

    def __init__(
        self, width: int, depth: int, alpha_squared: float, *, balanced: bool = False
    ):
        """**Arguments:**

        - `width`: the number of units, `n`.
        - `depth`: the number of layers, `d`.
        - `alpha_squared`: `α²` in `[0, 1)`, the share of the variance that skips a layer;
          0 is a network without skip connections.
        - `balanced`: whether the ResNet is balanced.

        **Raises:** `ValueError` or `TypeError` for numbers outside their range.
        """
        self.width = count("width", width, "It is the number of units of a layer.")
        self.depth = count("depth", depth, "It is the number of layers.")
        self.alpha_squared = parameter(
            "alpha_squared",
            alpha_squared,
            "a number in [0, 1)",
            "It is the share of the variance that skips a layer, for example 0.9.",
            test=lambda x: 0 <= x < 1,
        )
        self.balanced = flag("balanced", balanced)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`E R`."""
        return -(self._uncorrelated + self._over_pairs(interlayer_bias)) / (2 * self.width)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`Var R`."""
        pairs = self._over_pairs(interlayer_covariance)
        return (self._uncorrelated + 2 * pairs) / self.width

    @property
    def active_share(self) -> Float[Array, " layers"]:
        """The expected share of active units in layers `0, …, depth`.

        `½ − (λ²/πn) Σ_{j=1}^{l} α^j √(1−α^{2j})`: fewer than half, though every unit is
        symmetric, for large activations make the next layer's noise large. A balanced
        ResNet has one half.
        """
        if self.balanced:
            return jnp.full(self.depth + 1, 0.5, self.alpha_squared.dtype)
        r = self._correlations(self.depth)
        deficit = jnp.cumsum(r * _cosine(r)) * (1 - self.alpha_squared) / np.pi
        return 0.5 - jnp.append(0.0, deficit / self.width)

    @property
    def gradient(self) -> LogGaussian:
        """The law of `log(|∂f/∂z_0|²/|∂f/∂z_d|²)`, for an output `f = ⟨v, z_d⟩`.

        The Jacobian of the network has the law of `log |Jᵀv|²` and `log |Jv|²` alike, for
        every `v` that is independent of it. Of a balanced ResNet it is the law of `R`. Of
        a plain one it is not: `v` does not know which units are active, and

            Var = (1/n) [(4λ²+λ⁴) d + 2λ⁴ Σ_{k=1}^{d−1} (d−k) G̃(α^k)]
            E = −(1/2n) [(4λ²+λ⁴) d + λ⁴ Σ_{k=1}^{d−1} (d−k) F̃(α^k)]

        to first order in depth/width, with `G̃(r) = (2/π)(1+2r²) arcsin r` and
        `F̃(r) = (4r/π)(2r arcsin r − √(1−r²))`. Beyond, `Jv` aligns with `z_d`, which adds
        about a tenth to the variance at depth = width and α² = 0.9.
        """
        variance = self._uncorrelated + 2 * self._over_pairs(_tangent_covariance)
        bias = self._uncorrelated + self._over_pairs(_tangent_bias)
        return LogGaussian(-bias / (2 * self.width), variance / self.width)

    @property
    def _uncorrelated(self) -> Scalar:
        """`(4λ²+λ⁴) d`."""
        share = 1 - self.alpha_squared
        return (4 * share + share**2) * self.depth

    def _over_pairs(self, function) -> Scalar | float:
        """`λ⁴ Σ_{k=1}^{d−1} (d−k) f(α^k)`, over pairs of layers; 0 if balanced."""
        if self.balanced:
            return 0.0
        pairs = jnp.arange(self.depth - 1, 0, -1)
        correlated = function(self._correlations(self.depth - 1))
        return (1 - self.alpha_squared) ** 2 * jnp.sum(pairs * correlated)

    def _correlations(self, layers: int) -> Array:
        """`α^k`, of one unit in two layers, `k = 1, …, layers` apart."""
        return self.alpha_squared ** (jnp.arange(1, layers + 1) / 2)


def kernel_limit_variance(t1: float) -> Scalar:
    """`lim n Var log(V_T/V_0) = 4T + 2 ∫₀ᵀ (T−u) G(e^{−u/2}) du` of a deep ReLU ResNet.

    The fluctuation, of order `n^{-1/2}`, about the deterministic kernel `V_T = V_0 e^T` of
    `z_{l+1} = z_l + √(T/d) √(2/n) W_l relu(z_l)`, `l < d`, as `d → ∞` and then `n → ∞`. It
    is that of `LogGaussianResNet` with `λ²/α² = T/d`.

    **Arguments:**

    - `t1`: T, the total variance of the branches; positive.
    """
    total = parameter(
        "t1",
        t1,
        "a positive finite number",
        "It is the total variance of the residual branches, usually 1.",
        test=lambda x: x > 0,
    )
    end = jnp.sqrt(jnp.minimum(total, _LONGEST_MEMORY))
    # G has a term √u at 0, which is smooth in x = √u
    x = end * (_NODES + 1) / 2
    integrand = 2 * x * (total - x**2) * interlayer_covariance(jnp.exp(-(x**2) / 2))
    return 4 * total + 2 * jnp.sum(_WEIGHTS * integrand) * end / 2
