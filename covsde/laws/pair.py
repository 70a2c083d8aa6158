"""The law of the correlation of two inputs, in a linear network or under a shaped ReLU."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Scalar

from .._checks import count, number
from ._base import AbstractLaw
from ._checks import flag, known_gain, known_time, values
from ._diffusion import TAIL, Diffused


class PairLaw(AbstractLaw):
    """The law of `ρ_T`, `dρ = [γ² ν(ρ) − Γ ρ(1−ρ²)/2] dt + √Γ (1−ρ²) dB`.

    `ν(ρ) = k (√(1−ρ²) − ρ arccos ρ)`, `k = (c₊−c₋)²/2π`, and 0 for a linear network. In
    the angle `θ = arccos ρ` it is

        dθ = −γ² k (1 − θ cot θ) dt + √Γ sin θ dB,

    whatever the norms, for any two of m inputs. In `artanh ρ`, where the noise is
    constant, it has the scale function of slope
    `sin θ e^{γ²k (θ − sin θ cos θ)/(Γ sin² θ)}`, and is solved in cells, which are chosen
    from ρ₀, Γ, T and the strength. For
    `−0.999 ≤ ρ₀ ≤ 0.9999`, `0.001 ≤ Γ T ≤ 10` and `γ² k/Γ ≤ 5`, means of smooth functions
    of ρ and the distribution function are exact to 1e-9. Computed by NumPy, of known
    parameters.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2.
    """

    _law: Diffused  # of artanh ρ

    def __init__(
        self,
        rho0: float | Scalar,
        t1: float,
        strength: float,
        gain: float = 1.0,
        *,
        nodes: int | None = None,
    ):
        """**Arguments:**

        - `rho0`: the correlation at the start, in (-1, 1).
        - `t1`: T, in units of depth/width.
        - `strength`: `γ² k = γ² (c₊−c₋)²/2π`, which is
            `limit.drift.gain * limit.drift.activation.strength`; 0 if linear.
        - `gain`: Γ, `limit.diffusion.strength`.
        - `nodes`: how many cells the finest mesh has, about; None are as many as it takes.
        """
        accepted, way_out = "a number in (-1, 1)", "It is V^{ab}/√(V^{aa} V^{bb})."
        rho0 = number("rho0", rho0, accepted, way_out, test=lambda x: -1 < x < 1)
        t1, gain = known_time(t1), known_gain(gain)
        accepted, way_out = "a number, not negative", "It is 1/2π for ShapedReLU(0, -1)."
        strength = number("strength", strength, accepted, way_out, test=lambda x: x >= 0)
        if nodes is not None:
            nodes = count("nodes", nodes, "None are as many as it takes.", least=100)

        y0 = np.arctanh(rho0)
        reach = gain * t1 / 2 + TAIL * np.sqrt(gain * t1)
        # how far the drift goes: π − θ rises to √(p² + 2π γ²k T) at most; once ρ > 0,
        # e^y grows by less than γ²k T
        p = np.hypot(2 * np.arctan(np.exp(y0)), np.sqrt(2 * np.pi * strength * t1))
        rise = max(y0, 0.0) + np.log1p(strength * t1)
        if p < np.pi:
            rise = max(y0, min(rise, np.log(np.tan(p / 2))))
        self._law = Diffused(
            lambda y: _log_slope(y, strength / gain),
            lambda y: np.full_like(y, gain / 2),
            y0,
            t1,
            (y0 - reach, rise + reach),
            cells=nodes,
        )

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`E ρ_T`."""
        return self.expectation(lambda rho: rho)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`Var ρ_T`."""
        mean = float(self.mean)
        return self.expectation(lambda rho: (rho - mean) ** 2)

    def expectation(
        self, f: Callable[[np.ndarray], np.ndarray], *, of_angle: bool = False
    ) -> Scalar:
        """`E f(ρ_T)` of a smooth function, elementwise on arrays.

        **Arguments:**

        - `f`: the function.
        - `of_angle`: whether it is one of `arccos ρ`, which keeps its digits where `1 − ρ`
            does not.
        """
        y = self._law.y
        x = _angle(y) if flag("of_angle", of_angle) else np.tanh(y)
        return jnp.asarray(self._law.mean(values(f, x)))

    def _cdf(self, x):
        with np.errstate(divide="ignore"):  # at the ends
            return self._law.cdf(np.arctanh(np.clip(np.asarray(x, float), -1.0, 1.0)))

    def _quantile(self, p):
        return np.tanh(self._law.quantile(np.asarray(p, float)))


def _angle(y: np.ndarray) -> np.ndarray:
    """θ, where `y = artanh ρ`; exact to rounding near both ends."""
    return np.arctan2(1 / np.cosh(np.clip(y, -700.0, 700.0)), np.tanh(y))


def _log_slope(y: np.ndarray, strength: float) -> np.ndarray:
    """`log s'`, where `y = artanh ρ` and `sin θ = 1/cosh y`."""
    sine, theta = 1 / np.cosh(np.clip(y, -300.0, 300.0)), _angle(y)
    # (θ − sin θ cos θ)/sin² θ, for small θ by its series to rounding
    near = np.polynomial.polynomial.polyval(sine**2, [2 / 3, 1 / 5, 3 / 28, 5 / 72])
    pull = np.where(
        (y > 0) & (sine < 0.02),
        sine * near,
        (theta - sine * np.tanh(y)) / sine**2,
    )
    log_sine = np.log(2) - np.abs(y) - np.log1p(np.exp(-2 * np.abs(y)))
    return log_sine + strength * pull
