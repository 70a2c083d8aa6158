"""Deterministic limits: the kernel of a network whose noise averages out."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import (
    check_finite,
    check_slopes,
    count,
    found,
    is_concrete,
    number,
    parameter,
    real_array,
)
from .._jit import jit
from .._names import full_name
from .._ode import MOST_STEPS, solve_ode
from .._times import check_save_times, check_time
from ..activations import expanded, nu
from ..diffusions import CongruenceDiffusion
from ..drifts import AbstractDrift, ActivationDrift
from ..equations import CORRELATION, COVARIANCE, DRIFT_TERM, Equation, Symbol
from ..references import COMMUTING_LIMITS, SHAPED_AND_UNSHAPED
from ._base import AbstractLimit

_NODES = 96


class BranchCovariance(AbstractDrift):
    """`b^{ab} = c E[φ(x^a) φ(x^b)]`, `x ~ N(0, V)`: what a residual branch adds.

    Source: "Width and Depth Limits Commute in Residual Networks" (Hayou, Yang 2023), and
    "Differential Equation Scaling Limits of Shaped and Unshaped Neural Networks" (Li, Nica
    2023).
    """

    fn: Callable
    c: Scalar

    def __init__(self, fn: Callable, c: float | Scalar = 1.0):
        """**Arguments:**

        - `fn`: the activation, a smooth JAX function of one number, without shaping; its
          covariance is found by Gauss–Hermite quadrature. `LeakyReLU` and
          `jax.scipy.special.erf` have closed forms.
        - `c`: the variance of the branch's weights, times their fan-in; positive.
        """
        if not callable(fn):
            raise TypeError(
                f"`fn` must be a JAX function of one number; got {found(fn)}. "
                "For example `jnp.tanh`, or `LeakyReLU(1.0, 0.0)`."
            )
        self.fn = fn
        way_out = "1 is usual, and 2 for a ReLU, which halves the variance."
        accepted = "a positive finite number"
        self.c = parameter("c", c, accepted, way_out, test=lambda x: x > 0)

    def __call__(self, t, v, args):
        """The drift of one matrix."""
        diagonal = jnp.diagonal(v)
        v_aa, v_bb, v_ab = jnp.broadcast_arrays(diagonal[:, None], diagonal[None, :], v)
        return self.c * _covariance(self.fn, v_aa, v_bb, v_ab)

    @property
    def rate(self):
        """`c` times the mean square of the slopes; those of a smooth one are about 1."""
        if isinstance(self.fn, LeakyReLU):
            return self.c * (self.fn.slope_plus**2 + self.fn.slope_minus**2) / 2
        return self.c

    @property
    def growth(self):
        """The rate, of a branch whose activation is homogeneous."""
        return self.rate if isinstance(self.fn, LeakyReLU) else None

    @property
    def equation(self) -> Equation:
        """The drift in LaTeX."""
        papers = (COMMUTING_LIMITS, SHAPED_AND_UNSHAPED)
        c = Symbol(
            "c", "variance of the branch's weights, times their fan-in", "", self.c, "c"
        )
        meaning = "what a residual branch adds"
        if not isinstance(self.fn, LeakyReLU):
            b = r"b^{ab} = c \operatorname{E}\left[\varphi(x^a) \varphi(x^b)\right]"
            letters = (
                Symbol("b", meaning, b),
                Symbol("x", "Gaussian numbers of covariance V, one for each input"),
                Symbol(r"\varphi", "activation", "", self.fn, "fn"),
                c,
            )
            return Equation("BranchCovariance", (), letters, papers)
        b = (
            r"b^{ab} = c \sqrt{V^{aa} V^{bb}} \left(\frac{s_+^2 + s_-^2}{2} \rho"
            r" + \frac{(s_+ - s_-)^2}{2 \pi} \left(\sqrt{1 - \rho^2} - \rho"
            r" \arccos \rho\right)\right)"
        )
        plus, minus = self.fn.slope_plus, self.fn.slope_minus
        letters = (
            Symbol("b", meaning, b),
            CORRELATION,
            Symbol("s_+", "slope of the activation at x > 0", "", plus, "fn.slope_plus"),
            Symbol("s_-", "slope of the activation at x < 0", "", minus, "fn.slope_minus"),
            c,
        )
        return Equation("BranchCovariance", (), letters, papers)


class LeakyReLU(eqx.Module):
    """`φ(x) = s₊ max(x, 0) + s₋ min(x, 0)`, without shaping; `(1, 0)` is the ReLU."""

    slope_plus: Scalar
    slope_minus: Scalar

    def __init__(self, slope_plus: float | Scalar = 1.0, slope_minus: float | Scalar = 0.0):
        """**Arguments:**

        - `slope_plus`: the slope s₊ for x > 0.
        - `slope_minus`: the slope s₋ for x < 0, not 0 if `slope_plus` is 0.
        """
        self.slope_plus, self.slope_minus = check_slopes(slope_plus, slope_minus)

    def __call__(self, x: Array) -> Array:
        """`φ(x)`."""
        return self.slope_plus * jnp.maximum(x, 0) + self.slope_minus * jnp.minimum(x, 0)

    def covariance(self, v_aa, v_bb, v_ab):
        """`√(V^{aa}V^{bb}) (½(s₊²+s₋²) ρ + (s₊−s₋)²/2π (√(1−ρ²) − ρ arccos ρ))`."""
        scale = jnp.sqrt(v_aa * v_bb)
        bend = (self.slope_plus - self.slope_minus) ** 2 / (2 * jnp.pi)
        u = jnp.where(v_ab == scale, 0.0, 1 - v_ab / scale)
        mean_square = (self.slope_plus**2 + self.slope_minus**2) / 2
        return mean_square * v_ab + bend * nu(u) * scale


def _covariance(fn: Callable, v_aa: Array, v_bb: Array, v_ab: Array) -> Array:
    """`E[φ(x^a) φ(x^b)]`, elementwise over pairs."""
    if isinstance(fn, LeakyReLU):
        return fn.covariance(v_aa, v_bb, v_ab)
    if fn is jax.scipy.special.erf:
        norms = jnp.sqrt((1 + 2 * v_aa) * (1 + 2 * v_bb))
        return 2 / jnp.pi * jnp.arcsin(2 * v_ab / norms)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    nodes = jnp.asarray(nodes, v_ab.dtype)
    weights = jnp.asarray(weights / weights.sum(), v_ab.dtype)

    def pair(v_aa, v_bb, v_ab):
        root = jnp.sqrt(v_aa)
        # the part of x^b that x^a does not determine; none of x^a itself
        left = v_bb - v_ab**2 / v_aa
        rest = jnp.where(left > 0, jnp.sqrt(jnp.where(left > 0, left, 1.0)), 0.0)
        first = fn(root * nodes)
        second = fn((v_ab / root) * nodes[:, None] + rest * nodes[None, :])
        return (weights * first) @ (second @ weights)

    return jnp.vectorize(pair)(v_aa, v_bb, v_ab)


class KernelODE(AbstractLimit):
    """`dV = b(V) dt`: the limit of networks whose fluctuations vanish.

    - Residual networks `z_{l+1} = z_l + d^{-1/2} √(c/n) W_l φ(z_l)` of depth d, with
      `t = l/d`: `KernelODE(BranchCovariance(fn, c))`, whichever of n and d grows first.
    - Shaping of exponent `p < ½`, with `t = l n^{-2p}`, or `p = ½` and depth much less
      than width: `KernelODE(ActivationDrift(activation))`.

    Source: "Width and Depth Limits Commute in Residual Networks" (Hayou, Yang 2023), and
    "Differential Equation Scaling Limits of Shaped and Unshaped Neural Networks" (Li, Nica
    2023).
    """

    drift: AbstractDrift
    depth: int | None = eqx.field(static=True, default=None)

    def __init__(self, drift: AbstractDrift, depth: int | None = None):
        """**Arguments:**

        - `drift`: `b`.
        - `depth`: layers of its finite networks per unit of time. None is their width, or
          `n^{2p}` for a shaped activation.
        """
        if not isinstance(drift, AbstractDrift):
            raise TypeError(
                f"`drift` must be a drift; got {found(drift)}. For example "
                "`BranchCovariance(jnp.tanh)`."
            )
        self.drift = drift
        way_out = "It is the number of layers of a finite network per unit of time."
        self.depth = None if depth is None else count("depth", depth, way_out)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """None: Γ = 0."""
        return CongruenceDiffusion(0.0)

    @property
    def equations(self):
        """The equation in LaTeX; of a drift of one's own, that there is one."""
        drift = self.drift
        if isinstance(drift, BranchCovariance):
            b = drift.equation
            time = "time, l/d: a network of depth d takes the time 1/d for a layer"
            return (self._equation(DRIFT_TERM, b.within("drift"), time),)
        if not isinstance(drift, ActivationDrift):
            name = f"drift {full_name(drift)}, of which no equation is given"
            return (Equation("KernelODE", (DRIFT_TERM,), (Symbol("b", name), COVARIANCE)),)
        activation = drift.activation
        b = activation.equation.within("drift.activation")
        p = 2 * min(0.5, activation.exponent)
        time = f"time: a layer of a network of width n takes n^-{p:g}"
        if is_concrete(drift.gain) and float(drift.gain) == 1:
            return (self._equation(DRIFT_TERM, b, time),)
        share = "share of a layer that passes through the activation"
        gain = Symbol("g", share, "", drift.gain, "drift.gain")
        b = b._replace(symbols=(*b.symbols, gain))
        return (self._equation(rf"g {DRIFT_TERM}", b, time),)

    def _equation(self, term: str, b: Equation, time: str) -> Equation:
        symbols = (*b.symbols, COVARIANCE)
        return Equation("KernelODE", (term,), symbols, b.references, time)

    def integrate(
        self,
        v0: Float[ArrayLike, "m m"],
        t1: float,
        *,
        saveat: Float[ArrayLike, " k"] | None = None,
        rtol: float = 1e-10,
        atol: float = 1e-12,
        args: Any = None,
    ) -> Float[Array, "k m m"]:
        """Solves the equation to a tolerance, by Diffrax's `Dopri8`.

        **Arguments:**

        - `v0`: covariance at time 0, `(m, m)`.
        - `t1`: final time.
        - `saveat`: increasing times in `[0, t1]`; None saves `t1` only.
        - `rtol`, `atol`: relative and absolute tolerance of a step, positive.
        - `args`: passed to the drift.

        **Returns:** V at the saved times, `(k, m, m)`.

        **Raises:** `ValueError` or `TypeError` for input that has no meaning, or a `t1`
        after `V` has exploded.
        """
        way_out = "`covsde.gram(x)` makes it from inputs."
        accepted = "a covariance of shape (m, m)"
        v0 = real_array("v0", v0, accepted, way_out)
        if v0.ndim != 2 or v0.shape[0] != v0.shape[1]:
            raise ValueError(f"`v0` must be {accepted}; got shape {v0.shape}. {way_out}")
        if is_concrete(v0):
            check_finite("v0", np.asarray(v0), way_out)
        t1 = check_time("t1", t1)
        times = check_save_times(saveat, t1, v0.dtype)
        accepted, way_out = "a positive finite number", "1e-8 is usual."
        rtol, atol = (
            number(name, x, accepted, way_out, test=lambda x: x > 0)
            for name, x in (("rtol", rtol), ("atol", atol))
        )
        until = jnp.asarray(np.union1d(times, t1), v0.dtype)
        vs, stopped_at = _solved(expanded(self.drift), v0, until, args, rtol, atol)
        vs = vs[: times.size]
        if is_concrete(stopped_at) and float(stopped_at) != np.inf:
            last = float(stopped_at)
            reason = (
                f"it takes more than {MOST_STEPS:,} steps"
                if np.isnan(last)
                else f"V explodes at t = {last:.9g}"
            )
            raise ValueError(
                f"`t1` must be a time that the solution reaches; got {t1:g}, but {reason}. "
                "Pass an earlier time, or larger tolerances."
            )
        return jnp.where(jnp.isinf(stopped_at), vs, jnp.nan)


@jit
def _solved(drift: AbstractDrift, v0: Array, times: Array, args: Any, rtol, atol):
    """One program for all drifts of a form, starts and as many times."""
    return solve_ode(lambda t, v: drift(t, v, args), v0, times, None, rtol=rtol, atol=atol)
