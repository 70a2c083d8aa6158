"""Sentences about what was compared, for the reader of a report."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Array

from .._results import AbstractSolution
from ..oracles import AbstractNetwork
from ._rows import read


def notes(
    observables: Mapping[str, Callable],
    v0: Array,
    t1: float,
    limit: AbstractSolution,
    networks: tuple[AbstractSolution, ...],
    kinds: tuple[AbstractNetwork, ...],
    level: float | None,
) -> list[str]:
    """What is to be known of starts, last layers and stopped paths.

    `kinds` are the networks as such, one for each solution.
    """
    said = _starts(observables, limit, kinds, v0)
    for network, kind in zip(networks, kinds, strict=True):
        end = float(network.ts[-1])
        if abs(end - t1) > 1e-6 * t1:
            layers = round(end * kind.layers_per_time)
            said.append(f"n = {kind.width}: {layers} layers end at t = {end:.4g}.")
    exploded = int((~limit.running).sum())
    if level is None and exploded:
        said.append(
            f"{exploded} paths of the limit exploded, which networks do not: pass "
            "`stop_above` to stop both at one level."
        )
    if kinds[0].ends and not all(network.running.all() for network in networks):
        said.append(kinds[0].ends)
    if np.ptp(np.asarray(limit.readings), axis=0).max() == 0:
        said.append(
            "The limit has no noise: read the means, and W1, which falls with the "
            "width. KS between one value and a spread does not."
        )
    return said


def _starts(
    observables: Mapping[str, Callable],
    limit: AbstractSolution,
    kinds: tuple[AbstractNetwork, ...],
    v0: Array,
) -> list[str]:
    """Where observables start otherwise in networks of a finite width than in the limit."""
    start, starts = limit.limit.initial(v0), [kind.read(v0) for kind in kinds]
    if all(np.array_equal(start, other) for other in starts):
        return []
    said = []
    for name, f in observables.items():
        ours, *theirs = (read(f, np.asarray(x)[None])[0] for x in (start, *starts))
        pairs = zip(theirs, kinds, strict=True)
        each = ", ".join(f"{x:.3g} (n = {kind.width})" for x, kind in pairs)
        said.append(f"{name} starts at {ours:.3g} in the limit, in networks at {each}.")
    return said
