"""Moments of a linear network, exact at every time and every width.

A monomial `V^{ab} V^{cd} …` of degree k is a way to pair 2k indices. The noise
`√Γ F dS Fᵀ` takes any two of its pairs, (ab) and (cd), and pairs their indices in the two
other ways: `d E[V^{ab}V^{cd} …]/dt = Γ Σ E[(V^{ac}V^{bd} + V^{ad}V^{bc}) …]`. So the
(2k−1)!! monomials of the same indices obey a linear equation with a constant symmetric
matrix. It is diagonal in the zonal polynomials, of the partitions λ of k: they grow as
`e^{Γ t Σ c}`, and by the factor `Π (1 + c/n)` in a layer of width n, over the contents
`c = 2j − i` of the boxes of λ in row i and column j, counted from 0.
"""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar

from .._checks import count, found
from ._base import AbstractLaw
from ._checks import gain_times
from .norms import one_covariance

_LARGEST_DEGREE = 4


def zero_drift_moment(
    v0: Float[ArrayLike, "m m"],
    t1: float,
    pairs: Sequence[tuple[int, int]],
    gain: float = 1.0,
) -> Scalar:
    """`E Π V_T^{ab}` over pairs `(a, b)`, of `dV = √Γ F dS Fᵀ`; exact to rounding.

    **Arguments:**

    - `v0`: the covariance at the start, `(m, m)`.
    - `t1`: T, in units of depth/width.
    - `pairs`: the factors, at most 4; `[(0, 1), (0, 1)]` is `E (V^{01})²`.
    - `gain`: Γ, `limit.diffusion.strength`.

    Source: Itô's formula for "The Neural Covariance SDE" (Li, Nica, Roy 2022).
    """
    v0, spread = one_covariance(v0), gain_times(t1, gain)
    degree = len(_check_pairs(pairs, len(v0)))
    contents, vectors = _spectrum(degree)
    growth = jnp.exp(spread * jnp.asarray(contents.sum(axis=1), spread.dtype))
    return _moment(v0, pairs, growth, vectors)


def linear_network_moment(
    v0: Float[ArrayLike, "m m"], width: int, depth: int, pairs: Sequence[tuple[int, int]]
) -> Scalar:
    """`E Π V_d^{ab}` over pairs `(a, b)`, of a finite linear network; exact to rounding.

    A layer is a Wishart matrix, `V' = F W Fᵀ`, `W ~ Wishart_m(I, n)/n`. For
    `depth/width → T` it tends to `zero_drift_moment`.

    **Arguments:**

    - `v0`: the covariance at the start, `(m, m)`.
    - `width`: the number of units of a layer, `n`.
    - `depth`: the number of layers, `d`.
    - `pairs`: the factors, at most 4; `[(0, 1), (0, 1)]` is `E (V^{01})²`.
    """
    v0 = one_covariance(v0)
    width = count("width", width, "It is the number of units of a layer.")
    depth = count("depth", depth, "It is the number of layers.")
    degree = len(_check_pairs(pairs, len(v0)))
    contents, vectors = _spectrum(degree)
    growth = np.prod(1 + contents / width, axis=1) ** depth
    return _moment(v0, pairs, jnp.asarray(growth), vectors)


class MomentsOnly(NotImplementedError, LookupError):
    """No distribution is known of a number, as `laws.of` has it; its moments are."""


class EntryMoments(AbstractLaw):
    """Mean and variance of `V^{ab}_T`, of a linear network. Its distribution is not known.

    Source: as `zero_drift_moment`.
    """

    mean: Scalar
    variance: Scalar

    def __init__(self, v0: Float[ArrayLike, "m m"], a: int, b: int, t1: float, gain=1.0):
        """**Arguments:**

        - `v0`: the covariance at the start, `(m, m)`.
        - `a`, `b`: two inputs, counted from 0.
        - `t1`: T, in units of depth/width.
        - `gain`: Γ, `limit.diffusion.strength`.
        """
        v0 = one_covariance(v0)
        for name, x in (("a", a), ("b", b)):
            if count(name, x, "Inputs are counted from 0.", least=0) >= len(v0):
                raise ValueError(
                    f"`{name}` must be less than m = {len(v0)}; got {x}. Inputs are "
                    "counted from 0."
                )
        square = zero_drift_moment(v0, t1, [(a, b)] * 2, gain)
        self.mean = v0[a, b].astype(square.dtype)
        self.variance = square - self.mean**2

    def _cdf(self, x):
        raise MomentsOnly(_MOMENTS_ONLY)

    def _quantile(self, p):
        raise MomentsOnly(_MOMENTS_ONLY)


_MOMENTS_ONLY = (
    "Only the moments of an entry of V are known, not its distribution. Use `mean`, "
    "`variance` or `zero_drift_moment`, or simulate it with `covsde.solve`."
)


def _check_pairs(pairs, m: int) -> np.ndarray:
    """Pairs of inputs, `(degree, 2)`."""
    way_out = "`[(0, 1), (0, 1)]` is the second moment of `V^{01}`."
    message = f"`pairs` must be a list of pairs of inputs; got {found(pairs)}. {way_out}"
    try:
        array = np.asarray(pairs)
    except ValueError as error:
        raise ValueError(message) from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise ValueError(message)
    if not 1 <= len(array) <= _LARGEST_DEGREE:
        raise ValueError(
            f"`pairs` must be 1 to {_LARGEST_DEGREE} pairs of inputs; got {len(array)}. "
            "Moments of a higher degree have more terms than are worth it: simulate."
        )
    if array.min() < 0 or array.max() >= m:
        raise ValueError(
            f"`pairs` must be of inputs from 0 to {m - 1}; got {array.tolist()}. "
            "Inputs are counted from 0."
        )
    return array


def _moment(v0: Array, pairs, growth: Array, vectors: np.ndarray) -> Scalar:
    """The first entry of `U diag(growth) Uᵀ f`, `f` the products of entries of `v0`."""
    ends = np.asarray(pairs).ravel()[_matchings(len(pairs))]
    products = jnp.prod(v0[ends[..., 0], ends[..., 1]], axis=-1)
    weights = (growth * vectors[0]) @ vectors.T
    return jnp.sum(weights * products)


@functools.cache
def _matchings(degree: int) -> np.ndarray:
    """All ways to pair `2k` points, `((2k−1)!!, k, 2)`; the first is (01)(23)…"""

    def pair(points: tuple[int, ...]):
        if not points:
            yield ()
            return
        first, *rest = points
        for i, other in enumerate(rest):
            for others in pair((*rest[:i], *rest[i + 1 :])):
                yield ((first, other), *others)

    return np.array(list(pair(tuple(range(2 * degree)))))


@functools.cache
def _spectrum(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the matrix of rewirings: contents `(N, k)` and eigenvectors `(N, N)`."""
    matchings = _matchings(degree)
    number = {frozenset(map(tuple, one)): i for i, one in enumerate(matchings.tolist())}
    generator = np.zeros((len(matchings),) * 2)
    for one, row in number.items():
        for first in one:
            for second in one - {first}:
                for ends in (second, second[::-1]):  # each rewiring is met twice
                    new = (tuple(sorted(pair)) for pair in zip(first, ends, strict=True))
                    generator[row, number[(one - {first, second}) | set(new)]] += 0.5
    eigenvalues, vectors = np.linalg.eigh(generator)
    # a partition is told by the sum of its contents, for degrees to 4
    of_sum = {sum(contents): contents for contents in _contents(degree, degree)}
    return np.array([of_sum[round(x)] for x in eigenvalues]), vectors


def _contents(degree: int, longest: int, row: int = 0):
    """`2j − i` of all boxes, for each partition into rows of at most `longest`."""
    if degree == 0:
        yield ()
    for length in range(min(degree, longest), 0, -1):
        boxes = tuple(2 * j - row for j in range(length))
        for others in _contents(degree - length, length, row + 1):
            yield boxes + others
