"""Errors and orders of several solvers, by one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import diffrax
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import found, is_concrete, is_real
from .._names import full_name
from .._problem import check_problem
from ..limits import AbstractLimit
from ..solve import check_covariances
from ._extrapolated import Extrapolated, combination
from ._order import Errors
from ._paths import sampled
from ._quadrature import integrated
from ._steps import check_steps


@dataclass(frozen=True)
class Study:
    """Errors and orders of several solvers; `print` shows a table.

    - `rows`: one [`covsde.convergence.Errors`][] for each solver.
    - `title`: the problem. `reference`: what the errors are from.
    - `t1`, `num_paths`, `confidence`: as they were asked for; by quadrature `num_paths` is
      None.
    """

    title: str
    reference: str
    t1: float
    num_paths: int | None
    confidence: float
    rows: tuple[Errors, ...]

    def __str__(self) -> str:
        width = max(len(row.solver) for row in self.rows)
        steps = self.rows[0].steps
        head = f"{'steps':{width}}" + "".join(f"{n:>11}" for n in steps) + "   order"
        by = "quadrature" if self.num_paths is None else f"{self.num_paths:,} paths"
        lines = [self.title, f"errors from {self.reference}; {by}"]
        lines += ["", head, "-" * (len(head) + 8)]
        for row in self.rows:
            marks = ("" if above else "°" for above in row.above_noise)
            cells = [f"{e:.2e}{m}" for e, m in zip(row.errors, marks, strict=True)]
            errors = "".join(f"{cell:>11}" for cell in cells)
            noise = "".join(f"{f'± {e:.0e}':>11}" for e in row.standard_errors)
            lines += [f"{row.solver:{width}}{errors}   {row.order}", " " * width + noise]
        lines += ["", f"orders with {self.confidence:.0%} intervals"]
        if any(not row.above_noise.all() for row in self.rows):
            noise = "numerical" if self.num_paths is None else "standard"
            lines += [f"° within three {noise} errors of 0: left out of the order"]
        return "\n".join(lines)


def study(
    limit: AbstractLimit,
    solvers: Sequence[diffrax.AbstractSolver | Extrapolated],
    v0: Float[Array, "m m"],
    t1: float,
    observable: Callable[[Float[Array, "num_paths m m"]], Float[Array, " num_paths"]],
    *,
    key: PRNGKeyArray | None = None,
    steps: Sequence[int] = (2, 4, 8, 16),
    num_paths: int = 100_000,
    exact: float | None = None,
    strong: bool = False,
    quadrature: bool = False,
    confidence: float = 0.95,
) -> Study:
    """Weak or strong errors of solvers, and their orders.

    All solvers, and all numbers of steps, run on the same Brownian paths. Weak errors are
    those of `E f(V_T)`, from the exact mean if there is one, and else from a solution of
    the first solver with four times the most steps, on the same paths. Strong errors are
    `E|f(V_T) − f(V_T')|`, from that fine solution of the same solver.

    With `quadrature` weak errors have no Monte-Carlo noise: the normals of a step are
    integrated, and a scheme is the matrix of a Markov chain. So it is where f and the
    scheme see one bounded number alone: functions of the correlation of two inputs, of a
    linear network or under a shaped ReLU, and one input of any limit. The exact mean is
    that of the SDE's generator on a grid, and numerical errors, the distance to a coarser
    resolution, take the place of standard errors.

    **Arguments:**

    - `limit`, `v0`, `t1`: as for [`covsde.solve`][].
    - `solvers`: solvers of covsde, `diffrax.Euler()`, or any of them as
      [`covsde.convergence.Extrapolated`][].
    - `observable`: f, a JAX function of covariances `(num_paths, m, m)`.
    - `key`: as for [`covsde.solve`][]; not needed by a quadrature.
    - `steps`: numbers of steps to `t1`, each a multiple of the one before.
    - `num_paths`: number of paths; a standard error falls like its root.
    - `exact`: `E f(V_T)`, for weak errors; [`covsde.laws.of`][] knows some.
    - `strong`: whether errors are strong.
    - `quadrature`: whether to integrate, in place of sampling.
    - `confidence`: of the intervals of the orders.

    **Returns:** a [`covsde.convergence.Study`][]; `print` it, or draw it with
    [`covsde.plotting.orders`][].

    **Raises:** `ValueError` or `TypeError` for input that has no meaning, a step beyond
    a solver's bound, or an observable that is not finite.
    """
    problem = check_problem(
        limit,
        v0,
        t1,
        key=jax.random.key(0) if quadrature else key,
        num_paths=num_paths,
    )
    check_covariances(limit, "study")
    numbers = check_steps(steps)
    if not isinstance(solvers, Sequence) or not solvers:
        raise TypeError(
            f"`solvers` must be a list of solvers; got {found(solvers)}. For example "
            "`[covsde.GeodesicStrang(), covsde.WishartEuler()]`."
        )
    if exact is not None and (strong or not is_real(exact) or not is_concrete(exact)):
        raise ValueError(
            f"`exact` must be a number, for weak errors alone; got {found(exact)}. Leave "
            "it out to compare with a fine solution."
        )
    if strong and (quadrature or any(isinstance(s, Extrapolated) for s in solvers)):
        raise ValueError(
            "`strong` must be False for a quadrature and for an extrapolated solver, which "
            "have means and no paths; got True. Leave them out for strong errors."
        )
    rows = [combination(problem, solver, numbers) for solver in solvers]
    for row in rows:
        row.scheme.check_step(problem.t1 / numbers[0])
    exact = None if exact is None else float(exact)
    if quadrature:
        errors, reference = integrated(problem, rows, observable, exact, confidence)
    else:
        errors, reference = sampled(rows, observable, exact, strong, confidence)
    kind = "strong" if strong else "weak"
    title = f"{kind} errors of {full_name(limit)} at t = {problem.t1:g}"
    paths = None if quadrature else problem.num_paths
    return Study(title, reference, problem.t1, paths, confidence, tuple(errors))
