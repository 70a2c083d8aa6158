"""The angle between two inputs in an unshaped ReLU network, layer by layer."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Scalar

from .._checks import check_key, count, count_paths, parameter
from .._polynomials import polynomial
from ..activations import nu
from ._checks import numbers

# n times the corrections of layer_mean and layer_variance on θ ∈ [0, 1]: Chebyshev
# interpolation in 80-digit arithmetic, in powers of θ. Their closed forms lose θ^{−4}
# digits by cancellation; so both are exact to 1e-15 below the switch, 1e-14 above it.
_SERIES_END = 1.0
_MEAN_SERIES = (
    -2.0,
    -0.16976527263133986,
    0.15310756639123443,
    0.3313156168557955,
    -0.012182475359389489,
    0.018775102042008485,
    -0.02544790864776177,
    0.0016893668101977102,
    -0.004492920613810287,
    0.0017215310774651485,
    -0.0006403551126180271,
    0.0005893333282768565,
    -0.00028733513161988356,
    0.00023372814466724492,
    -0.00015072239362376916,
    7.202519733173285e-05,
    -2.494920253549307e-05,
    3.7919368535984214e-06,
)
_VARIANCE_SERIES = (
    8.0,
    -1.3581221810508877,
    -8.6664682301756,
    2.429872440375988,
    3.083095676068946,
    -1.004005394182093,
    -0.4349106329391886,
    0.10700618279099082,
    0.04791721729144746,
    -0.008271462468950467,
    4.818074317717041e-05,
    -0.0009234508641491769,
    0.0006523568652723977,
    -0.000596890606844347,
    0.00036278815361274325,
    -0.00017716072102943979,
    5.788454645068647e-05,
    -7.677529392080968e-06,
)


def J(a: int, b: int, theta: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """`J_{a,b}(θ) = E[relu(G)^a relu(G')^b]` of N(0, 1) numbers with correlation `cos θ`.

    In the polar coordinates of the pair it is the integral of what is not negative,

        J_{a,b} = 2^{(a+b)/2} Γ((a+b)/2 + 1)/2π ∫₀^ω sinᵃs sinᵇ(ω − s) ds,  ω = π − θ,

    by Gauss–Legendre quadrature: exact to 1e-13 of its size at every angle, for powers to
    20.

    **Arguments:**

    - `a`, `b`: powers, integers of at least 0; a power 0 stands for `1{G > 0}`.
    - `theta`: angles in `[0, π]`.

    **Raises:** `ValueError` or `TypeError` for other powers or angles.

    Source: "Depth Degeneracy in Neural Networks" (Jakub, Nica 2023).
    """
    powers = (count(name, x, "It is a power.", least=0) for name, x in (("a", a), ("b", b)))
    a, b = sorted(powers)
    # π less its float is that much
    width = math.pi - _angles(theta) + 1.2246467991473532e-16
    nodes, weights = np.polynomial.legendre.leggauss(a + b + 12)
    from_start, to_end = (
        jnp.sin(jnp.multiply.outer(width, jnp.asarray((1 + sign * nodes) / 2, width.dtype)))
        for sign in (1, -1)
    )
    half = (a + b) / 2
    scale = 2**half * math.gamma(half + 1) / (2 * math.pi)
    integrand = scale * from_start**a * to_end**b  # scaled first: less underflows
    return width / 2 * (integrand @ jnp.asarray(weights, width.dtype))


def layer_mean(
    theta: Float[ArrayLike, "..."], width: int | Float[Array, "..."]
) -> Float[Array, "..."]:
    """`E log sin²θ'` after one ReLU layer from the angle `θ`, up to `O(n^{−2})`.

    `log(1 − 4 J₁₁²)`, the infinite-width value, plus a correction of order `1/n`; for
    small angles `log sin²θ − 2θ/3π − 2/n + …`.

    **Arguments:**

    - `theta`: the angle before the layer, in `(0, π]`.
    - `width`: the number of units, `n`.

    Source: "Depth Degeneracy in Neural Networks" (Jakub, Nica 2023); the
    correction is a Taylor expansion about the infinite width, to second order.
    """
    theta, width = _angles(theta, positive=True), _widths(width)
    return _log_sin_squared(theta) + _corrections(theta)[0] / width


def layer_variance(
    theta: Float[ArrayLike, "..."], width: int | Float[Array, "..."]
) -> Float[Array, "..."]:
    """`Var log sin²θ'` after one ReLU layer from the angle `θ`, up to `O(n^{−2})`.

    For small angles `8/n − 64θ/15πn + …`.

    **Arguments:**

    - `theta`: the angle before the layer, in `(0, π]`.
    - `width`: the number of units, `n`.

    Source: "Depth Degeneracy in Neural Networks" (Jakub, Nica 2023); a Taylor
    expansion about the infinite width.
    """
    theta, width = _angles(theta, positive=True), _widths(width)
    return _corrections(theta)[1] / width


class AngleProcess(eqx.Module):
    """The angle `θ_l` between two inputs after `l` layers of an unshaped ReLU network.

    `log sin²θ_l` is a Markov chain with the mean and variance of each layer, and Gaussian
    steps. After a layer both inputs have non-negative coordinates, so `θ_l ≤ π/2` for
    `l ≥ 1`, where `log sin²θ` determines θ. The start may be any angle in `(0, π]`. A step
    beyond `sin²θ = 1`, which only Gaussian tails take, is reflected.

    Good for widths of some dozens and more: steps have errors of order `n^{−2}` in mean
    and variance, and of order `n^{−1/2}` in their Gaussian shape. The correlation is
    `ρ_l = cos θ_l`, and `1 − ρ_l = 2 sin²(θ_l/2)`.

    Source: "Depth Degeneracy in Neural Networks" (Jakub, Nica 2023); "Network Degeneracy
    as an Indicator of Training Performance" (Jakub, Nica 2023).
    """

    widths: Float[Array, " depth"]

    def __init__(self, widths: Int[ArrayLike, " depth"]):
        """**Arguments:**

        - `widths`: the number of units of each layer, constant or not, shape `(depth,)`.

        **Raises:** `ValueError` or `TypeError` for what is no sequence of integers of at
        least 1.
        """
        way_out = "Pass the number of units of each layer, for example `[100] * 50`."
        if np.ndim(widths) != 1 or np.size(widths) == 0:
            raise ValueError(
                f"`widths` must have shape (depth,); got {np.shape(widths)}. {way_out}"
            )
        units = [count("widths", n, way_out) for n in np.asarray(widths).tolist()]
        self.widths = jnp.asarray(units, jnp.result_type(float))

    def infinite_width(self, theta0: float) -> Float[Array, " layers"]:
        """Angles of layers `0, …, depth` at infinite width: `cos θ' = 2 J₁₁(θ)`.

        **Arguments:**

        - `theta0`: the angle between the inputs, in `(0, π]`, `arccos` of ρ₀.
        """

        def step(theta, _):
            theta = _infinite_width(theta)
            return theta, theta

        return _with_start(theta0, step, self.widths)

    def predict(self, theta0: float) -> Float[Array, " layers"]:
        """Typical angles of layers `0, …, depth`: every step goes by its mean.

        **Arguments:**

        - `theta0`: the angle between the inputs, in `(0, π]`, `arccos` of ρ₀.
        """

        def step(theta, width):
            theta = _acute(_log_sin_squared(theta) + _corrections(theta)[0] / width)
            return theta, theta

        return _with_start(theta0, step, self.widths)

    def sample(
        self, theta0: float, *, key: PRNGKeyArray, num_paths: int
    ) -> Float[Array, "num_paths layers"]:
        """Random angles of layers `0, …, depth`.

        **Arguments:**

        - `theta0`: the angle between the inputs, in `(0, π]`, `arccos` of ρ₀.
        - `key`: a JAX random key. Path i depends on it and on i alone.
        - `num_paths`: number of independent paths.
        """
        key = check_key(key)
        num_paths = count_paths("num_paths", num_paths, "Ask for at least one path.")
        return _sample(self.widths, _start(theta0), key, num_paths)


def _start(theta0: float) -> Scalar:
    return parameter(
        "theta0",
        theta0,
        "an angle in (0, π]",
        "Pass `jnp.arccos(rho)`; equal inputs stay equal.",
        test=lambda x: 0 < x <= math.pi,
    )


def _with_start(theta0: float, step, widths: Array) -> Array:
    start = _start(theta0).astype(widths.dtype)
    _, thetas = lax.scan(step, start, widths)
    return jnp.append(start, thetas)


@eqx.filter_jit
def _sample(widths: Array, start: Scalar, key: PRNGKeyArray, num_paths: int) -> Array:
    def step(theta, layer):
        width, normal = layer
        mean, variance = (correction / width for correction in _corrections(theta))
        # below 0 by rounding near θ = π
        noise = jnp.sqrt(jnp.maximum(variance, 0.0)) * normal
        theta = _acute(_log_sin_squared(theta) + mean + noise)
        return theta, theta

    def path(i):
        normals = jax.random.normal(jax.random.fold_in(key, i), widths.shape, widths.dtype)
        _, thetas = lax.scan(step, start.astype(widths.dtype), (widths, normals))
        return jnp.append(start, thetas)

    return jax.vmap(path)(jnp.arange(num_paths))


def _angles(theta, *, positive: bool = False) -> Array:
    """Angles as an array; refuses what is outside `[0, π]`, or `(0, π]`."""
    accepted = f"angles in {'(' if positive else '['}0, π]"

    def test(theta):
        return (theta <= math.pi) & (theta > 0 if positive else theta >= 0)

    return numbers("theta", theta, accepted, "Pass `jnp.arccos(rho)`.", test=test)


def _widths(width) -> Array:
    way_out = "It is the number of units of the layer."
    return numbers("width", width, "at least 1", way_out, test=lambda n: n >= 1)


def _one_minus_cosine(theta: Array) -> Array:
    """`1 − 2 J₁₁ = 1 − cos θ'` at infinite width, exact to rounding for every angle."""
    u = 2 * jnp.sin(theta / 2) ** 2
    return u - nu(u) / math.pi


def _infinite_width(theta: Array) -> Array:
    return 2 * jnp.arcsin(jnp.sqrt(_one_minus_cosine(theta) / 2))


def _log_sin_squared(theta: Array) -> Array:
    """`log(1 − 4 J₁₁²)`."""
    u = _one_minus_cosine(theta)
    return jnp.log(u * (2 - u))


def _acute(log_sin_squared: Array) -> Array:
    """The angle in `(0, π/2]`; beyond `sin² = 1` as many logarithms below."""
    y = -jnp.abs(log_sin_squared)
    return jnp.arctan2(jnp.exp(y / 2), jnp.sqrt(-jnp.expm1(y)))


def _corrections(theta: Array) -> tuple[Array, Array]:
    """`n` times the corrections of order `1/n` to mean and variance of `log sin²θ'`."""
    small = theta < _SERIES_END
    below = jnp.minimum(theta, _SERIES_END)
    above = _closed_forms(jnp.maximum(theta, _SERIES_END))
    mean, variance = (polynomial(c, below) for c in (_MEAN_SERIES, _VARIANCE_SERIES))
    return jnp.where(small, mean, above[0]), jnp.where(small, variance, above[1])


def _closed_forms(theta: Array) -> tuple[Array, Array]:
    """The delta method for `f(x, y, w) = log(1 − w²/xy)` about `(½, ½, J₁₁)`.

    `x`, `y` and `w` are the means over the units of `relu(G)²`, `relu(G')²` and
    `relu(G) relu(G')`.
    """
    sin, cos, rest = jnp.sin(theta), jnp.cos(theta), math.pi - theta
    j11 = (sin + rest * cos) / (2 * math.pi)
    j22 = (3 * sin * cos + rest * (1 + 2 * cos**2)) / (2 * math.pi)
    j31 = (sin * (2 + cos**2) + 3 * rest * cos) / (2 * math.pi)
    det = 0.25 - j11**2
    f_x, f_w = 1 / (2 * det) - 2, -2 * j11 / det
    f_xx, f_xy = 4 - 1 / (4 * det**2), 1 / det - 1 / (4 * det**2)
    f_xw, f_ww = j11 / det**2, -2 / det - 4 * j11**2 / det**2
    c_xx, c_xy, c_ww, c_xw = 1.25, j22 - 0.25, j22 - j11**2, j31 - j11 / 2
    mean = f_xx * c_xx + f_xy * c_xy + f_ww * c_ww / 2 + 2 * f_xw * c_xw
    variance = 2 * f_x**2 * (c_xx + c_xy) + f_w**2 * c_ww + 4 * f_x * f_w * c_xw
    return mean, variance
