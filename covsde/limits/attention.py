"""Shaped attention: its drift, and the noise of the softmax."""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Scalar

from .._checks import count, found, is_concrete
from ..diffusions import AbstractDiffusion, CongruenceDiffusion, Tangent
from ..drifts import AbstractDrift
from ..equations import (
    DRIFT_TERM,
    INPUTS,
    RESIDUAL_WEIGHT,
    SYMBOLS,
    WEIGHTS_TERM,
    Equation,
    Symbol,
)
from ..flows import unexploded, where_leaving_span
from ..matrices import (
    Lower,
    Square,
    gram,
    gram_square,
    multiply,
    multiply_square,
    multiply_transposed,
    semidefinite_cholesky,
    solve_rows,
    triangularise,
)
from ..references import SHAPED_TRANSFORMER
from ._base import AbstractLimit
from ._checks import check_gamma, positive
from ._excursion import of_two_tokens


class ShapedAttention(AbstractLimit):
    """The limit of attention layers whose softmax is shaped towards the identity.

    `X_{l+1} = λ X_l + γ A_l X_l W^V/√n`, `A = I + softmax(Y) − 11ᵀ/m`,
    `Y = X W^Q W^{K⊤} Xᵀ/(n τ)`, `τ = τ₀ √(n n_k)`, `λ² + γ² = 1`, on m tokens. With
    `V = X Xᵀ/n = F Fᵀ` and `P = I − 11ᵀ/m`:

    `dV = b dt + √Γ F dS Fᵀ + γ²/(m τ₀ √H) (F dW Fᵀ P V + V P F dWᵀ Fᵀ)`,
    `b^{ab} = γ²/τ₀² (V^{ab} tr(PVPV)/m² + (V^{aa} (V r)^b + V^{bb} (V r)^a)/2m)`,

    `r = diag(PVP) − tr(PVP)/m`, `Γ = γ²(2−γ²)`, and W an m×m Brownian motion independent
    of S. V may explode in finite time, so `E V` need not exist: stop it at a level.

    Source: "The Shaped Transformer" (Noci et al. 2023), Theorem 4.2.
    """

    gamma: Scalar
    tau0: Scalar
    heads: int = eqx.field(static=True)
    output_projection: bool = eqx.field(static=True)

    def __init__(
        self,
        gamma: float | Scalar,
        tau0: float | Scalar,
        heads: int = 1,
        output_projection: bool = False,
    ):
        """**Arguments:**

        - `gamma`: weight γ of the residual branch, in (0, 1].
        - `tau0`: temperature τ₀ of the softmax, positive.
        - `heads`: number H of heads, whose outputs are summed with weight `1/√H`.
        - `output_projection`: whether the heads are concatenated and projected, as is
          usual, by one more random matrix, and not summed. Then `Γ = 2γ²`.
        """
        self.gamma = check_gamma(gamma)
        way_out = "The softmax has the temperature τ₀ √(n n_k)."
        self.tau0 = positive("tau0", tau0, way_out)
        self.heads = count("heads", heads, "It is the number of attention heads.")
        if not isinstance(output_projection, bool):
            raise TypeError(
                "`output_projection` must be True or False; got "
                f"{found(output_projection)}. True concatenates and projects the heads."
            )
        self.output_projection = output_projection
        if is_concrete((self.gamma, self.tau0)):
            self._check_strength()

    def _check_strength(self) -> None:
        """Refuses a γ so small or a τ₀ so large that κ has no float, and conversely."""
        with jax.ensure_compile_time_eval():
            strength = float(self._strength)
        if 0 < strength < math.inf:
            return
        # of two that are small together, the one that is further from 1
        by_tau0 = float(self.gamma) ** 2 * float(self.tau0) > 1
        name, way_out = ("tau0", "smaller τ₀") if by_tau0 else ("gamma", "larger γ")
        if strength > 0:
            name, way_out = "tau0", "larger τ₀"
        raise ValueError(
            f"`{name}` must make γ²/(τ₀ √H) a positive finite number; got {strength:g} "
            f"from γ = {float(self.gamma):g} and τ₀ = {float(self.tau0):g}. Pass a "
            f"{way_out}."
        )

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the mean of the softmax adds."""
        return AttentionDrift(self.gamma / self.tau0)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The noise of the values' weights, and that of the softmax."""
        return CongruenceDiffusion(self._gain) + SoftmaxDiffusion(self._strength)

    def excursion(self, m):
        """That of two tokens; of more it depends on how they lie."""
        return of_two_tokens if m == 2 else None

    @property
    def _gain(self) -> Scalar:
        """Γ."""
        branch = self.gamma**2
        return 2 * branch if self.output_projection else branch * (2 - branch)

    @property
    def _strength(self) -> Scalar:
        """`κ = γ²/(τ₀ √H)`."""
        return self.gamma**2 / (self.tau0 * self.heads**0.5)

    @property
    def equations(self):
        """The SDE in LaTeX."""
        drift = (
            r"b^{ab} = \frac{\gamma^2}{\tau_0^2}"
            r" \left(\frac{\operatorname{tr}(P V P V)}{m^2} V^{ab}"
            r" + \frac{V^{aa} (V r)^b + V^{bb} (V r)^a}{2 m}\right)"
        )
        softmax = (
            r"\frac{\kappa}{m} \left(F\,\mathrm{d}W\,F^\top P V"
            r" + V P F\,\mathrm{d}W^\top F^\top\right)"
        )
        gain = r"\Gamma = \gamma^2 (2 - \gamma^2)"
        if self.output_projection:
            gain = r"\Gamma = 2 \gamma^2"
        kappa = r"\kappa = \frac{\gamma^2}{\tau_0 \sqrt{H}}"
        r = r"r^a = (P V P)^{aa} - \frac{\operatorname{tr}(P V P)}{m}"
        centring = r"P^{ab} = \delta^{ab} - \frac{1}{m}"
        return (
            Equation(
                "ShapedAttention",
                (DRIFT_TERM, rf"\sqrt{{\Gamma}}\,{WEIGHTS_TERM}", softmax),
                (
                    Symbol("b", "drift, from the mean of the softmax", drift),
                    Symbol(r"\Gamma", "noise of the values' weights", gain, self._gain),
                    Symbol(r"\kappa", "noise of the softmax", kappa, self._strength),
                    Symbol(r"\gamma", RESIDUAL_WEIGHT, "", self.gamma, "gamma"),
                    Symbol(r"\tau_0", "temperature of the softmax", "", self.tau0, "tau0"),
                    Symbol("H", "number of heads", "", self.heads, "heads"),
                    Symbol("W", "m×m Brownian motion, independent of all others"),
                    Symbol(
                        "r",
                        "variances of the centred inputs, less their mean",
                        r,
                        shared=True,
                    ),
                    Symbol(
                        "P", "projection that centres the inputs", centring, shared=True
                    ),
                    INPUTS,
                    *SYMBOLS,
                ),
                (SHAPED_TRANSFORMER.at("Theorem 4.2"),),
            ),
        )


class AttentionDrift(AbstractDrift):
    """`b^{ab} = s² (V^{ab} tr(PVPV)/m² + (V^{aa} (V r)^b + V^{bb} (V r)^a)/2m)`."""

    scale: Scalar
    accepts_singular: ClassVar[bool] = True

    def __init__(self, scale: float | Scalar):
        """**Arguments:**

        - `scale`: `s = γ/τ₀`.
        """
        self.scale = positive("scale", scale, "It is γ/τ₀ of an attention layer.")

    def __call__(self, t, v, args):
        """The drift of one matrix."""
        m = v.shape[-1]
        rows_centred = v - jnp.mean(v, axis=0, keepdims=True)
        c = rows_centred - jnp.mean(rows_centred, axis=1, keepdims=True)
        variances = jnp.diagonal(c)
        r = variances - jnp.mean(variances)
        mixed = jnp.diagonal(v)[:, None] * (v @ r)[None, :]
        # tr(PVPV) = tr(PVP PVP)
        b = v * (jnp.sum(c**2) / m**2) + (mixed + mixed.T) / (2 * m)
        return self.scale**2 * b

    def flow(self, t, h, factor, args):
        """Second order, positive definite, and of the same rank as `V`.

        With `v = diag V` and `g = Fᵀ r`, `dF = s² (½ F tr(PVPV)/m² + v gᵀ/2m) dt`: Heun's
        method for `F = L M`.
        """
        m = factor.m
        time = self.scale.astype(factor.dtype) ** 2 * h

        def in_frame_of_l(moved: Square) -> Square:
            frame = multiply_square(factor, moved)
            growth, g = _growth_and_gradient(frame)
            x = solve_rows(factor, frame.squared_rows())
            return moved * (growth / 2) + Square.outer(x, g, m) * (0.5 / m)

        def in_place(frame: Square) -> Square:
            growth, g = _growth_and_gradient(frame)
            v = frame.squared_rows()
            return frame * (growth / 2) + Square.outer(v, g, m) * (0.5 / m)

        def in_v() -> Lower:
            start = Square.from_triangle(factor)
            return semidefinite_cholesky(gram_square(_heun(in_place, start, time)))

        one = Square.identity(m, factor.batch, factor.dtype)
        within = multiply(factor, triangularise(_heun(in_frame_of_l, one, time)))
        moved = where_leaving_span(
            factor,
            self.batched(t, gram(factor), args),
            within,
            in_v,
        )
        return unexploded(moved, factor)

    def speed(self, factor):
        """`s² tr(PVPV)/m²`, the rate at which V grows."""
        k = _centred_gram(Square.from_triangle(factor))
        scale = self.scale.astype(factor.dtype) / factor.m
        return scale**2 * k.squared_norm()

    @property
    def rate(self):
        """`4 s²`: a bound where `tr V/m` is 4."""
        return 4 * self.scale**2


class SoftmaxDiffusion(AbstractDiffusion):
    """`dV = κ/m (F dW Fᵀ P V + V P F dWᵀ Fᵀ)`: the noise of random logits.

    `Σ^{ab,cd} = κ²/m² (V^{ac}K^{bd} + V^{ad}K^{bc} + V^{bc}K^{ad} + V^{bd}K^{ac})`,
    `K = V P V P V`.

    Source: "The Shaped Transformer" (Noci et al. 2023), Theorem 4.2.
    """

    strength: Scalar
    autonomous: ClassVar[bool] = True

    def __init__(self, strength: float | Scalar):
        """**Arguments:**

        - `strength`: `κ = γ²/(τ₀ √H)`.
        """
        way_out = "It is γ²/(τ₀ √H) of an attention layer with H heads."
        self.strength = positive("strength", strength, way_out)

    @property
    def noise_shape(self):
        """An m×m Brownian motion."""
        return "square"

    def rate(self, m, t1=1.0):
        """`16 κ² (m−1)/m²`: the noise's rate `κ²/m² tr(PVPV)` where V is `4 I`."""
        return 16 * self.strength**2 * (m - 1) / m**2

    def speed(self, t, factor, args):
        """`κ²/m² tr(PVPV)`."""
        k = _centred_gram(Square.from_triangle(factor))
        return self._scale(factor) ** 2 * k.squared_norm()

    def tangent(self, t, frame, increment, args):
        """`dF = F (κ/m dW K)`, `K = Fᵀ P F`."""
        scaled = increment * self._scale(frame)
        return Tangent(right=multiply_square(scaled, _centred_gram(frame)))

    def correction(self, t, frame, rank, args):
        """`−κ²/m² F (½ tr(K²) I + K² + ½ tr(K) K)`, the first of them Itô's."""
        k = _centred_gram(frame)
        one = Square.identity(frame.m, frame.batch, frame.dtype)
        total = one * (0.5 * k.squared_norm()) + multiply_square(k, k)
        total = total + k * (0.5 * k.trace())
        return Tangent(right=total * -(self._scale(frame) ** 2))

    def corrected(self, t, frame, increment, rank, h, args):
        """Both by one product with `K`: `K²` is one, too."""
        k, scale = _centred_gram(frame), self._scale(frame)
        one = Square.identity(frame.m, frame.batch, frame.dtype)
        held = scale**2 * h
        left = increment * scale + k * -held + one * (k.trace() * (-0.5 * held))
        right = multiply_square(left, k) + one * (k.squared_norm() * (-0.5 * held))
        return Tangent(right=right)

    def trace_variance(self, t, factor, args):
        """`4 κ²/m² tr(P V³ P V)`, of `d tr V = 2 κ/m tr(dW K Fᵀ F)`."""
        frame = Square.from_triangle(factor)
        inner = Square.from_triangle(gram_square(frame.mT))
        coefficients = multiply_square(_centred_gram(frame), inner)
        return 4 * self._scale(factor) ** 2 * coefficients.squared_norm()

    def _scale(self, like: Lower | Square) -> Scalar:
        """`κ/m`."""
        return (self.strength / like.m).astype(like.dtype)

    def covariance(self, v):
        """`κ²/m² (V^{ac}K^{bd} + V^{ad}K^{bc} + V^{bc}K^{ad} + V^{bd}K^{ac})`."""
        m = v.shape[-1]
        p = jnp.eye(m, dtype=v.dtype) - 1 / m
        k = v @ p @ v @ p @ v
        ac_bd = v[:, None, :, None] * k[None, :, None, :]
        over_ab = ac_bd + jnp.swapaxes(ac_bd, 0, 1)
        total = over_ab + jnp.swapaxes(over_ab, 2, 3)
        return (self.strength / m) ** 2 * total


def _heun(velocity: Callable[[Square], Square], start: Square, time) -> Square:
    k0 = velocity(start).kept()
    k1 = velocity(start + k0 * time)
    return start + (k0 + k1) * (0.5 * time)


def _growth_and_gradient(frame: Square) -> tuple[Array, Array]:
    """`tr(PVPV)/m²`, one per path, and `g = Fᵀ r`."""
    m = frame.m
    r = frame.centre_rows(frame.centred().squared_rows())
    return _centred_gram(frame).squared_norm() / m**2, frame.apply_transposed(r)


def _centred_gram(frame: Square) -> Square:
    """`K = Fᵀ P F`."""
    centred = frame.centred()
    return multiply_transposed(centred, centred)
