"""What figures are made of: solutions, checked and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .._checks import found
from .._results import AbstractSolution

_Solution = TypeVar("_Solution", bound=AbstractSolution)


def check_limit(kind: type[AbstractSolution], limit) -> None:
    """Refuses what is no solution of this kind."""
    if not isinstance(limit, kind):
        raise TypeError(
            f"`limit` must be a `{kind.__name__}` of `covsde.solve`; got {found(limit)}."
        )


def solutions(kind: type[_Solution], networks) -> tuple[_Solution, ...]:
    """Networks, one or several, whose solutions are of this kind."""
    several = (networks,) if isinstance(networks, kind) else tuple(networks)
    for one in several:
        if not isinstance(one, kind):
            raise TypeError(
                f"`networks` must be a `{kind.__name__}` each, of "
                f"`covsde.oracles.sample`; got {found(one)}."
            )
    return several


def check_times(limit: AbstractSolution) -> None:
    """Refuses to draw one time over depth."""
    if limit.ts.size < 2:
        raise ValueError(
            "`limit` must have several saved times to be drawn over depth; got one. Solve "
            "it with e.g. `saveat=jnp.linspace(0, t1, 9)`."
        )


def network_names(networks: Sequence[AbstractSolution]) -> list[str]:
    return [network_name(network) for network in networks]


def network_name(solution: AbstractSolution) -> str:
    return "networks" if solution.width is None else f"networks $n = {solution.width}$"
