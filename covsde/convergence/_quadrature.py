"""Errors of means by quadrature, as exact as they have to be."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from .._names import full_name
from .._problem import Problem
from ._chain import Chain
from ._coordinates import closed_coordinate, exact_mean, on_coordinate
from ._extrapolated import Combination, shared
from ._order import Errors, numerical_errors

# Nodes of the grid and spacing of the normals, each finer than the one before.
_RESOLUTIONS = ((24, 1.1), (32, 0.8), (48, 0.6), (64, 0.45), (80, 0.36))
# They are refined until the numerical error is this share of those that it measures.
_SHARE = 1e-2
# Nodes of the exact mean that show its error.
_FEWER_NODES = 72


def integrated(
    problem: Problem,
    rows: list[Combination],
    observable: Callable,
    exact: float | None,
    confidence: float,
) -> tuple[list[Errors], str]:
    """The errors of each row, and what they are from.

    The numerical error of a mean is its distance to the next coarser resolution, which is
    rather too large than too small.
    """
    if problem.v0.dtype != jnp.float64:
        raise ValueError(
            f"`v0` must be float64 for a quadrature; got {problem.v0.dtype}. Switch it on "
            'with `jax.config.update("jax_enable_x64", True)`.'
        )
    limit = problem.limit
    coordinate = closed_coordinate(limit, observable, problem.m)
    start, t1 = float(coordinate.of(problem.v0)), problem.t1
    f = on_coordinate(coordinate, observable)
    unsure, words = 0.0, "" if exact is None else f"{exact:.10g}"
    if exact is None:
        if problem.bounds.can_explode:
            raise ValueError(
                "`exact` must be given for a quadrature with a limit that can explode, "
                f"whose mean the generator does not tell; got {full_name(limit)}."
            )
        exact = exact_mean(coordinate, limit, f, start, t1)
        other = exact_mean(coordinate, limit, f, start, t1, _FEWER_NODES)
        unsure, words = abs(exact - other), f"{exact:.10g}, of the generator"
    errors: dict[int, Errors] = {}
    for indices, numbers in shared(rows):
        chain = Chain(coordinate, limit, rows[indices[0]].scheme.solver)

        def mean(number, resolution, chain=chain):
            return chain.mean(f, start, t1, number, *resolution)

        coarse, fine = (
            np.array([mean(n, resolution) for n in numbers])
            for resolution in _RESOLUTIONS[:2]
        )
        numerical = np.abs(fine - coarse)
        weights = np.concatenate([rows[i].weights(numbers) for i in indices])
        for resolution in _RESOLUTIONS[2:]:
            noise = np.abs(weights) @ numerical + unsure
            unclear = noise > _SHARE * np.abs(weights @ fine - exact)
            for j in np.flatnonzero(unclear @ (weights != 0)):
                finer = mean(numbers[j], resolution)
                numerical[j], fine[j] = abs(finer - fine[j]), finer
        found = np.split(weights @ fine - exact, len(indices))
        noises = np.split(np.abs(weights) @ numerical + unsure, len(indices))
        for i, e, noise in zip(indices, found, noises, strict=True):
            name, steps = rows[i].name, rows[i].steps
            errors[i] = numerical_errors(name, steps, t1, e, noise, confidence)
    return [errors[i] for i in range(len(rows))], words
