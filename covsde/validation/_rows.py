"""Rows of a report: one observable, the limit against networks of one width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._results import AbstractSolution
from ..observables import AbstractObservable, Correlation, LogDet, describing
from ._statistics import distances, ks_level, mean_and_error, share_level

# The share of paths that stopped: of no state, and so no observable.
STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Row:
    """One observable at the final time: the limit against networks of one width.

    - `observable`: its name, e.g. `ρ[0,1]`.
    - `kind`: `"log V"`, `"rho"`, `"log det V"`, `"u"` (of an unshaped network), that of an
      observable of your own, `"function"` of a function, or `"stopped"` (the share of
      paths).
    - `a`, `b`: the inputs, counted from 0 (None of what is not of one or two of them).
    - `width`: neurons of a hidden layer of the networks.
    - `initial`: the observable at time 0.
    - `limit_mean`, `limit_se`, `network_mean`, `network_se`: means, standard errors.
    - `ks`, `ks_level`: two-sample Kolmogorov–Smirnov distance, and its 5 % level; of
      `stopped`, the difference of the shares.
    - `wasserstein`: Wasserstein-1 distance, in the unit of the observable.
    - `num_paths`, `num_networks`: sample sizes: the paths that were never stopped.
    """

    observable: str
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
    def above(self) -> bool:
        """Whether KS exceeds its 5 % level."""
        return self.ks > self.ks_level


class Comparison(NamedTuple):
    """Rows, and sentences about what was left out of them."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def compare(
    observables: Mapping[str, Callable],
    start: np.ndarray,
    limit: AbstractSolution,
    networks: tuple[AbstractSolution, ...],
) -> Comparison:
    """Every observable at the last saved time, for every width; `start` is the state at 0.

    Paths and networks that were stopped are left out, on both sides; how many there are
    is a row of its own.
    """
    states = (start[None], *(_last(solution) for solution in (limit, *networks)))
    # by one program for them all
    values = read_all(tuple(observables.values()), np.concatenate(states))
    ends = np.cumsum([len(state) for state in states])[:-1]
    rows, notes, constant = [], [], []
    for (name, f), of_all in zip(observables.items(), values, strict=True):
        (initial,), ours, *theirs = np.split(of_all, ends)
        initial = float(initial)
        reason = _no_law(f, start, (ours, *theirs))
        if reason is not None:
            notes.append(f"{name} is left out: {reason}.")
        elif isinstance(f, Correlation) and _is_constant(initial, (ours, *theirs)):
            constant.append(name)
        else:
            rows += _compared(name, f, initial, ours, networks, theirs)
    if constant:
        notes.append(
            f"{', '.join(constant)}: left out, for these inputs are parallel and stay so."
        )
    if not rows:
        raise ValueError(
            "`observables` must have a law to compare; got none that has. "
            f"{' '.join(notes)} None takes those that describe the limit."
        )
    if not all(solution.running.all() for solution in (limit, *networks)):
        ours, *theirs = ((~one.running).astype(float) for one in (limit, *networks))
        rows += _compared("stopped share", None, 0.0, ours, networks, theirs)
        notes.append(
            "Paths and networks that were stopped are counted in the stopped share and "
            "left out of every other row."
        )
    return Comparison(tuple(rows), tuple(notes))


def _last(solution: AbstractSolution) -> np.ndarray:
    """The states at the last saved time, of the paths that were never stopped."""
    return np.asarray(solution.readings)[:, -1][solution.running]


def read(observable: Callable, states: np.ndarray) -> np.ndarray:
    """An observable of states `(n, ...)`, `(n,)`."""
    return read_all((observable,), states)[0]


def read_all(observables: tuple[Callable, ...], states: np.ndarray) -> list[np.ndarray]:
    """Each observable of states `(n, ...)`, by one program: each operation is one, else."""
    return [np.asarray(x) for x in _read(observables, jnp.asarray(states))]


@eqx.filter_jit
def _read(observables: tuple[Callable, ...], states: Array) -> tuple[Array, ...]:
    return tuple(jnp.asarray(f(states)).astype(states.dtype) for f in observables)


def measure(v: np.ndarray) -> dict[AbstractObservable, np.ndarray]:
    """Norms, correlations and determinants of covariances `(n, m, m)`, each `(n,)`."""
    observables = describing(v.shape[-1])
    return dict(zip(observables, read_all(tuple(observables), v), strict=True))


def _no_law(f: Callable, start: np.ndarray, samples: tuple[np.ndarray, ...]) -> str | None:
    """Why an observable has no law that could be compared."""
    of_det = isinstance(f, LogDet)
    if of_det and is_singular(start):
        return "v0 is singular, so it is -inf"
    broken = sum(int((~np.isfinite(x)).sum()) for x in samples)
    if broken == 0:
        return None
    if of_det:
        return f"{broken} covariances are singular to rounding"
    return f"it is not finite for {broken} paths and networks"


def _is_constant(initial: float, samples: tuple[np.ndarray, ...]) -> bool:
    """Whether nothing moves but by rounding."""
    rounding = float(np.sqrt(np.finfo(samples[0].dtype).eps))
    return all(np.all(np.abs(x - initial) < rounding) for x in samples)


def is_singular(v0: np.ndarray) -> bool:
    """Whether a covariance `(m, m)` is singular to rounding."""
    scale = np.sqrt(np.diagonal(v0))
    smallest = np.linalg.eigvalsh(v0 / scale[:, None] / scale).min()
    return bool(smallest <= 8 * v0.shape[-1] * np.finfo(v0.dtype).eps)


def _compared(
    name: str,
    f: Callable | None,
    initial: float,
    ours: np.ndarray,
    networks: tuple[AbstractSolution, ...],
    theirs: list[np.ndarray],
) -> list[Row]:
    """One row for each width; without an observable, of the share of paths that stopped."""
    kind, inputs = AbstractObservable.kind, None
    if isinstance(f, AbstractObservable):
        kind, inputs = f.kind, f.inputs
    a, b = inputs or (None, None)
    limit_mean, limit_se = mean_and_error(ours)
    rows = []
    for network, sample in zip(networks, theirs, strict=True):
        if network.width is None:
            raise ValueError("`networks` must be solutions of `covsde.oracles.sample`.")
        network_mean, network_se = mean_and_error(sample)
        known = ours.size > 0 and sample.size > 0
        ks, wasserstein = distances(ours, sample) if known else (np.nan, np.nan)
        if f is None:
            kind, level = STOPPED, share_level(ours, sample)
        else:
            level = ks_level(ours.size, sample.size)
        rows.append(
            Row(
                observable=name,
                kind=kind,
                a=a,
                b=b,
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
                num_networks=sample.size,
            )
        )
    return rows
