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
import scipy
from jax import lax
from jax.scipy.special import gammainc
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._affine import Affine
from .._checks import check_key, count, count_paths, is_concrete, number, parameter
from .._jit import jit
from .._normals import independent_normals
from ._base import AbstractLaw
from ._checks import flag, known_level, known_start, known_time, numbers, starts, values
from ._diffusion import TAIL, Diffused

# A start as good as infinity
_INFINITY = 1e12
# From where κV explodes at once
_EXPLODED = 1e4
_START = "It is |x|²/n_in of an input x."


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
        """`I(κ+1, κ V_0)`, the regularised incomplete gamma function; 0 if `κ ≤ 0`.

        **Arguments:**

        - `v0`: the variance at the start, not negative.
        """
        v0 = starts("v0", v0, way_out=_START)
        kappa = jnp.where(self.kappa > 0, self.kappa, 1.0)
        return jnp.where(self.kappa > 0, gammainc(kappa + 1, kappa * v0), 0.0)

    def hitting_probability(
        self, v0: Float[ArrayLike, "..."], level: Float[ArrayLike, "..."]
    ) -> Array:
        """`s(V_0)/s(K)`, `s(V) = ∫₀^V x^κ e^{−κx} dx`: that V reaches the level K ever.

        It is `I(κ+1, κ V_0)/I(κ+1, κ K)` for `κ > 0`, as κ must be if JAX traces it, and 1
        if `κ ≤ −1`.

        **Arguments:**

        - `v0`: the variance at the start, not negative, at most the level.
        - `level`: K, positive.
        """
        accepted = "positive and finite"
        level = numbers(
            "level", level, accepted, "It is K.", test=lambda k: (k > 0) & np.isfinite(k)
        )
        v0 = starts("v0", v0, level, way_out=_START)
        if is_concrete(self.kappa) and float(self.kappa) <= 0:
            return jnp.asarray(self._tame(np.asarray(v0), np.asarray(level)))
        scale = gammainc(self.kappa + 1, self.kappa * v0)
        return scale / gammainc(self.kappa + 1, self.kappa * level)

    def _tame(self, v0: np.ndarray, level: np.ndarray) -> np.ndarray:
        """`s(V_0)/s(K)` for `κ ≤ 0`: `s(V) = V^p e^{−κV} M(1, p+1, κV)/p`, `p = κ+1`."""
        kappa = float(self.kappa)
        if kappa <= -1:
            return np.where((v0 > 0) & (level > 0), 1.0, 0.0)
        ratio = (v0 / level) ** (kappa + 1) * np.exp(kappa * (level - v0))
        ratio *= scipy.special.hyp1f1(1.0, kappa + 2, kappa * v0)
        return ratio / scipy.special.hyp1f1(1.0, kappa + 2, kappa * level)

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
        v0, t1 = known_start("v0", v0, _START), known_time(t1)
        num_paths = count_paths("num_paths", num_paths, "Pass how many paths to simulate.")
        steps = count("steps", steps, "128 are the default.")
        return _paths(self.kappa, v0, t1, steps, check_key(key), num_paths)

    def law(self, v0: float, t1: float, *, nodes: int | None = None) -> "NormLaw":
        """The law of `V_T`, of `κ < 0`; its arguments are those of `NormLaw`."""
        return NormLaw(self.kappa, v0, t1, nodes=nodes)

    def surviving(
        self, f: Callable[[np.ndarray], np.ndarray], v0: float, t1: float
    ) -> Scalar:
        """`E f(V_T)` of a smooth f that vanishes at infinity, `κ > 0`: 0 after explosion.

        Where f falls like `1/V` or faster it is exact to 1e-8; solved as `NormLaw` is. For
        `f = 1` there is `survival_probability`.

        **Arguments:**

        - `f`: elementwise on arrays.
        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        accepted, way_out = "a positive number", "For κ < 0 ask for `law(v0, t1)`."
        kappa = number("kappa", self.kappa, accepted, way_out, test=lambda x: x > 0)
        v0, t1 = known_start("v0", v0, _START), known_time(t1)
        law = _log_norm(kappa, v0, t1)
        return jnp.asarray(law.mean(values(f, np.exp(law.y))))

    def survival_probability(self, v0: float, t1: float) -> Scalar:
        """That V has not exploded by the time T; 1 if `κ ≤ 0`.

        `V_t` explodes as `∫₀ᵗ e^{−(κ+1)s + √2 B_s} ds` reaches `1/κV_0`. Turned around in
        time, this integral is `1/(κ+2)U_t` of the equation with `−(κ+2)` for κ, from
        `U_0 = ∞`: it is `P(U_T > κV_0/(κ+2))`, exact to 1e-9 as `NormLaw` is.

        **Arguments:**

        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        """
        kappa = number("kappa", self.kappa, "a finite number", "It is known.")
        v0, t1 = known_start("v0", v0, _START), known_time(t1)
        if kappa <= 0:
            return jnp.asarray(1.0)
        return 1 - NormLaw(-(kappa + 2), _INFINITY, t1).cdf(kappa * v0 / (kappa + 2))

    def reached_probability(self, v0: float, level: float, t1: float) -> Scalar:
        """That V has reached the level K by the time T, for every κ; exact to 1e-9.

        **Arguments:**

        - `v0`: the variance at the start, positive, less than the level.
        - `level`: K.
        - `t1`: T, in units of depth/width.
        """
        kappa = number("kappa", self.kappa, "a finite number", "It is known.")
        v0, t1 = known_start("v0", v0, _START), known_time(t1)
        level = known_level(level, "v0", v0)
        return jnp.asarray(_log_norm(kappa, v0, t1, level).gone)


class GammaLaw(AbstractLaw):
    """`Gamma(shape, rate)`, of density `∝ x^{shape−1} e^{−rate x}`."""

    shape: Scalar
    rate: Scalar

    def __init__(self, shape: float, rate: float):
        """**Arguments:**

        - `shape`, `rate`: positive numbers. The distribution function is computed by a
          series as long as `√shape`, which is at most 1e4: to 1e-6 of its size there.
        """
        accepted, way_out = "a positive number", "The mean is shape/rate."
        most = "a positive number of at most 1e8"
        self.shape = parameter("shape", shape, most, way_out, test=lambda x: 0 < x <= 1e8)
        self.rate = parameter("rate", rate, accepted, way_out, test=lambda x: x > 0)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`shape/rate`."""
        return self.shape / self.rate

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`shape/rate²`."""
        return self.shape / self.rate**2

    def _cdf(self, x):
        return gammainc(self.shape, self.rate * jnp.maximum(x, 0.0))

    def _quantile(self, p):
        return (
            jnp.asarray(scipy.special.gammaincinv(np.asarray(self.shape), np.asarray(p)))
            / self.rate
        )


class NormLaw(AbstractLaw):
    """The law of `V_T`, `dV = κ V (V−1) dt + √2 V dB`, of `κ < 0`; or that of `log V_T`.

    In `log V`, where the noise is constant, it has the scale function of slope
    `V^{κ+1} e^{−κV}` and is solved in cells, which are chosen from κ, V₀ and T. For
    `−20 ≤ κ ≤ −0.5` and `0.001 ≤ T ≤ 10` the distribution function, mean and variance are
    exact to 1e-9 of their size. Computed by NumPy, of known parameters.

    Source: the equation of "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.10.
    """

    _law: Diffused  # of log V
    logarithm: bool = eqx.field(static=True)

    def __init__(
        self,
        kappa: float | Scalar,
        v0: float | Scalar,
        t1: float,
        *,
        logarithm: bool = False,
        nodes: int | None = None,
    ):
        """**Arguments:**

        - `kappa`: κ, negative.
        - `v0`: the variance at the start, positive.
        - `t1`: T, in units of depth/width.
        - `logarithm`: whether it is the law of `log V_T`.
        - `nodes`: how many cells the finest mesh has, about; None are as many as it takes.
        """
        way_out = "For κ = 0 V is log-normal, `log_norm_law`; for κ > 0 it may explode."
        accepted = "a negative number"
        kappa = number("kappa", kappa, accepted, way_out, test=lambda x: x < 0)
        v0, t1 = known_start("v0", v0, _START), known_time(t1)
        if nodes is not None:
            nodes = count("nodes", nodes, "None are as many as it takes.", least=100)
        self.logarithm = flag("logarithm", logarithm)
        self._law = _log_norm(kappa, v0, t1, cells=nodes)

    @property
    def mean(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`E X`."""
        return self.expectation(lambda x: x)

    @property
    def variance(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`Var X`."""
        mean = float(self.mean)
        return self.expectation(lambda x: (x - mean) ** 2)

    def expectation(self, f: Callable[[np.ndarray], np.ndarray]) -> Scalar:
        """`E f(X)` of a smooth function, elementwise on arrays."""
        return jnp.asarray(self._law.mean(values(f, self._number(self._law.y))))

    def _cdf(self, x):
        x = np.asarray(x, float)
        with np.errstate(divide="ignore"):  # at 0
            return self._law.cdf(x if self.logarithm else np.log(np.maximum(x, 0.0)))

    def _quantile(self, p):
        return self._number(self._law.quantile(np.asarray(p, float)))

    def _number(self, y: np.ndarray) -> np.ndarray:
        return y if self.logarithm else np.exp(y)


def _log_norm(
    kappa: float, v0: float, t: float, level: float = np.inf, *, cells: int | None = None
) -> Diffused:
    """The law of `log V_T` of paths that have not exploded, nor reached the level."""
    y0, reach = np.log(v0), TAIL * np.sqrt(2 * t)
    low = y0 - max(kappa + 1, 0.0) * t - np.log1p(max(-kappa, 0.0) * v0 * t) - reach
    # as high as the drift takes it: to the level 1 for κ < −1, to infinity for κ > 0
    high = y0 + min(max(-kappa - 1, 0.0) * t, max(-y0, 0.0)) + reach
    growth = max(kappa, 0.0) * t * np.exp(high)
    if growth < 0.5:
        high -= np.log1p(-growth)
    else:
        level = min(level, max(_EXPLODED / kappa, _EXPLODED * v0))
        high = np.log(level)
    return Diffused(
        lambda y: (kappa + 1) * y - kappa * np.exp(y),
        np.ones_like,
        y0,
        t,
        (low, high),
        level=np.log(level),
        cells=cells,
    )


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
