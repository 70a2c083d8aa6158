"""The unshaped ReLU network: how fast two inputs become one, on its own scale."""

import math
from typing import TYPE_CHECKING, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from .._affine import Affine
from .._checks import (
    check_key,
    check_slopes,
    count,
    count_paths,
    is_concrete,
    parameter,
)
from .._jit import jit
from .._names import full_name
from .._normals import independent_normals
from .._results import AbstractSolution
from .._times import check_save_times, check_time
from ..diffusions import AbstractDiffusion
from ..drifts import AbstractDrift
from ..equations import Equation, Symbol
from ..observables import Nearness, correlation
from ..references import SHAPED_AND_UNSHAPED
from ._base import AbstractLimit

if TYPE_CHECKING:
    import xarray

# the longest step if none is given
STEP = 1 / 16


class NearnessDrift(AbstractDrift):
    """`K/2 + χ u`, of one number."""

    attraction: Scalar
    spread: Scalar

    def __call__(self, t, u, args):
        """Of one number, or of many."""
        return jax.tree.map(lambda u: self.attraction / 2 + self.spread * u, u)

    batched = __call__  # pyright: ignore[reportAssignmentType]

    @property
    def rate(self):
        """`χ`."""
        return self.spread

    @property
    def can_explode(self):
        """Never."""
        return False


class NearnessNoise(AbstractDiffusion):
    """`−√χ u dB`, of one number."""

    spread: Scalar
    autonomous: ClassVar[bool] = True

    @property
    def noise_shape(self):
        """One Brownian motion."""
        return "number"

    def rate(self, m, t1=1.0):
        """`χ/2`."""
        return self.spread / 2

    def at(self, u):
        """`−√χ u`."""
        return jax.tree.map(lambda u: -jnp.sqrt(self.spread) * u, u)


class UnshapedMLP(AbstractLimit):
    """Two inputs of a ReLU network without shaping, `φ(x) = s₊ max(x, 0) + s₋ min(x, 0)`.

    Their correlation tends to 1 within few layers. With `t = l/n` and `q = l²(1−ρ_l)`,

    `dq = ((2q − K q^{3/2})/t + 2q) dt + 2√2 q dB`, `q_{0+} = (2/K)²`  (ReLU),

    which is singular at 0. For `u = t/√q = 1/(n √(1−ρ))` it is linear and regular:

    `du = (K/2 + χ u) dt − √χ u dB`, `K = 2√2 (s₊−s₋)²/(3π (s₊²+s₋²))`,
    `χ = 2 (s₊⁴+s₋⁴)/(s₊²+s₋²)²`.

    From any fixed `ρ_0 < 1` it starts at `u = 0`. Finite networks approach it slowly, with
    a bias of `O(log n/n)`.

    The state is the number u. Every call takes the covariance of the two inputs as `v0`,
    hands `u`, `(num_paths,)`, to observables, and steps by [`covsde.LinearParabola`][];
    `solve` returns a [`covsde.UnshapedSolution`][].

    Source: "Differential Equation Scaling Limits of Shaped and Unshaped Neural Networks"
    (Li, Nica 2023), Theorem 3.3; the change of variable is ours.
    """

    slope_plus: Scalar
    slope_minus: Scalar
    num_inputs: ClassVar[int | None] = 2
    finite_width_bias: ClassVar[str] = "of O(log n/n)"

    def __init__(self, slope_plus: float | Scalar = 1.0, slope_minus: float | Scalar = 0.0):
        """**Arguments:**

        - `slope_plus`: the slope s₊ of the activation for x > 0.
        - `slope_minus`: the slope s₋ for x < 0, not 0 if `slope_plus` is 0.
        """
        self.slope_plus, self.slope_minus = check_slopes(slope_plus, slope_minus)

    @property
    def attraction(self) -> Scalar:
        """`K`, of the drift that pulls inputs together; 0 for a linear network."""
        plus, minus = self._slopes
        return 2 * 2**0.5 * (plus - minus) ** 2 / (3 * jnp.pi * (plus**2 + minus**2))

    @property
    def spread(self) -> Scalar:
        """`χ`, the squared noise: 2 for a ReLU, 1 for a linear network."""
        plus, minus = (slope**2 for slope in self._slopes)
        return 2 * (plus**2 + minus**2) / (plus + minus) ** 2

    @property
    def _slopes(self) -> tuple[Scalar, Scalar]:
        """The slopes, the larger of size 1, for a scale of both changes nothing."""
        plus, minus = self.slope_plus, self.slope_minus
        largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(plus), jnp.abs(minus)))
        return plus / largest, minus / largest

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`K/2 + χ u`."""
        return NearnessDrift(self.attraction, self.spread)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """`−√χ u dB`."""
        return NearnessNoise(self.spread)

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The equation in LaTeX."""
        k = r"K = \frac{2 \sqrt{2} (s_+ - s_-)^2}{3 \pi (s_+^2 + s_-^2)}"
        chi = r"\chi = \frac{2 (s_+^4 + s_-^4)}{(s_+^2 + s_-^2)^2}"
        u = r"u = \frac{1}{n \sqrt{1 - \rho}}"
        plus, minus = self.slope_plus, self.slope_minus
        letters = (
            Symbol("K", "attraction of the inputs", k, self.attraction),
            Symbol(r"\chi", "spread, the squared noise", chi, self.spread),
            Symbol("s_+", "slope of the activation at x > 0", "", plus, "slope_plus"),
            Symbol("s_-", "slope of the activation at x < 0", "", minus, "slope_minus"),
            Symbol("u", "nearness of the two inputs; 0 at the start, where they differ", u),
            Symbol("n", "width"),
            Symbol(r"\rho", "correlation of the two inputs in a layer"),
            Symbol("B", "Brownian motion, of one number"),
        )
        terms = (
            r"\left(\frac{K}{2} + \chi u\right) \mathrm{d}t",
            r"-\sqrt{\chi} u\,\mathrm{d}B",
        )
        paper = SHAPED_AND_UNSHAPED.at("Theorem 3.3")
        return (Equation("UnshapedMLP", terms, letters, (paper,), state="u"),)

    def observables(self, m: int = 2) -> tuple[Nearness]:
        """What describes it, and is compared by [`covsde.validate`][]: u, of two inputs."""
        del m
        return (Nearness(),)

    def initial(self, v0: Float[Array, "*batch 2 2"]) -> Float[Array, "*batch"]:
        """`u = 0`, of any two inputs that differ.

        **Raises:** `ValueError` for others, and for slopes that keep `u = 0`.
        """
        check_pair(self, v0)
        return jnp.zeros(v0.shape[:-2], v0.dtype)

    def terms(
        self, path: diffrax.AbstractPath, start: float | Array = 0.0
    ) -> diffrax.MultiTerm:
        """Itô terms for Diffrax's solvers, of one number u and a path of shape `()`.

        One noise commutes, so `diffrax.ItoMilstein` is one of them;
        [`covsde.LinearParabola`][] is more exact. Paths are many by `jax.vmap`.
        """
        del start  # the same at all times
        noise = self.diffusion
        return diffrax.MultiTerm(
            diffrax.ODETerm(self.drift),
            diffrax.ControlTerm(lambda t, u, args: noise.at(u), path),
        )

    def start(self, rho: float | Scalar, width: int) -> Scalar:
        """`u_0 = 1/(n √(1−ρ_0))` of a network of width `n`; its limit is 0."""
        width = count("width", width, "It is the number of neurons of a hidden layer.")
        way_out = "It is the correlation of two different inputs."
        accepted = "a number in [-1, 1)"
        rho = parameter("rho", rho, accepted, way_out, test=lambda x: -1 <= x < 1)
        return 1 / (width * jnp.sqrt(1 - rho))

    def correlation(self, u: Float[ArrayLike, "..."], width: int) -> Array:
        """`ρ = 1 − 1/(n u)²` at width `n`; −∞ at `u = 0`, where width plays no part yet."""
        width = count("width", width, "It is the number of neurons of a hidden layer.")
        return 1 - (width * jnp.asarray(u)) ** -2.0

    def q(self, t: Float[ArrayLike, "..."], u: Float[ArrayLike, "..."]) -> Array:
        """`q = (t/u)² = l²(1−ρ_l)`; where `u = 0`, its limit `(2/K)²`."""
        u = jnp.asarray(u)
        start = (2 / self.attraction) ** 2
        return jnp.where(u == 0, start, (t / jnp.where(u == 0, 1.0, u)) ** 2)

    def derived(self, t, state):
        """`q`."""
        return {"q = l²(1−ρ)": self.q(t, state)}

    def mean(self, t: Float[ArrayLike, "..."], u0: float | Scalar = 0.0) -> Array:
        """`E u_t = (u_0 + K/2χ) e^{χt} − K/2χ`."""
        t, chi = jnp.asarray(t), self.spread
        level = self.attraction / (2 * chi)
        return (u0 + level) * jnp.exp(chi * t) - level

    def second_moment(self, t: Float[ArrayLike, "..."], u0: float | Scalar = 0.0) -> Array:
        """`E u_t²`, the solution of `m' = K E u + 3χ m`."""
        t, chi, k = jnp.asarray(t), self.spread, self.attraction
        level = k / (2 * chi)
        fast, slow = jnp.expm1(3 * chi * t), jnp.expm1(chi * t)
        grown = (u0 + level) * (fast - slow) / (2 * chi) - level * fast / (3 * chi)
        return u0**2 * (fast + 1) + k * grown

    def solve(
        self,
        t1: float,
        *,
        key: PRNGKeyArray,
        num_paths: int,
        u0: float | Scalar = 0.0,
        dt0: float | None = None,
        saveat: Float[ArrayLike, " k"] | None = None,
    ) -> "UnshapedSolution":
        """Paths of `u`, positive for every step and of weak order 3, with an exact mean.

        `u_t = E_t (u_0 + (K/2) ∫₀ᵗ ds/E_s)`, `E_t = exp(χt/2 − √χ B_t)`, is exact but for
        the integral, which in each step has its mean given B at its ends and the mean of B.

        **Arguments:**

        - `t1`: final time, in units of depth/width.
        - `key`: a JAX random key. Path i depends on it and on i alone.
        - `num_paths`: number of independent paths.
        - `u0`: start, not negative; 0 is that of any two different inputs.
        - `dt0`: longest step, 1/16 if None; between saved times steps are equal.
        - `saveat`: increasing times in `[0, t1]`; None saves `t1` only.

        **Returns:** a [`covsde.UnshapedSolution`][].

        **Raises:** `ValueError` or `TypeError` for input that has no meaning.
        """
        key = check_key(key)
        num_paths = count_paths("num_paths", num_paths, "Pass how many paths to simulate.")
        t1 = check_time("t1", t1)
        dt0 = check_time("dt0", STEP if dt0 is None else dt0)
        way_out = "0 is the start of any two different inputs."
        accepted = "a finite number, not negative"
        u0 = parameter("u0", u0, accepted, way_out, test=lambda x: x >= 0)
        dtype = jnp.result_type(float)
        times = jnp.asarray(check_save_times(saveat, t1, dtype), dtype)
        longest = float(jnp.max(jnp.diff(times, prepend=0.0)))
        steps = max(1, math.ceil(longest / dt0 - 1e-9))
        us = _paths(self, times, steps, u0, key, num_paths)
        return UnshapedSolution(ts=times, us=us, limit=self, key=key, dt0=min(dt0, t1))


def check_pair(limit: UnshapedMLP, v0: Float[Array, "*batch m m"]) -> None:
    """Refuses inputs that are not two, or one already; and slopes that leave them apart."""
    known = is_concrete((limit, v0))
    if known and float(limit.slope_plus) == float(limit.slope_minus):
        raise ValueError(
            "`slope_plus` and `slope_minus` must differ for inputs to become one; got "
            f"{full_name(limit)}, whose u stays 0. A linear network is "
            "`ShapedMLP(Identity())`."
        )
    if v0.shape[-2:] != (2, 2):
        raise ValueError(
            "`v0` must be the covariance of two inputs, (2, 2), for an `UnshapedMLP`; got "
            f"shape {v0.shape}. Choose two, e.g. `v0[:2, :2]`."
        )
    if not known:
        return
    with jax.ensure_compile_time_eval():
        rho0 = np.ravel(correlation(v0)[..., 0, 1])
    even = float(limit.slope_plus) == -float(limit.slope_minus)
    nearness = np.abs(rho0) if even else rho0
    if nearness.max() > 1 - 8 * jnp.finfo(v0.dtype).eps:
        accepted = "between -1 and 1 for an even activation" if even else "below 1"
        raise ValueError(
            f"`v0` must have a correlation {accepted}; got "
            f"{rho0[nearness.argmax()]:.17g}, for which the two are one from the first "
            "layer on. Choose two inputs that differ."
        )


class UnshapedSolution(AbstractSolution):
    """Paths of `u = 1/(n √(1−ρ))`, of the unshaped limit or of its finite networks.

    - `ts`: saved times (depth/width), shape `(k,)`.
    - `us`: `u`, shape `(num_paths, k)`; ∞ in a network from the layer on where its inputs
      have become one, or where one of them has no active unit.
    - `limit`, `key`: what was simulated, and from which randomness.
    - `dt0`: of a solved limit (None for networks).
    - `width`, `method`: of finite networks (None for the limit).
    - `functionals`: what `solve` was asked to keep along the paths, each `(num_paths, k)`.
    """

    ts: Float[Array, " k"]
    us: Float[Array, "num_paths k"]
    limit: UnshapedMLP
    key: PRNGKeyArray
    dt0: float | None = None
    width: int | None = eqx.field(static=True, default=None)
    method: str | None = eqx.field(static=True, default=None)
    functionals: dict[str, Float[Array, "num_paths k"]] = eqx.field(default_factory=dict)

    @property
    def num_paths(self) -> int:
        """Number of paths (or networks)."""
        return self.us.shape[0]

    @property
    def readings(self):
        """`us`."""
        return self.us

    @property
    def q(self) -> Float[Array, "num_paths k"]:
        """`q = (t/u)² = l²(1−ρ_l)`; where `u = 0`, its limit `(2/K)²`."""
        return self.limit.q(self.ts[None], self.us)

    def correlation(self, width: int | None = None) -> Float[Array, "num_paths k"]:
        """`ρ` at a width, which may be left out where it is that of the networks."""
        width = self.width if width is None else width
        return self.limit.correlation(self.us, width)  # pyright: ignore[reportArgumentType]

    @property
    def running(self):
        """Which networks still have two inputs that differ, and all paths of the limit."""
        return np.isfinite(np.asarray(self.us[:, -1]))

    @property
    def how(self) -> str:
        """The step, or how networks were sampled, in words."""
        if self.dt0 is None:
            return f'method "{self.method}"'
        return f"steps of at most {self.dt0:.4g}"

    def to_xarray(self) -> "xarray.Dataset":
        """`u` over `path` and `time` as a labelled dataset, with what was run.

        Needs `xarray`: `pip install 'covsde[io]'`.
        """
        variables = {"u": self.us} | self.functionals
        over = {name: (("path", "time"), np.asarray(x)) for name, x in variables.items()}
        return self._dataset(over, {}, method=self.method)


@jit
def _paths(limit: UnshapedMLP, times, steps: int, u0, key, num_paths: int) -> Array:
    chi = limit.spread
    affine = Affine(limit.attraction / 2, chi, -jnp.sqrt(chi))
    paths = jnp.arange(num_paths, dtype=jnp.uint32)
    gaps = jnp.diff(times, prepend=0.0) / steps

    def step(i, now):
        u, h, cell = now
        at = jax.random.fold_in(key, cell * steps + i)
        return affine.step(u, h, independent_normals(at, 2, paths, u.dtype))[0], h, cell

    def to_next(u, gap):
        u = lax.fori_loop(0, steps, step, (u, *gap))[0]
        return u, u

    start = jnp.full(num_paths, u0, times.dtype)
    _, us = lax.scan(to_next, start, (gaps, jnp.arange(times.size)))
    return us.T
