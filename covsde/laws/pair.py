"""The law of the correlation of two inputs, in a linear network or under a shaped ReLU."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import count, number
from ._base import AbstractLaw, final_time
from ._collocation import Collocated

# How many standard deviations of artanh ρ the nodes reach beyond its range
_TAIL = 8.0


class PairLaw(AbstractLaw):
    """The law of `ρ_T`, `dρ = [γ² ν(ρ) − Γ ρ(1−ρ²)/2] dt + √Γ (1−ρ²) dB`.

    `ν(ρ) = k (√(1−ρ²) − ρ arccos ρ)`, `k = (c₊−c₋)²/2π`, and 0 for a linear network. In
    the angle `θ = arccos ρ` it is

        dθ = −γ² k (1 − θ cot θ) dt + √Γ sin θ dB,

    whatever the norms, for any two of m inputs. Its backward equation is collocated at
    Chebyshev nodes. At the default 128, for `0.01 ≤ Γ T ≤ 10`, means of smooth functions
    of ρ are exact to 1e-8, mostly 1e-9, and the distribution function to 1e-5 at
    `Γ T = 0.01` and 1e-7 from `Γ T = 0.25`. Computed by NumPy, of known parameters.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2.
    """

    _law: Collocated

    def __init__(
        self,
        rho0: float | Scalar,
        t1: float,
        strength: float,
        gain: float = 1.0,
        *,
        nodes: int = 128,
    ):
        """**Arguments:**

        - `rho0`: the correlation at the start, in (-1, 1).
        - `t1`: T, in units of depth/width.
        - `strength`: `γ² k = γ² (c₊−c₋)²/2π`, which is
            `limit.drift.gain * limit.drift.activation.strength`; 0 if linear.
        - `gain`: Γ, `limit.diffusion.strength`.
        - `nodes`: how many Chebyshev nodes.
        """
        accepted, way_out = "a number in (-1, 1)", "It is V^{ab}/√(V^{aa} V^{bb})."
        rho0 = number("rho0", rho0, accepted, way_out, test=lambda x: -1 < x < 1)
        t1 = final_time(t1)
        accepted, way_out = "a number, not negative", "It is 1/2π for ShapedReLU(0, -1)."
        strength = number("strength", strength, accepted, way_out, test=lambda x: x >= 0)
        accepted, way_out = "a positive number", "It is Γ, 1 for an MLP."
        gain = number("gain", gain, accepted, way_out, test=lambda x: x > 0)
        nodes = count("nodes", nodes, "128 are the default.", least=16)

        def drift(p, q):
            return strength * (1 - q * np.cos(q) / _sine(p, q))

        reach = gain * t1 / 2 + _TAIL * np.sqrt(gain * t1)
        y0 = np.arctanh(rho0)
        below, above = (2 * np.exp(-max(y, 0.0) - reach) for y in (-y0, y0))
        # where the drift away from ρ = −1 outruns the noise, there is no mass
        self._law = Collocated(
            drift,
            lambda p, q: gain * _sine(p, q) ** 2,
            (np.pi - np.arccos(rho0), np.arccos(rho0)),
            t1,
            margins=(max(below, np.sqrt(np.pi * strength / gain)), above),
            nodes=nodes,
        )

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`E ρ_T`."""
        return self.expectation(lambda rho: rho)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`Var ρ_T`."""
        return self.expectation(np.square) - self.mean**2

    def expectation(
        self, f: Callable[[np.ndarray], np.ndarray], *, of_angle: bool = False
    ) -> Scalar:
        """`E f(ρ_T)` of a smooth function, elementwise on arrays.

        **Arguments:**

        - `f`: the function.
        - `of_angle`: whether it is one of `arccos ρ`, which keeps its digits where `1 − ρ`
            does not.
        """
        theta = self._law.q
        values = f(theta if of_angle else np.cos(theta))
        return jnp.asarray(self._law.mean(np.asarray(values)))

    def cdf(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """`P(ρ_T ≤ x)`."""
        theta = np.arccos(np.clip(np.asarray(x, float), -1.0, 1.0))
        return jnp.asarray(self._law.cdf(np.pi - theta, theta))

    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The ρ with `P(ρ_T ≤ ρ) = p`."""
        return jnp.asarray(np.cos(self._law.quantile(np.asarray(p, float))[1]))


def _sine(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """`sin q` of angles `p + q = π`, exact to rounding near both ends."""
    return np.sin(np.minimum(p, q))
