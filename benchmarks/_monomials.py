"""Moments of linear networks from first principles: an equation for monomials.

A monomial is a sorted tuple of sorted pairs of inputs. What the noise, or one layer, makes
of its mean is a sum of monomials of the same indices; these are collected until no new one
appears, and their matrix is exponentiated or multiplied. `covsde.laws` does the same by
zonal polynomials.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

Monomial = tuple[tuple[int, int], ...]


def ito_moment(v0: np.ndarray, t: float, pairs: list[tuple[int, int]]) -> float:
    """`E Π V^{ab}`, from `d⟨V^{ab}, V^{cd}⟩ = (V^{ac}V^{bd} + V^{ad}V^{bc}) dt`."""
    monomials, generator = _closure(_sorted(pairs), _generator)
    return float(scipy.linalg.expm(t * generator)[0] @ _values(monomials, v0))


def layers_moment(
    v0: np.ndarray, width: int, depth: int, pairs: list[tuple[int, int]]
) -> float:
    """`E Π V_d^{ab}`, of layers `V' = (1/n) Σ g gᵀ` with n independent `g ~ N(0, V)`."""
    monomials, layer = _closure(_sorted(pairs), lambda one: _layer(one, width))
    return float(np.linalg.matrix_power(layer, depth)[0] @ _values(monomials, v0))


def _generator(monomial: Monomial) -> dict[Monomial, float]:
    image = defaultdict(float)
    for i, j in itertools.combinations(range(len(monomial)), 2):
        (a, b), (c, d) = monomial[i], monomial[j]
        others = [pair for k, pair in enumerate(monomial) if k not in (i, j)]
        for two in ([(a, c), (b, d)], [(a, d), (b, c)]):
            image[_sorted(two + others)] += 1.0
    return image


def _layer(monomial: Monomial, width: int) -> dict[Monomial, float]:
    """Every factor picks a unit; units are independent, and Wick's theorem holds in one."""
    image = defaultdict(float)
    for blocks in _partitions(list(monomial)):
        weight = math.perm(width, len(blocks)) / width ** len(monomial)
        pairings = [
            list(_pairings([i for pair in block for i in pair])) for block in blocks
        ]
        for chosen in itertools.product(*pairings):
            image[_sorted(itertools.chain(*chosen))] += weight
    return image


def _closure(first: Monomial, image: Callable) -> tuple[list[Monomial], np.ndarray]:
    """All monomials that come of one, and the matrix whose rows are their images."""
    found, rows = [first], []
    for monomial in found:
        rows.append(image(monomial))
        found += [new for new in rows[-1] if new not in found]
    return found, np.array([[row.get(one, 0.0) for one in found] for row in rows])


def _values(monomials: list[Monomial], v: np.ndarray) -> np.ndarray:
    return np.array([math.prod(v[pair] for pair in one) for one in monomials])


def _sorted(pairs) -> Monomial:
    return tuple(sorted((min(pair), max(pair)) for pair in pairs))


def _partitions(items: list) -> Iterator[list[list]]:
    if not items:
        yield []
        return
    first, *rest = items
    for blocks in _partitions(rest):
        yield [[first], *blocks]
        for i, block in enumerate(blocks):
            yield [*blocks[:i], [first, *block], *blocks[i + 1 :]]


def _pairings(items: list[int]) -> Iterator[list[tuple[int, int]]]:
    if not items:
        yield []
        return
    first, *rest = items
    for i, other in enumerate(rest):
        for others in _pairings(rest[:i] + rest[i + 1 :]):
            yield [(first, other), *others]
