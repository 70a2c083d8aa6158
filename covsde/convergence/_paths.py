"""Errors of means, and of paths, on Brownian paths that all solvers share."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jit import jit
from ..solve import Run, Scheme, cells_per_step, integrate
from ._extrapolated import Combination, shared
from ._order import Errors, sampled_errors

_CHUNK = 2**12
# The fine solution takes this many times the most steps.
_FINER = 4


def sampled(
    rows: list[Combination],
    observable: Callable,
    exact: float | None,
    strong: bool,
    confidence: float,
) -> tuple[list[Errors], str]:
    """The errors of each row, and what they are from."""
    fine = _FINER * rows[0].steps[-1]
    cells = max(cells_per_step(row.scheme.solver) for row in rows)
    errors: dict[int, Errors] = {}
    reference = exact
    for indices, numbers in shared(rows):
        # of weak errors, the first solver's fine solution serves all
        needs_fine = strong or reference is None
        wanted = (*numbers, fine) if needs_fine else numbers
        scheme = rows[indices[0]].scheme
        values = _values(scheme, observable, wanted, fine, cells)
        if needs_fine:
            reference = values[:, -1:]
        for i in indices:
            rest = values[:, : len(numbers)] @ rows[i].weights(numbers).T - reference
            rest = np.abs(rest) if strong else rest
            name, steps = rows[i].name, rows[i].steps
            errors[i] = sampled_errors(name, steps, scheme.problem.t1, rest, confidence)
    words = "a fine solution on the same paths" if exact is None else f"{exact:.10g}"
    return [errors[i] for i in range(len(rows))], words


def _values(
    scheme: Scheme, observable: Callable, numbers: tuple[int, ...], finest: int, cells: int
) -> np.ndarray:
    """`f(V_T)` for every path and number of steps, `(num_paths, len(numbers))`.

    `finest` is the number of steps of the grid, each with `cells` Brownian increments.
    """
    problem = scheme.problem
    run, _ = scheme.run(problem.t1 / numbers[0])
    run = run.in_steps(finest, problem.t1)
    chunks = []
    for first in range(0, problem.num_paths, _CHUNK):
        first_path = jnp.asarray(first, jnp.uint32)
        chunk = _chunk(run, observable, first_path, numbers, cells)
        chunks.append(np.asarray(chunk)[: problem.num_paths - first])
    values = np.concatenate(chunks)
    broken = np.mean(~np.isfinite(values).all(axis=1))
    if broken:
        raise ValueError(
            f"`observable` must be finite; with {type(scheme.solver).__name__} it is not "
            f"on {broken:.2%} of the paths. Choose one that is, or take more `steps`."
        )
    return values


@jit
def _chunk(
    run: Run, observable: Callable, first_path: Array, numbers: tuple[int, ...], cells: int
) -> Float[Array, "num_paths numbers"]:
    path = run.brownian(cells, num_paths=_CHUNK, first_path=first_path)
    columns = []
    for number in numbers:
        steps = run.steps[:: (run.steps.size - 1) // number]
        vs, _, _ = integrate(run.on(steps, run.save_times), path)
        columns.append(observable(vs[:, 0]))
    return jnp.stack(columns, axis=-1)
