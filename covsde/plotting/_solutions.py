"""What figures are made of: solutions, checked and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .._checks import found
from .._results import AbstractSolution
from ..limits import UnshapedSolution
from ..solution import Solution

_Solution = TypeVar("_Solution", bound=AbstractSolution)


def solutions(networks) -> tuple[Solution, ...]:
    """Networks of a covariance SDE, one or several."""
    return _all_of(Solution, "covsde.oracles.sample", networks)


def unshaped_solutions(limit, networks) -> tuple[UnshapedSolution, ...]:
    """Networks of the unshaped limit, one or several; refuses another limit."""
    if not isinstance(limit, UnshapedSolution):
        raise TypeError(
            f"`limit` must be a solution of `UnshapedMLP().solve`; got {found(limit)}."
        )
    source = "covsde.oracles.unshaped.sample_unshaped"
    return _all_of(UnshapedSolution, source, networks)


def _all_of(kind: type[_Solution], source: str, networks) -> tuple[_Solution, ...]:
    several = (networks,) if isinstance(networks, kind) else tuple(networks)
    for one in several:
        if not isinstance(one, kind):
            raise TypeError(
                f"`networks` must be solutions of `{source}`; got {found(one)}."
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
