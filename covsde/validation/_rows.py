"""Rows of a report: one observable, the limit against networks of one width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .. import observables
from .._checks import found
from .._results import AbstractSolution
from ..limits import UnshapedSolution
from ..solution import Solution
from ._statistics import distances, ks_level, mean_and_error, share_level

LOG_V, RHO, LOG_DET = "log V", "rho", "log det V"
NEARNESS, STOPPED = "u", "stopped"


class Observable(NamedTuple):
    """A number read off a state; `a` and `b` count inputs from 0."""

    kind: str
    a: int | None = None
    b: int | None = None

    @property
    def label(self) -> str:
        """Its name in a table, e.g. `ρ[0,1]`."""
        symbol = {RHO: "ρ", STOPPED: "stopped share"}.get(self.kind, self.kind)
        return symbol if self.a is None else f"{symbol}[{self.a},{self.b}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One observable at the final time: the limit against networks of one width.

    - `kind`: `"log V"`, `"rho"`, `"log det V"`, `"u"` (of an unshaped network), or
      `"stopped"` (the share of paths).
    - `a`, `b`: the inputs, counted from 0 (None for all but `log V` and `rho`).
    - `width`: neurons of a hidden layer of the networks.
    - `initial`: the observable at time 0.
    - `limit_mean`, `limit_se`, `network_mean`, `network_se`: means, standard errors.
    - `ks`, `ks_level`: two-sample Kolmogorov–Smirnov distance, and its 5 % level; of
      `stopped`, the difference of the shares.
    - `wasserstein`: Wasserstein-1 distance, in the unit of the observable.
    - `num_paths`, `num_networks`: sample sizes: the paths that were never stopped.
    """

    kind: str
    a: int | None
    b: int | None
    width: int
    initial: float
    limit_mean: float
    limit_se: float
    network_mean: float
    network_se: float
    ks: float
    ks_level: float
    wasserstein: float
    num_paths: int
    num_networks: int

    @property
    def observable(self) -> str:
        """Its name, e.g. `ρ[0,1]`."""
        return Observable(self.kind, self.a, self.b).label

    @property
    def above(self) -> bool:
        """Whether KS exceeds its 5 % level."""
        return self.ks > self.ks_level


class Comparison(NamedTuple):
    """Rows, and sentences about what was left out of them."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(
    v0: np.ndarray,
    start: dict[Observable, float],
    limit: AbstractSolution,
    networks: tuple[AbstractSolution, ...],
) -> Comparison:
    """Every observable at the last saved time, for every width; `start` has it at 0.

    Paths and networks that were stopped are left out, on both sides; how many there are
    is an observable of its own.
    """
    ours = observed(limit)
    theirs = [observed(network) for network in networks]
    notes = []
    rows = []
    for observable in _comparable(v0, start, ours, theirs, notes):
        for network, other in zip(networks, theirs, strict=True):
            sides = ours[observable], other[observable]
            rows.append(_row(observable, network, start[observable], *sides))
    if not all(solution.running.all() for solution in (limit, *networks)):
        for network in networks:
            shares = (~limit.running).astype(float), (~network.running).astype(float)
            rows.append(_row(Observable(STOPPED), network, 0.0, *shares))
        notes.append(
            "Paths and networks that were stopped are counted in the stopped share and "
            "left out of every other row."
        )
    return Comparison(tuple(rows), tuple(notes))


@singledispatch
def observed(solution) -> dict[Observable, np.ndarray]:
    """The observables at the last saved time, of the paths that were never stopped."""
    raise TypeError(f"`solution` must be a solution; got {found(solution)}.")


@observed.register(Solution)
def _(solution: Solution) -> dict[Observable, np.ndarray]:
    return measure(np.asarray(solution.vs[:, -1])[solution.running])


@observed.register(UnshapedSolution)
def _(solution: UnshapedSolution) -> dict[Observable, np.ndarray]:
    return {Observable(NEARNESS): np.asarray(solution.us[:, -1])[solution.running]}


def at_start(v0: np.ndarray) -> dict[Observable, float]:
    """The observables of one covariance `(m, m)`."""
    return {observable: float(x[0]) for observable, x in measure(v0[None]).items()}


def measure(v: np.ndarray) -> dict[Observable, np.ndarray]:
    """All observables of covariances `(n, m, m)`, each `(n,)`."""
    m = v.shape[-1]
    covariances = jnp.asarray(v)
    log_v = np.asarray(observables.log_diagonal(covariances))
    rho = np.asarray(observables.correlation(covariances))
    values = {Observable(LOG_V, a, a): log_v[:, a] for a in range(m)}
    values |= {
        Observable(RHO, a, b): rho[:, a, b] for a in range(m) for b in range(a + 1, m)
    }
    if m > 1:  # for one input it is log V
        values[Observable(LOG_DET)] = np.asarray(observables.log_det(covariances))
    return values


def _comparable(v0, start, ours, theirs, notes: list[str]) -> Iterator[Observable]:
    """The observables that have a law to compare; notes tell which have none."""
    rounding = float(np.sqrt(np.finfo(v0.dtype).eps))
    constant = []
    for observable in start:
        samples = [ours[observable], *(other[observable] for other in theirs)]
        if observable.kind == LOG_DET and is_singular(v0):
            notes.append("log det V is left out: v0 is singular, so it is -inf.")
        elif observable.kind == LOG_DET and not all(np.isfinite(x).all() for x in samples):
            broken = sum(int((~np.isfinite(x)).sum()) for x in samples)
            notes.append(
                f"log det V is left out: {broken} covariances are singular to rounding."
            )
        elif observable.kind == RHO and all(
            np.all(np.abs(x - start[observable]) < rounding) for x in samples
        ):
            constant.append(observable.label)
        else:
            yield observable
    if constant:
        notes.append(
            f"{', '.join(constant)}: left out, for these inputs are parallel and stay so."
        )


def is_singular(v0: np.ndarray) -> bool:
    """Whether a covariance `(m, m)` is singular to rounding."""
    scale = np.sqrt(np.diagonal(v0))
    smallest = np.linalg.eigvalsh(v0 / scale[:, None] / scale).min()
    return bool(smallest <= 8 * v0.shape[-1] * np.finfo(v0.dtype).eps)


def _row(
    observable: Observable, network: AbstractSolution, initial: float, ours, theirs
) -> Row:
    if network.width is None:
        raise ValueError("`networks` must be solutions of `covsde.oracles.sample`.")
    limit_mean, limit_se = mean_and_error(ours)
    network_mean, network_se = mean_and_error(theirs)
    known = ours.size > 0 and theirs.size > 0
    ks, wasserstein = distances(ours, theirs) if known else (np.nan, np.nan)
    of_shares = observable.kind == STOPPED
    level = share_level(ours, theirs) if of_shares else ks_level(ours.size, theirs.size)
    return Row(
        kind=observable.kind,
        a=observable.a,
        b=observable.b,
        width=network.width,
        initial=initial,
        limit_mean=limit_mean,
        limit_se=limit_se,
        network_mean=network_mean,
        network_se=network_se,
        ks=float(ks),
        ks_level=level,
        wasserstein=float(wasserstein),
        num_paths=ours.size,
        num_networks=theirs.size,
    )
