"""One input of a shaped smooth network: explosion, the stationary law, the law in time.

`dV = κ V (V−1) dt + √2 V dB`, with κ the stability index of the limit. A ResNet follows it
with κ_eff in the time Γ t.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import gammainc
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar
from scipy.special import gammaincinv, ndtr

from .._affine import Affine
from .._checks import check_key, count, count_paths, number, parameter
from .._jit import jit
from .._normals import independent_normals
from ._base import AbstractLaw, final_time
from ._collocation import Collocated
from ._volumes import mean_below

# How many standard deviations of a linear network's log V the nodes reach
_TAIL = 8.0
# δ₁ for paths that explode, and the numbers of nodes to try
_ABOVE = 0.03
# a start as good as infinity
_INFINITY = 1e12
_NODES = (128, 192, 288, 432, 648)


class NormPaths(NamedTuple):
    """One number for each path: `v`, `V_T`; `exploded_at`, inf if it did not.

    `v` is inf of a path that exploded.
    """

    v: Float[Array, " num_paths"]
    exploded_at: Float[Array, " num_paths"]


class OneInput(eqx.Module):
    """`dV = κ V (V−1) dt + √2 V dB`, the variance of one input of a smooth network.

    It explodes with positive probability if `κ > 0`, tends to 0 if `−1 ≤ κ ≤ 0`, and has
    a stationary law if `κ < −1`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.10.
    """

    kappa: Scalar

    def __init__(self, kappa: float | Scalar):
        """**Arguments:**

        - `kappa`: κ, `activation.stability_index` of an MLP. A ResNet has
            `limit.stability_index`, and times `Γ t` for `t`.
        """
        way_out = "For example `ShapedSmooth(jnp.tanh, a=1.0).stability_index`."
        self.kappa = parameter("kappa", kappa, "a finite number", way_out)

    def explosion_probability(self, v0: Float[ArrayLike, "..."]) -> Array:
        """`I(κ+1, κ V_0)`, the regularised incomplete gamma function; 0 if `κ ≤ 0`."""
        return self._scale(jnp.asarray(v0), where_not=0.0)

    def hitting_probability(
        self, v0: Float[ArrayLike, "..."], level: Float[ArrayLike, "..."]
    ) -> Array:
        """`I(κ+1, κ V_0)/I(κ+1, κ K)`: that V reaches the level K ever, for `κ > 0`.

        NaN if `κ ≤ 0`.

        **Arguments:**

        - `v0`: the variance at the start, at most the level.
        - `level`: K.
        """
        return self._scale(jnp.asarray(v0), jnp.nan) / self._scale(
            jnp.asarray(level), jnp.nan
        )

    def _scale(self, v: Array, where_not: float) -> Array:
        kappa = jnp.where(self.kappa > 0, self.kappa, 1.0)
        return jnp.where(self.kappa > 0, gammainc(kappa + 1, kappa * v), where_not)

    @property
    def stationary(self) -> "GammaLaw":
        """The stationary law of V, `Gamma(|κ| − 1, |κ|)`, of `κ < −1`."""
        way_out = "Else V tends to 0, or explodes."
        accepted = "less than -1 for a stationary law"
        kappa = number("kappa", self.kappa, accepted, way_out, test=lambda x: x < -1)
        return GammaLaw(-kappa - 1, -kappa)

    def sample(
        self,
        v0: float,
        t1: float,
        *,
        key: PRNGKeyArray,
        num_paths: int,
        steps: int = 128,
    ) -> NormPaths:
        """Paths to the time T and the times when they explode, by a formula in B.

            V_t = V_0 e^{−(κ+1)t + √2 B_t} / (1 − κ V_0 ∫₀ᵗ e^{−(κ+1)s + √2 B_s} ds),

        which explodes as the integral reaches `1/κV_0`. B is exact at the steps; over one
        the integral has its mean given B at its ends and the mean of B, which makes the
        law one of weak order 3.

        **Arguments:**

        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        - `key`: a JAX random key. Path i depends on it and on i alone.
        - `num_paths`: number of independent paths.
        - `steps`: number of equal steps.
        """
        v0, t1 = _start(v0), final_time(t1)
        num_paths = count_paths("num_paths", num_paths, "Pass how many paths to simulate.")
        steps = count("steps", steps, "128 are the default.")
        return _paths(self.kappa, v0, t1, steps, check_key(key), num_paths)

    def law(self, v0: float, t1: float, *, nodes: int = 192) -> "NormLaw":
        """The law of `V_T`, of `κ < 0`; its arguments are those of `NormLaw`."""
        return NormLaw(self.kappa, v0, t1, nodes=nodes)

    def surviving(
        self, f: Callable[[np.ndarray], np.ndarray], v0: float, t1: float
    ) -> Scalar:
        """`E f(V_T)` of a smooth f that vanishes at infinity, `κ > 0`: 0 after explosion.

        Collocated like `NormLaw`, with the value 0 at infinity, at more and more nodes
        until two results agree to 1e-8. Computed by NumPy.

        **Arguments:**

        - `f`: elementwise on arrays.
        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        accepted, way_out = "a positive number", "For κ < 0 ask for `law(v0, t1)`."
        kappa = number("kappa", self.kappa, accepted, way_out, test=lambda x: x > 0)
        v0, t1 = _start(v0), final_time(t1)
        spread = np.exp(-_TAIL * np.sqrt(2 * t1))
        lowest = min(v0, 1.0) * np.exp(-(kappa + 1) * t1) * spread
        # far above κ the drift outruns the noise, and explosion is certain
        highest = max(min(kappa / 3, _ABOVE), spread / max(v0, 1.0))

        def mean(nodes: int) -> float:
            law = Collocated(
                lambda p, q: kappa * p * (2 * p - 1) - 2 * p**2 * q,
                lambda p, q: 2 * (p * q) ** 2,
                (v0 / (1 + v0), 1 / (1 + v0)),
                t1,
                margins=(lowest, highest),
                nodes=nodes,
                absorbed=True,
            )
            return law.mean(np.asarray(f(law.p / law.q)))

        coarse = np.inf
        for nodes in _NODES:
            fine = mean(nodes)
            if abs(fine - coarse) <= 1e-8 * abs(fine):
                return jnp.asarray(fine)
            coarse = fine
        raise ValueError(
            f"`f` must be a smooth function with a mean that {_NODES[-1]} nodes resolve; "
            "got one that they do not. Shorten `t1`, or average over `sample`."
        )

    def survival_probability(self, v0: float, t1: float) -> Scalar:
        """That V has not exploded by the time T; 1 if `κ ≤ 0`.

        `V_t` explodes as `∫₀ᵗ e^{−(κ+1)s + √2 B_s} ds` reaches `1/κV_0`. Turned around in
        time, this integral is `1/(κ+2)U_t` of the equation with `−(κ+2)` for κ, from
        `U_0 = ∞`: it is `P(U_T > κV_0/(κ+2))`, exact as `NormLaw` is.

        **Arguments:**

        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        kappa = number("kappa", self.kappa, "a finite number", "It is known.")
        v0, t1 = _start(v0), final_time(t1)
        if kappa <= 0:
            return jnp.asarray(1.0)
        dual = NormLaw(-(kappa + 2), _INFINITY, t1)
        return 1 - dual.cdf(kappa * v0 / (kappa + 2))

    def reached_probability(self, v0: float, level: float, t1: float) -> Scalar:
        """That V has reached the level K by the time T, for every κ.

        The backward equation of `log V`, which ends at the level, in finite volumes;
        extrapolated from two meshes.

        **Arguments:**

        - `v0`: the variance at the start, positive, less than the level.
        - `level`: K.
        - `t1`: T, in units of depth/width.
        """
        kappa = number("kappa", self.kappa, "a finite number", "It is known.")
        v0, t1 = _start(v0), final_time(t1)
        accepted, way_out = f"a number above v0 = {v0}", "At the level it is reached."
        level = number("level", level, accepted, way_out, test=lambda x: x > v0)
        below = mean_below(
            np.ones_like,
            lambda y: (kappa + 1) * y - kappa * np.exp(y),
            np.log(v0),
            _TAIL * np.sqrt(2 * t1) + abs(kappa + 1) * t1,
            np.log(level),
            t1,
            noise=1.0,
        )
        return jnp.asarray(1 - below)


class GammaLaw(AbstractLaw):
    """`Gamma(shape, rate)`, of density `∝ x^{shape−1} e^{−rate x}`."""

    shape: Scalar
    rate: Scalar

    def __init__(self, shape: float, rate: float):
        """**Arguments:**

        - `shape`, `rate`: positive numbers.
        """
        accepted, way_out = "a positive number", "The mean is shape/rate."
        self.shape = parameter("shape", shape, accepted, way_out, test=lambda x: x > 0)
        self.rate = parameter("rate", rate, accepted, way_out, test=lambda x: x > 0)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`shape/rate`."""
        return self.shape / self.rate

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`shape/rate²`."""
        return self.shape / self.rate**2

    def cdf(self, x):
        """`P(X ≤ x)`; 0 for `x ≤ 0`."""
        return gammainc(self.shape, self.rate * jnp.maximum(jnp.asarray(x), 0.0))

    def quantile(self, p):
        """The `x` with `P(X ≤ x) = p`; computed by SciPy."""
        return jnp.asarray(gammaincinv(np.asarray(self.shape), np.asarray(p))) / self.rate


class NormLaw(AbstractLaw):
    """The law of `V_T`, `dV = κ V (V−1) dt + √2 V dB`, of `κ < 0`; or that of `log V_T`.

    `s = V/(1+V)` has polynomial coefficients,
    `ds = (κ s(2s−1) − 2s²(1−s)) dt + √2 s(1−s) dB`, and its backward equation is
    collocated at Chebyshev nodes. At the default 192, for `−20 ≤ κ ≤ −0.5` and
    `0.1 ≤ T ≤ 4`, the distribution function and the mean of V are exact to 1e-7, and its
    variance to 1e-5. Mean and variance of log V are exact to 1e-7 while `|κ| T ≤ 2`; then
    the far lower tail is lost in rounding, and they to 2e-4 and 4e-3 at worst. Computed by
    NumPy, of known parameters.

    Source: the equation of "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.10.
    """

    _law: Collocated
    logarithm: bool = eqx.field(static=True)

    def __init__(
        self,
        kappa: float | Scalar,
        v0: float | Scalar,
        t1: float,
        *,
        logarithm: bool = False,
        nodes: int = 192,
    ):
        """**Arguments:**

        - `kappa`: κ, negative.
        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        - `logarithm`: whether it is the law of `log V_T`.
        - `nodes`: how many Chebyshev nodes.
        """
        way_out = "For κ = 0 V is log-normal, `log_norm_law`; for κ > 0 it may explode."
        accepted = "a negative number"
        kappa = number("kappa", kappa, accepted, way_out, test=lambda x: x < 0)
        v0, t1 = _start(v0), final_time(t1)
        nodes = count("nodes", nodes, "192 are the default.", least=16)
        self.logarithm = logarithm
        spread = _TAIL * np.sqrt(2 * t1)
        fall = max(kappa + 1, 0.0) * t1
        lowest = min(v0, 1.0) * np.exp(-fall - spread)
        # far above 1 the drift down outruns the noise, and there is no mass
        highest = max(min(-kappa, 1.0), np.exp(-spread) / max(v0, 1.0))
        # the noise is switched off where there is none, or V² would be large there
        cap = 20 * min(max(v0, 1.0) * np.exp(spread), max(v0, 1.0) - 40 / kappa)
        last = 1 / (1 + cap)

        def drift(p, q):
            return kappa * p * (2 * p - 1) - 2 * p**2 * (q + last)

        def variance(p, q):
            return 2 * (p * (q + last)) ** 2 * (1 - (last / (q + last)) ** 8)

        p0 = v0 / (1 + v0)
        self._law = Collocated(
            drift,
            variance,
            (p0, 1 / (1 + v0) - last),
            t1,
            margins=(lowest, highest),
            nodes=nodes,
        )

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`E X`."""
        return self.expectation(lambda x: x)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`Var X`."""
        return self.expectation(np.square) - self.mean**2

    def expectation(self, f: Callable[[np.ndarray], np.ndarray]) -> Scalar:
        """`E f(X)` of a smooth function, elementwise on arrays."""
        if (
            self.logarithm
        ):  # over Φ(z), for the nodes' own weights are too rough for the tail of log V
            z = np.linspace(-6.0, 6.0, 241)
            weights = np.exp(-(z**2) / 2)
            values = f(self._number(self._law.quantile(ndtr(z))[0]))
            return jnp.asarray(weights @ np.asarray(values) / weights.sum())
        return jnp.asarray(self._law.mean(np.asarray(f(self._number(self._law.p)))))

    def cdf(self, x):
        """`P(X ≤ x)`."""
        x = np.asarray(x, float)
        v = np.exp(x) if self.logarithm else np.maximum(x, 0.0)
        p = np.minimum(v / (1 + v), self._law.length)
        return jnp.asarray(self._law.cdf(p, self._law.length - p))

    def quantile(self, p):
        """The `x` with `P(X ≤ x) = p`."""
        return jnp.asarray(self._number(self._law.quantile(np.asarray(p, float))[0]))

    def _number(self, p: np.ndarray) -> np.ndarray:
        v = p / (1 - p)
        return np.log(v) if self.logarithm else v


def _start(v0) -> float:
    way_out = "It is |x|²/n_in of an input x."
    return number("v0", v0, "a positive number", way_out, test=lambda x: x > 0)


@jit
def _paths(kappa, v0, t1, steps: int, key, num_paths: int) -> NormPaths:
    """By `1/V`, which is affine and reaches 0 as V explodes."""
    paths = jnp.arange(num_paths, dtype=jnp.uint32)
    h, dtype = t1 / steps, kappa.dtype
    affine = Affine(-kappa, kappa + 2, jnp.asarray(2**0.5, dtype))

    def step(now, i):
        inverse, exploded_at = now
        normals = independent_normals(jax.random.fold_in(key, i), 2, paths, dtype)
        moved, growth = affine.step(inverse, h, normals)
        explodes = (moved <= 0) & jnp.isinf(exploded_at)
        # but for its growth 1/V falls along a path, here by a straight line
        share = jnp.where(explodes, inverse / (inverse - moved / growth), 0.0)
        exploded_at = jnp.where(explodes, (i + share) * h, exploded_at)
        return (moved, exploded_at), None

    start = jnp.full(num_paths, 1 / v0, dtype), jnp.full(num_paths, jnp.inf, dtype)
    (inverse, exploded_at), _ = lax.scan(step, start, jnp.arange(steps))
    alive = jnp.isinf(exploded_at)
    v = jnp.where(alive, 1 / jnp.where(alive, inverse, 1.0), jnp.inf)
    return NormPaths(v, exploded_at)
