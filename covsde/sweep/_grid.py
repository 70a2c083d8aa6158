"""The grid of parameters and starts, checked point by point before anything is compiled."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import check_finite, found
from .._normals import Normals, check_normals
from .._problem import check_problem
from ..limits import AbstractLimit
from ..solve import Run, decide, longest_step

Make = Callable[..., AbstractLimit]
# what else labels a sweep
_TAKEN = ("start", "observable", "time", "level", "other", "bin", "parameter")


class Grid(NamedTuple):
    """Values of each parameter by name; a limit for every choice of them."""

    values: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each parameter has."""
        return tuple(x.size for x in self.values.values())

    @property
    def points(self) -> list[dict[str, float]]:
        """All choices, the last parameter running fastest."""
        choices = itertools.product(*(x.tolist() for x in self.values.values()))
        return [dict(zip(self.values, choice, strict=True)) for choice in choices]


def make_grid(parameters) -> Grid:
    """The grid of these parameters; refuses what is no list of numbers."""
    way_out = "For example `{'c_minus': [-1.0, -0.5]}`."
    if not isinstance(parameters, Mapping):
        raise TypeError(
            f"`parameters` must be a dict of values by name; got {found(parameters)}. "
            f"{way_out}"
        )
    values = {}
    for name, given in parameters.items():
        if not isinstance(name, str) or name in _TAKEN:
            raise ValueError(
                f"`parameters` must be named otherwise than {', '.join(_TAKEN)}; got "
                f"{name!r}. Rename it, in `make` as well."
            )
        try:
            x = np.asarray(given)
        except (TypeError, ValueError, jax.errors.TracerArrayConversionError) as error:
            raise TypeError(_message(name, found(given), way_out)) from error
        if x.dtype.kind not in "iuf":
            raise TypeError(_message(name, found(given), way_out))
        if x.ndim != 1 or x.size == 0:
            raise ValueError(_message(name, f"shape {x.shape}", way_out))
        x = x.astype(np.float64)
        check_finite(f"parameters[{name!r}]", x, "Leave it out.")
        if np.unique(x).size < x.size:
            raise ValueError(_message(name, "a value twice", "Pass `np.unique` of it."))
        values[name] = x
    return Grid(values)


def _message(name: str, got: str, way_out: str) -> str:
    return (
        f"`parameters[{name!r}]` must be a sequence of different numbers; got {got}. "
        f"{way_out}"
    )


def plan_all(
    make: Make,
    grid: Grid,
    v0,
    t1,
    *,
    num_paths: int,
    dt0,
    solver,
    normals: Normals,
    **asked: Any,
) -> tuple[Run, list[AbstractLimit], float | None]:
    """A run at the first point, with a step that serves all; all limits; and that step,
    None where no point has noise, and a tolerance chooses them.

    **Raises:** what `solve` raises at a point, which the message names; and for points
    with noise and without, if no step is given.
    """
    if not callable(make):
        raise TypeError(
            f"`make` must be a function from parameters to a limit; got {found(make)}. "
            "For example `lambda c_minus: ShapedMLP(ShapedReLU(0.0, c_minus))`."
        )
    check_normals(normals)
    # `solve` takes a start for each path: here each is a point
    paths = np.shape(v0)[0] if np.ndim(v0) == 3 else num_paths
    limits, longest, clocked, first = [], [], False, None
    points = grid.points
    for point in points:
        with _told_at(point):
            limit = make(**point)
            if first is None:
                problem = first = check_problem(limit, v0, t1, num_paths=paths, **asked)
            else:
                problem = first.of(limit)
            limits.append(limit)
            longest.append(longest_step(problem, solver, dt0))
            clocked |= limit.speeds_up
    steps = [step for step in longest if step is not None]
    if 0 < len(steps) < len(longest):
        raise ValueError(
            "`dt0` must be given where some points of the grid have noise and others have "
            "none, which are solved to a tolerance; got None. Pass a step, e.g. "
            f"{min(steps):.3g}, or sweep them apart."
        )
    assert first is not None
    least = min(steps, default=None)
    with _told_at(points[longest.index(least)]):
        run, dt0 = decide(first, solver, least, normals=normals)
    # one program serves all points, those that explode among them
    return dataclasses.replace(run, clocked=clocked), limits, dt0


@contextmanager
def _told_at(point: dict[str, float]) -> Iterator[None]:
    """Says of an error at which point it was."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        where = ", ".join(f"{name} = {x:g}" for name, x in point.items())
        raise kind(f"{error} At the grid point {where or '()'}.") from error


def stacked(make: Make, grid: Grid, limits: list[AbstractLimit]) -> AbstractLimit:
    """The arrays of all limits, along a first axis.

    Not `make`, but these enter the program, and so another `make` of such limits is no
    other program. What is no array is the same in all: a `make` that asks for the values
    of its parameters is refused.
    """
    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        shapes = eqx.filter_eval_shape(make, **dict.fromkeys(grid.values, number))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as e:
        raise TypeError(
            "`make` must build its limit from parameters that JAX traces, so that all of "
            "the grid is one program; got one that asks for their values. Use `jax.numpy` "
            "there, or call `sweep` for each of those values."
        ) from e

    def stack(kind, *leaves):
        if not isinstance(kind, jax.ShapeDtypeStruct):
            return None
        return np.stack([np.asarray(x, kind.dtype) for x in leaves])

    return jax.tree.map(stack, shapes, *limits)


def slopes_of(make: Make, grid: Grid, wanted: tuple[str, ...]) -> tuple[AbstractLimit, ...]:
    """Derivatives of all limits' arrays by each wanted parameter, along a first axis."""
    dtype = jnp.result_type(float)
    at = {name: np.array([p[name] for p in grid.points], dtype) for name in grid.values}

    def along(name: str, values: dict[str, Any]) -> AbstractLimit:
        def made(x: Array) -> AbstractLimit:
            return eqx.filter(make(**(values | {name: x})), eqx.is_inexact_array)

        return jax.jvp(made, (values[name],), (jnp.ones((), dtype),))[1]

    return tuple(jax.vmap(partial(along, name))(at) for name in wanted)


def check_gradients(gradients: Sequence[str], grid: Grid, run: Run) -> tuple[str, ...]:
    """Parameters of the grid, for paths that are never stopped."""
    wanted = (gradients,) if isinstance(gradients, str) else tuple(gradients)
    for name in wanted:
        if name not in grid.values:
            raise ValueError(
                f"`gradients` must be names of parameters, {', '.join(grid.values)}; got "
                f"{name!r}. () asks for none."
            )
    can_explode = run.limit.bounds(run.m).can_explode
    if wanted and (run.level is not None or can_explode):
        raise ValueError(
            f"`gradients` must be empty where paths can be stopped; got {wanted}. The mean "
            "over those that run changes with which these are, and no path knows that. "
            "Take differences along the grid."
        )
    return wanted
