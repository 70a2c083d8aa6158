"""The algebra of covariance factors, in whichever layout the matrices are stored."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from . import _blocked, _rows, _unrolled
from ._apart import apart, recomputed
from ._layout import Lower, Symmetric, is_packed
from ._square import Square

# A pivot below this many machine epsilons (times m and the diagonal entry) is rounding.
SINGULAR_PIVOT = 8.0

# Degree-8 Taylor polynomial of exp in three products (Bader, Blanes, Casas 2019, eq. 15).
_ROOT = 177**0.5
_X3 = 2 / 3
_X1 = _X3 * (1 + _ROOT) / 88
_X2 = _X3 * (1 + _ROOT) / 352
_X4 = (-271 + 29 * _ROOT) / (315 * _X3)
_X5 = 11 * (-1 + _ROOT) / (1260 * _X3)
_X6 = 11 * (-9 + _ROOT) / (5040 * _X3)
_X7 = (89 - _ROOT) / (5040 * _X3**2)
_Y2 = (857 - 58 * _ROOT) / 630


def _kernels(a: Lower | Symmetric | Square):
    if is_packed(a.m):
        return _unrolled
    return _rows if a.paths_last else _blocked


def multiply(a: Lower, b: Lower) -> Lower:
    """`A B`; it is invertible if `A` is, `B` being taken to be."""
    return Lower(_kernels(a).multiply(a.m, a.data, b.data), a.m, a.invertible)


def multiply_square(a: Square | Lower, b: Square) -> Square:
    """`A B`."""
    kernels = _kernels(a)
    lower = isinstance(a, Lower)
    kernel = kernels.multiply_lower_square if lower else kernels.multiply_square
    return Square(kernel(a.m, a.data, b.data), a.m)


def multiply_transposed(a: Square, b: Square) -> Square:
    """`Aᵀ B`; `Aᵀ A` is symmetric in every digit up to `ROWS_MAX` rows."""
    return Square(_kernels(a).multiply_transposed(a.m, a.data, b.data), a.m)


@apart
def gram_square(a: Square) -> Symmetric:
    """`A Aᵀ`."""
    return multiply_square(a, a.mT).symmetric()


@apart
def divide_right(a: Lower, b: Lower) -> Lower:
    """`A B⁻¹`."""
    return Lower(_kernels(a).divide_right(a.m, a.data, b.data), a.m, a.invertible)


def gram(factor: Lower) -> Symmetric:
    """`V = L Lᵀ`."""
    return Symmetric(_kernels(factor).gram(factor.m, factor.data), factor.m)


@apart
def congruence(factor: Lower, s: Symmetric) -> Symmetric:
    """`L S Lᵀ`."""
    kernels = _kernels(factor)
    return Symmetric(kernels.congruence(factor.m, factor.data, s.data), factor.m)


@apart
def whiten(factor: Lower, s: Symmetric) -> Symmetric:
    """`L⁻¹ S L⁻ᵀ`: what `S` is in the coordinates in which `V = L Lᵀ` is the identity."""
    kernels = _kernels(factor)
    return Symmetric(kernels.whiten(factor.m, factor.data, s.data), factor.m)


@apart
def whiten_within(factor: Lower, s: Symmetric) -> Symmetric:
    """`whiten` of the part of `S` in the span of `V`, which may be singular.

    The coordinates of zero pivots are left empty.
    """
    if factor.invertible:
        return whiten(factor, s)
    return whiten(_filled(factor), s).scale(factor.nonzero_pivots())


@apart
def whiten_fourth_moment(factor: Lower, root: Lower) -> Symmetric:
    """`whiten_within` of `E[x²(x²)ᵀ] = vvᵀ + 2 V∘V`, for `x ~ N(0, V)`, `V = R Rᵀ`.

    Up to `ROWS_MAX` rows it is formed from the rows of `R` as a sum of squares: so it
    is positive semi-definite, and rounding costs `eps/√(1−ρ)` and not `eps/(1−ρ)`.
    """
    kernel = _kernels(factor).whiten_fourth_moment
    if factor.invertible:
        return Symmetric(kernel(factor.m, factor.data, root.data), factor.m)
    filled = Symmetric(kernel(factor.m, _filled(factor).data, root.data), factor.m)
    return filled.scale(factor.nonzero_pivots())


def beyond_span(factor: Lower, s: Symmetric) -> Array:
    """The largest entry of `xᵀ S`, over the null vectors `x` of `V`, one per path.

    There is a null vector for each zero pivot, with a 1 in the pivot's own row. Where this
    is 0, the range of `S` lies in the span of `V`.
    """
    one_sided = _kernels(factor).solve(
        factor.m, _filled(factor).data, Square.from_triangle(s).data
    )
    rows = Square(one_sided, factor.m).scale_rows(1 - factor.nonzero_pivots())
    return rows.largest()


def solve_rows(factor: Lower, rows: Array) -> Array:
    """`L⁻¹ x` for row vectors `x`, in the span of `V`: empty at zero pivots."""
    kernels, columns = _kernels(factor), 1 if factor.paths_last else -1
    one_column = jnp.expand_dims(rows, columns)
    if factor.invertible:
        solved = kernels.solve(factor.m, factor.data, one_column)
        return jnp.squeeze(solved, columns)
    solved = kernels.solve(factor.m, _filled(factor).data, one_column)
    return jnp.squeeze(solved, columns) * factor.nonzero_pivots()


def _filled(factor: Lower) -> Lower:
    """The factor with ones for zero pivots."""
    return factor.add_diagonal(1 - factor.nonzero_pivots())


def lower_half(s: Symmetric) -> Lower:
    """`Φ(S)`, strictly lower part plus half the diagonal, so that `Φ + Φᵀ = S`."""
    return Lower(s.data * s.weights(0.5, 1.0, above=0.0), s.m)


def cholesky(s: Symmetric, *, floor: Array | float | None = None) -> Lower:
    """Lower factor of positive-definite matrices.

    Without `floor`, a matrix that is not positive definite gives NaN. With it, every
    pivot is at least `floor` (a number): for matrices whose pivots are known to be
    bounded below, it takes back what rounding took away.
    """
    return _cholesky(s, floor)


@eqx.filter_custom_jvp
def _cholesky(s: Symmetric, floor: Array | float | None) -> Lower:
    return _factored(s, floor)


@_cholesky.def_jvp
def _cholesky_jvp(primals, tangents):
    """`dL = L Φ(L⁻¹ dS L⁻ᵀ)`; no pivot is held but for rounding."""
    ds, _ = tangents
    factor = _cholesky(*primals)
    return factor, multiply(factor, lower_half(whiten(factor, ds)))


@apart
def _factored(s: Symmetric, floor: Array | float | None) -> Lower:
    pivot = jax.tree_util.Partial(_held, -jnp.inf if floor is None else floor)

    def by_columns() -> Lower:
        return Lower(_kernels(s).cholesky(s.m, s.data, pivot), s.m, True)

    if s.paths_last:
        return by_columns()
    factor = Lower(_blocked.cholesky_lapack(s.data), s.m, True)
    if floor is None:
        return factor
    held = factor.diagonal() ** 2 >= jnp.max(jnp.asarray(floor))  # false for NaN
    return lax.cond(jnp.all(held), lambda: factor, by_columns)


@apart
def triangularise(a: Square) -> Lower:
    """Lower factor of `A Aᵀ`, without forming it: `A = L Q` keeps the small pivots.

    A pivot that is rounding counts as one of rounding's size.
    """
    a = a.kept()
    floor = float(jnp.finfo(a.dtype).eps) * jnp.sqrt(a.squared_norm() / a.m)
    return Lower(_kernels(a).triangularise(a.m, a.data, floor), a.m, True)


@apart
def semidefinite_cholesky(s: Symmetric) -> Lower:
    """Lower factor of positive *semi*-definite matrices.

    A pivot that is rounding (below `SINGULAR_PIVOT · m · eps` of its diagonal entry)
    gives an exactly zero column: the factor then says that it is singular.
    """
    tolerance = SINGULAR_PIVOT * s.m * float(jnp.finfo(s.dtype).eps)
    pivot = jax.tree_util.Partial(_nonzero, tolerance)
    return Lower(_kernels(s).cholesky(s.m, s.data, pivot), s.m)


def _held(floor, d: Array, original: Array) -> tuple[Array, Array]:
    """The root of a pivot and its inverse; of `floor` where the pivot is less."""
    del original
    root = jnp.sqrt(jnp.maximum(d, floor))
    return root, 1 / root


def _nonzero(tolerance: float, d: Array, original: Array) -> tuple[Array, Array]:
    """The root of a pivot and its inverse; both 0 where the pivot is rounding."""
    zero = d <= tolerance * original
    root = jnp.sqrt(jnp.where(zero, 1.0, d))
    return jnp.where(zero, 0.0, root), jnp.where(zero, 0.0, 1 / root)


def factorise(v: Array) -> Lower:
    """Packed lower factor of dense positive semi-definite matrices `(*batch, m, m)`."""
    return semidefinite_cholesky(Symmetric.from_dense(v))


@apart
def positive_part(s: Symmetric) -> Symmetric:
    """The nearest positive semi-definite matrices: negative eigenvalues made zero.

    What is added, `A₊ − A`, is normal to the cone's boundary there. Its derivative is
    bounded, whatever the eigenvalues.
    """
    return Symmetric.from_dense(_positive_part(s.to_dense()))


@jax.custom_jvp
def _positive_part(a: Array) -> Array:
    values, vectors = jnp.linalg.eigh(a, symmetrize_input=False)
    return (vectors * jnp.maximum(values, 0.0)[..., None, :]) @ vectors.mT


@_positive_part.defjvp
def _positive_part_jvp(primals, tangents):
    """`Q (F ∘ Qᵀ dA Q) Qᵀ`, with the divided differences `F` of `max(λ, 0)`."""
    values, q = jnp.linalg.eigh(primals[0], symmetrize_input=False)
    positive, size = jnp.maximum(values, 0.0), jnp.abs(values)
    above = positive[..., :, None] + positive[..., None, :]
    total = size[..., :, None] + size[..., None, :]
    share = jnp.where(total > 0, above / jnp.where(total > 0, total, 1.0), 0.0)
    moved = q @ (share * (q.mT @ tangents[0] @ q)) @ q.mT
    return (q * positive[..., None, :]) @ q.mT, moved


@apart
def _multiply_symmetric(a: Symmetric, b: Symmetric) -> Symmetric:
    """`A B` of two that commute, so that the product is symmetric."""
    return Symmetric(_kernels(a).multiply_symmetric(a.m, a.data, b.data), a.m)


def square(s: Symmetric) -> Symmetric:
    """`S²`."""
    return _multiply_symmetric(s, s)


@apart
def expm(s: Symmetric, shift: Array | float = 0.0) -> Symmetric:
    """`e^{S + shift I}` without eigendecomposition: a polynomial of `S/4`, squared twice.

    The shift, a number or one per path, is exponentiated exactly. A square of a symmetric
    matrix is positive semi-definite whatever was truncated, and its gradient needs no
    distinct eigenvalues. The relative truncation error is below 1e-9 for `‖S‖ ≤ 1` and
    1e-5 for `‖S‖ ≤ 3`.
    """
    return square(square(_root(s * 0.25, jnp.exp(jnp.asarray(shift, s.dtype) * 0.25))))


@apart
def _root(x: Symmetric, times: Array) -> Symmetric:
    """The series of `e^X` up to the eighth power, times a number."""
    x2 = square(x)
    x4 = _multiply_symmetric(x2, x * _X1 + x2 * _X2)
    right = (x * _X5 + x2 * _X6 + x4 * _X7).add_diagonal(_X4)
    x8 = _multiply_symmetric(x2 * _X3 + x4, right)
    return (x8 + x + x2 * _Y2).add_diagonal(1.0) * times


@apart
def expm_lower(x: Lower) -> Lower:
    """`e^X` of lower-triangular matrices: a polynomial of `X/4`, squared twice.

    Its pivots are positive whatever was truncated. The relative error is below 1e-7 for
    `‖X‖ ≤ 1`.
    """
    x = x * 0.25
    power = (x * (1 / 6)).add_diagonal(1.0)
    for degree in range(5, 0, -1):
        power = (multiply(x, power) * (1 / degree)).add_diagonal(1.0)
    for _ in range(2):
        power = multiply(power, power)
    return power.as_invertible()


@recomputed
def unit_rows(factor: Lower) -> tuple[Lower, Array]:
    """The factor with its rows scaled to length 1, and the lengths as a row vector."""
    lengths = jnp.sqrt(factor.squared_rows())
    return factor.scale_rows(1 / lengths), lengths


def one_minus_correlation(factor: Lower) -> Symmetric:
    """`u^{ab} = 1 − ρ^{ab}` to full relative accuracy, from the rows of the factor.

    With unit rows `l̂`, `u^{ab} = ½|l̂_a − l̂_b|²` (zero on the diagonal) subtracts what is
    nearly equal before it is squared, so `u = 1e-25` keeps all its digits.
    """
    return half_squared_distances(unit_rows(factor)[0])


def half_squared_distances(factor: Lower) -> Symmetric:
    """`½|l_a − l_b|²` between unit rows, the first of which is `e₁`.

    What the first column adds is found from the others, for near 1 it is rounding.
    """
    return Symmetric(
        _kernels(factor).half_squared_distances(factor.m, factor.data), factor.m
    )
