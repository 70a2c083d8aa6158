"""The neural tangent kernel: its second moment, and its mean given the covariances."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import check_finite, count, found, is_concrete, parameter, real_array
from ..activations import AbstractActivation
from ..limits import ShapedMLP


class OnDiagonalNTK(eqx.Module):
    """`Θ = Σ_{l=1}^{d} V_l H_l` of one input, over the hidden weights `W_1, …, W_d`.

    The network is `z_1 = W_0 x/√n_in`, `z_{l+1} = √(c/n) W_l φ(z_l)`, with an output
    `f = √(c/n) ⟨w, φ(z_{d+1})⟩`, `V_l = (c/n) |φ(z_l)|²`, `V_0 = 1`,
    `H_l = |∂f/∂z_{l+1}|²`, and `φ(x) = s₊ max(x, 0) + s₋ min(x, 0)`, `c = 2/(s₊² + s₋²)`.
    The mean and the second moment are exact at every width and depth; `Θ` has heavy tails.

    Source: "Finite Depth and Width Corrections to the Neural Tangent Kernel" (Hanin, Nica
    2019), for the growth with depth/width; the recursion is derived on the theory page.
    """

    slopes: tuple[Scalar, Scalar]
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    def __init__(self, width: int, depth: int, slopes: tuple[float, float] = (1.0, 0.0)):
        """**Arguments:**

        - `width`: the number of units of a layer, `n`.
        - `depth`: the number of hidden matrices, `d`.
        - `slopes`: `(s₊, s₋)`, not both 0: `(1, 0)` for ReLU, `(1, 1)` for a linear
          network, `ShapedReLU(…).slopes(width)` for a shaped one.

        **Raises:** `ValueError` or `TypeError` for numbers outside their range.
        """
        self.width = count("width", width, "It is the number of units of a layer.")
        self.depth = count("depth", depth, "It is the number of hidden matrices.")
        way_out = "Pass (1.0, 0.0) for ReLU, (1.0, 1.0) for a linear network."
        if not isinstance(slopes, tuple | list) or len(slopes) != 2:
            raise TypeError(
                f"`slopes` must be a pair of numbers; got {found(slopes)}. {way_out}"
            )
        plus, minus = (parameter("slopes", s, "a pair of numbers", way_out) for s in slopes)
        if is_concrete((plus, minus)) and float(plus) == 0 == float(minus):
            raise ValueError(f"`slopes` must not both be 0; got (0, 0). {way_out}")
        self.slopes = plus, minus

    @property
    def chi(self) -> Scalar:
        """`χ = 2 (s₊⁴+s₋⁴)/(s₊²+s₋²)²`: 2 for ReLU, 1 for a linear network."""
        plus, minus = self.slopes
        return 2 * (plus**4 + minus**4) / (plus**2 + minus**2) ** 2

    @property
    def mean(self) -> Scalar:
        """`E Θ = d`."""
        return jnp.asarray(self.depth, self.chi.dtype)

    @property
    def second_moment(self) -> Scalar:
        """`E Θ² = Σ_{l,l'} g^{d+1−|l−l'|} s_{|l−l'|}`.

        `g = 1 + (3χ−1)/n` is the second moment of a layer's factor, and
        `s_k = n^{−2} E |J|⁴` of the Frobenius norm of the `k` layers that `V_{l+k}/V_l` and
        `H_l/H_{l+k}` share, which a 2×2 matrix iterates from `(s_0, τ_0) = (1, 0)`:

            s_{k+1} = (1 + (χ−1)/n) s_k + (2χ/n) τ_k
            τ_{k+1} = (χ/n) s_k + (1 + (2χ−1)/n) τ_k.
        """
        n, d, chi = self.width, self.depth, self.chi
        gain = 1 + (3 * chi - 1) / n

        def step(state, _):
            s, tau = state
            grown = (
                (1 + (chi - 1) / n) * s + 2 * chi / n * tau,
                chi / n * s + (1 + (2 * chi - 1) / n) * tau,
            )
            return grown, s

        start = jnp.ones_like(chi), jnp.zeros_like(chi)
        _, s = lax.scan(step, start, length=d)
        k = jnp.arange(d)
        pairs = jnp.where(k == 0, d, 2 * (d - k))
        return jnp.sum(pairs * gain ** (d + 1 - k) * s)

    @property
    def limit(self) -> Scalar:
        """`lim E Θ²/(E Θ)²` at `T` = depth/width: `e^{gT} [⅓ + ⅔ h(3χT)]`.

        `g = 3χ−1`, `h(x) = 2 (e^{−x} − 1 + x)/x²`. A shaped ReLU has χ → 1, the limit of a
        linear network.
        """
        t1 = self.depth / self.width
        return jnp.exp((3 * self.chi - 1) * t1) * (1 + 2 * _overlap(3 * self.chi * t1)) / 3


def _overlap(x: Scalar) -> Scalar:
    """`2 (e^{−x} − 1 + x)/x²`, for all `x ≥ 0` without cancellation."""
    small = x < 1
    series = sum(2 * (-x) ** k / float(math.factorial(k + 2)) for k in range(18))
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, series, 2 * (jnp.expm1(-safe) + safe) / safe**2)


def conditional_ntk(
    limit: ShapedMLP,
    ts: Float[ArrayLike, " k"],
    vs: Float[ArrayLike, "num_paths k m m"],
) -> Float[Array, "num_paths k m m"]:
    """The mean of the neural tangent kernel, given the path of the covariance.

    `Θ̄_t = lim E[Θ/n | V_s, s ≤ t]` over the hidden weights. Given the covariances, the
    kernel of two units `i` and `j` of a layer is `n (k^{ab} δ_ij + z_iᵀ R^{ab} z_j)` on
    average: it aligns with the activations `z_i = (z_i^1, …, z_i^m)`. So

        Θ̄^{ab} = k^{ab} + tr(R^{ab} V),

    and the bulk `k` and the aligned part `R`, both 0 at time 0, solve a random ordinary
    equation, with the activation's drift `b` and its derivatives:

        dR^{ab}/dt = k^{ab} V⁻¹ + A^a R^{ab} + R^{ab} A^{bᵀ}
        dk^{ab}/dt = V^{ab} + B^{ab} Θ̄^{ab} + ∂B^{ab}[Q^{ab} + Q^{abᵀ}]
                     − tr(R^{ab} b) − tr(dR^{ab}/dt V),

    with `Q = V R V`, `A^a = V⁻¹ (g^a − b)`, `g^a_{ce} = B^{ac} V^{ce} + C^{ac} V^{ae}`,
    `B^{ab} = ∂b^{ab}/∂V^{ab}`, `C^{ab} = 2 ∂b^{ab}/∂V^{aa}`, and `∂B[·]` the derivative of
    `B` in a direction. For a shaped ReLU `B = −(c₊−c₋)²/2π · arccos ρ`; for a smooth
    activation `B = [φ₂² (V^{ab} − ¾) + φ₃ ((V^{aa}+V^{bb})/2 − 1)]/a²`.

    Heun's method: of order 2 in the grid for means over the paths, and for smooth paths;
    each Brownian path by itself is met to order 1. It keeps `m⁴` numbers a path.

    **Arguments:**

    - `limit`: a [`covsde.ShapedMLP`][], of which `vs` are paths.
    - `ts`: increasing times from 0 on, as `covsde.solve(..., saveat=ts)` saves.
    - `vs`: the covariances at these times, `solution.vs`; positive definite.

    **Returns:** `Θ̄` at these times, of the shape of `vs`; 0 at time 0.

    **Raises:** `ValueError` or `TypeError` for times that do not start at 0 or do not
    increase, for shapes that do not agree, for singular covariances, and for another
    limit.

    Source: derived on the theory page from "The Neural Covariance SDE" (Li, Nica, Roy
    2022). The NTK itself is random given `V`, and `(V, Θ)` has no SDE of its own.
    """
    if not isinstance(limit, ShapedMLP):
        raise TypeError(
            f"`limit` must be a `covsde.ShapedMLP`; got {found(limit)}. The equation of "
            "the NTK is known for that limit alone."
        )
    ts, vs = _check_paths(ts, vs)
    return _integrate(limit.drift.activation, ts, vs)


def _check_paths(ts, vs) -> tuple[Array, Array]:
    way_out = "Pass `ts` and `vs` of `covsde.solve(..., saveat=jnp.linspace(0, t1, k))`."
    vs = real_array("vs", vs, "paths of covariances (num_paths, k, m, m)", way_out)
    ts = real_array("ts", ts, "increasing times from 0 on", way_out).astype(vs.dtype)
    if vs.ndim != 4 or vs.shape[-1] != vs.shape[-2]:
        raise ValueError(
            f"`vs` must have shape (num_paths, k, m, m); got {vs.shape}. {way_out}"
        )
    if ts.shape != vs.shape[1:2]:
        raise ValueError(
            f"`ts` must have one time for each of the {vs.shape[1]} covariances of a path; "
            f"got shape {ts.shape}. {way_out}"
        )
    if is_concrete(ts):
        times = np.asarray(ts)
        if times[0] != 0 or not np.all(np.diff(times) > 0):
            raise ValueError(
                f"`ts` must increase from 0 on, where the NTK is 0; got {times}. {way_out}"
            )
    if is_concrete(vs):
        check_finite("vs", np.asarray(vs), "Stop paths early, with `stop_above`.")
        if np.any(np.isnan(jnp.linalg.cholesky(vs))):
            raise ValueError(
                "`vs` must be positive definite; got a singular covariance. Remove "
                "inputs that are multiples of others."
            )
    return ts, vs


class _Kernel(eqx.Module):
    """The mean kernel between the units of a layer: `n (k^{ab} δ_ij + z_iᵀ R^{ab} z_j)`."""

    bulk: Float[Array, "m m"]
    aligned: Float[Array, "m m m m"]

    def mean(self, v: Array) -> Array:
        """`Θ̄^{ab} = k^{ab} + tr(R^{ab} V)`."""
        return self.bulk + _traces(self.aligned, v)

    def moved(self, h: Scalar, *velocities: "_Kernel") -> "_Kernel":
        """After a time `h` at the mean of these velocities."""
        share = h / len(velocities)
        return jax.tree.map(lambda y, *dy: y + share * sum(dy), self, *velocities)


class _Layer(eqx.Module):
    """What a layer with the covariance `v` does to the kernel, entry by entry."""

    v: Float[Array, "*batch m m"]
    inverse: Float[Array, "*batch m m"]
    drift: Float[Array, "*batch m m"]  # b
    slope: Float[Array, "*batch m m"]  # B^{ab} = ∂b^{ab}/∂V^{ab}
    bend: Float[Array, "*batch m m"]  # C^{ab} = 2 ∂b^{ab}/∂V^{aa}
    slope_aa: Float[Array, "*batch m m"]  # ∂B^{ab}/∂V^{aa}
    slope_ab: Float[Array, "*batch m m"]  # ∂B^{ab}/∂V^{ab}

    def __init__(self, activation: AbstractActivation, v: Array):
        diagonal = jnp.diagonal(v, axis1=-2, axis2=-1)
        v_aa = jnp.broadcast_to(diagonal[..., :, None], v.shape)
        v_bb = jnp.swapaxes(v_aa, -1, -2)
        one = jnp.ones_like(v)

        def slope(v_aa, v_bb, v_ab):
            return jax.jvp(lambda x: activation.drift(v_aa, v_bb, x), (v_ab,), (one,))[1]

        self.v, self.inverse = v, jnp.linalg.inv(v)
        self.slope = slope(v_aa, v_bb, v)
        self.drift, bend = jax.jvp(lambda x: activation.drift(x, v_bb, v), (v_aa,), (one,))
        self.bend = 2 * bend

        # On the diagonal all three entries are V^{aa}, and the slope of a kink has no
        # derivative: a difference, exact for drifts quadratic in V or homogeneous
        eye = jnp.broadcast_to(jnp.eye(v.shape[-1], dtype=bool), v.shape)
        h = jnp.finfo(v.dtype).eps ** (1 / 3)
        up, down = v_aa * (1 + h), v_aa * (1 - h)
        within = (slope(up, up, up) - slope(down, down, down)) / (up - down)
        apart = jnp.where(eye, 0.0, v)
        across_aa = jax.jvp(lambda x: slope(x, v_bb, apart), (v_aa,), (one,))[1]
        across_ab = jax.jvp(lambda x: slope(v_aa, v_bb, x), (apart,), (one,))[1]
        self.slope_aa = jnp.where(eye, within / 2, across_aa)
        self.slope_ab = jnp.where(eye, 0.0, across_ab)

    def velocity(self, kernel: _Kernel) -> _Kernel:
        """`d/dt` of bulk and aligned part."""
        v, bulk, aligned = self.v, kernel.bulk, kernel.aligned
        # g^a − b, and A^a
        gain = jnp.einsum("ac,ce->ace", self.slope, v)
        gain += jnp.einsum("ac,ae->ace", self.bend, v)
        turn = jnp.einsum("cf,afe->ace", self.inverse, gain - self.drift[None])

        towards = jnp.einsum("ab,cd->abcd", bulk, self.inverse)
        left = jnp.einsum("ace,abed->abcd", turn, aligned)
        right = jnp.einsum("abce,bde->abcd", aligned, turn)
        d_aligned = towards + left + right
        d_mean = v + self.slope * kernel.mean(v) + self.slope_along(aligned)
        d_bulk = d_mean - _traces(aligned, self.drift) - _traces(d_aligned, v)
        return _Kernel(d_bulk, d_aligned)

    def slope_along(self, aligned: Array) -> Array:
        """`∂B^{ab}[Q^{ab} + Q^{abᵀ}]`, `Q = V R V`."""
        q = jnp.einsum("ce,abef,fd->abcd", self.v, aligned, self.v)
        along_aa, along_bb = jnp.einsum("abaa->ab", q), jnp.einsum("abbb->ab", q)
        along_ab = jnp.einsum("abab->ab", q) + jnp.einsum("abba->ab", q)
        own = self.slope_aa * along_aa + self.slope_aa.T * along_bb
        return 2 * own + self.slope_ab * along_ab


@eqx.filter_jit
def _integrate(activation: AbstractActivation, ts: Array, vs: Array) -> Array:
    m = vs.shape[-1]
    start = _Kernel(jnp.zeros((m, m), vs.dtype), jnp.zeros((m, m, m, m), vs.dtype))

    def step(kernel: _Kernel, interval):
        h, before, after = interval
        first = before.velocity(kernel)
        second = after.velocity(kernel.moved(h, first))
        kernel = kernel.moved(h, first, second)
        return kernel, kernel.mean(after.v)

    def path(layers: _Layer):
        before, after = (jax.tree.map(lambda x, s=s: x[s], layers) for s in _ENDS)
        _, means = lax.scan(step, start, (jnp.diff(ts), before, after))
        return jnp.concatenate([start.bulk[None], means])

    return jax.vmap(path)(_Layer(activation, vs))


# of the intervals between the times
_ENDS = slice(None, -1), slice(1, None)


def _traces(r: Float[Array, "m m m m"], v: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """`tr(R^{ab} V)`."""
    return jnp.einsum("abcd,dc->ab", r, v)
