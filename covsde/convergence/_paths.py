"""Errors of means, and of paths, on Brownian paths that all solvers share."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jit import jit
from .._problem import Problem, in_dtype
from ..limits import AbstractLimit
from ..solve import brownian, cells_per_step, check_singular, integrate
from ._extrapolated import Combination, runs
from ._order import Errors, sampled_errors

_CHUNK = 2**12
# The fine solution takes this many times the most steps.
_FINER = 4


def sampled(
    limit: AbstractLimit,
    rows: list[Combination],
    observable: Callable,
    problem: Problem,
    exact: float | None,
    strong: bool,
    confidence: float,
) -> tuple[list[Errors], str]:
    """The errors of each row, and what they are from."""
    fine = _FINER * rows[0].steps[-1]
    cells = max(cells_per_step(row.solver) for row in rows)
    errors: dict[int, Errors] = {}
    reference = exact
    for indices, numbers in runs(rows):
        # of weak errors, the first solver's fine solution serves all
        needs_fine = strong or reference is None
        wanted = (*numbers, fine) if needs_fine else numbers
        solver = rows[indices[0]].solver
        values = _values(limit, solver, observable, problem, wanted, fine, cells)
        if needs_fine:
            reference = values[:, -1:]
        for i in indices:
            rest = values[:, : len(numbers)] @ rows[i].weights(numbers).T - reference
            rest = np.abs(rest) if strong else rest
            name, steps = rows[i].name, rows[i].steps
            errors[i] = sampled_errors(name, steps, problem.t1, rest, confidence)
    words = "a fine solution on the same paths" if exact is None else f"{exact:.10g}"
    return [errors[i] for i in range(len(rows))], words


def _values(
    limit, solver, observable, problem: Problem, numbers, finest: int, cells: int
) -> np.ndarray:
    """`f(V_T)` for every path and number of steps, `(num_paths, len(numbers))`.

    `finest` is the number of steps of the grid, each with `cells` Brownian increments.
    """
    regular = check_singular(problem.v0, limit, solver)
    chunks = []
    for first in range(0, problem.num_paths, _CHUNK):
        chunk = _chunk(
            limit,
            solver,
            observable,
            problem.v0,
            jnp.asarray(problem.t1, problem.v0.dtype),
            problem.key,
            jnp.asarray(first, jnp.uint32),
            numbers,
            finest,
            cells,
            regular,
        )
        chunks.append(np.asarray(chunk)[: problem.num_paths - first])
    values = np.concatenate(chunks)
    broken = np.mean(~np.isfinite(values).all(axis=1))
    if broken:
        raise ValueError(
            f"`observable` must be finite; with {type(solver).__name__} it is not on "
            f"{broken:.2%} of the paths. Choose one that is, or take more `steps`."
        )
    return values


@jit
def _chunk(
    limit, solver, observable, v0, t1, key, first_path, numbers, finest, cells, regular
) -> Float[Array, "num_paths numbers"]:
    limit = in_dtype(limit, v0.dtype)
    grid = jnp.linspace(0.0, t1, finest + 1, dtype=v0.dtype)
    path = brownian(
        limit, v0, grid, cells, key=key, num_paths=_CHUNK, first_path=first_path
    )
    columns = []
    for number in numbers:
        steps = grid[:: finest // number]
        vs, _, _ = integrate(limit, solver, v0, path, steps, steps[-1:], None, regular)
        columns.append(observable(vs[:, 0]))
    return jnp.stack(columns, axis=-1)
