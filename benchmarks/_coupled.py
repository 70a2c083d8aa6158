"""Weak errors of a step on the same Brownian path as shorter steps, with small noise.

Both paths move factors `V = L Lᵀ`. A symmetric increment `dS` means the same to both once
it is given in frames that lie close: the finer path is handed `Q dS Qᵀ`, where
`L_f Q = L_c P` with P positive definite. The law of an increment does not see a rotation
that is known when it begins, so neither path changes its law; and the two stay together to
the first power of the step, where on plain increments it is the root of it.

What is left of the noise is taken by control variates of mean 0: what the increments of
both paths add to an observable, to first and to second order.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from covsde import AbstractLimit, default_solver
from covsde.brownian import NoiseShape, arrange, count_entries
from covsde.matrices import Lower, Square, factorise
from covsde.solve._clock import Clock
from covsde.solvers import AbstractFactorSolver
from covsde.states import choose, read
from covsde.terms import DriftTerm, NoiseTerm

# Steps of the finer path to one of the coarser.
FINER = 4
# Turns of the iteration for Q: from any start it has converged.
_TURNS = 9
# By how much a path may be slowed by its clock before it counts as exploded.
_LONGEST = 16


class Observed(NamedTuple):
    """What is read of V, or its martingale: one row for each path."""

    log_norm: Float[Array, "num_paths m"]
    log_norm_squared: Float[Array, "num_paths m"]
    rho: Float[Array, "num_paths pairs"]
    rho_squared: Float[Array, "num_paths pairs"]


class Error(NamedTuple):
    """Weak errors of several means, and their standard errors."""

    error: np.ndarray
    standard_error: np.ndarray


class _Given(NoiseTerm):
    """A noise whose increments over both halves of a step are given."""

    def contr(self, t0, t1, half=None, **kwargs):
        first, second = self.path  # pyright: ignore
        if half is not None:
            return (first, second)[half]
        return jax.tree.map(jnp.add, first, second)


def errors(
    limit: AbstractLimit,
    v0: np.ndarray,
    t1: float,
    dt0: float,
    *,
    key: PRNGKeyArray,
    num_paths: int,
    solver: AbstractFactorSolver | None = None,
) -> tuple[dict[str, Error], float]:
    """Weak errors of a solver in steps of at most `dt0`, and the steps of a path.

    `FINER` times shorter steps stand for the equation, extrapolated by order 2. Clocks are
    those of the coarser path. The paths come in pairs of opposite increments.
    """
    solver = default_solver(limit) if solver is None else solver
    with jax.numpy_rank_promotion("allow"):
        (coarse, fine), martingale, steps = _coupled(
            limit,
            solver,
            jnp.asarray(v0),
            jnp.asarray(t1, float),
            jnp.asarray(dt0, float),
            key,
            num_paths,
            bool(limit.speeds_up),
        )
    lost = ~np.all(np.isfinite(coarse) & np.isfinite(fine), axis=(1, 2))
    lost = np.tile(lost.reshape(2, -1).any(axis=0), 2)
    if lost.mean() > 0.01:
        raise ValueError(f"{lost.mean():.1%} of the paths explode. Pass another problem.")
    kept = ~lost
    a, b, z = (
        jax.tree.map(lambda x: np.asarray(x)[kept], y)
        for y in (_read(coarse), _read(fine), martingale)
    )
    norms = [x for y in z for x in (y.log_norm, y.log_norm_squared)]
    found = {"E log V": _mean(a.log_norm - b.log_norm, [x.log_norm for x in z])}
    center, deviation = b.log_norm.mean(axis=0), b.log_norm.std(axis=0)
    spread = (a.log_norm - center) ** 2 - (b.log_norm - center) ** 2
    found["sd log V"] = _mean(spread / (2 * deviation), norms)
    if v0.shape[-1] > 1:
        found["E ρ"] = _mean(a.rho - b.rho, [x.rho for x in z])
        found["E ρ²"] = _mean(a.rho_squared - b.rho_squared, [x.rho_squared for x in z])
    dets = [np.linalg.slogdet(np.asarray(x)[kept])[1] for x in (coarse, fine)]
    det = (dets[0] - dets[1])[:, None] / v0.shape[-1]
    found["E log det / m"] = _mean(det, [])
    return found, float(steps)


def _mean(difference: np.ndarray, controls: list[np.ndarray]) -> Error:
    """The mean over pairs of paths, less what each column's own controls explain of it."""

    def paired(x: np.ndarray) -> np.ndarray:
        return x.reshape(2, -1, x.shape[-1]).mean(axis=0)

    y, zs = paired(difference), [paired(z) for z in controls]
    left = np.empty_like(y)
    for i in range(y.shape[1]):
        known = np.stack([z[:, i] for z in zs], axis=1) if zs else np.zeros((len(y), 0))
        slopes = np.linalg.lstsq(known - known.mean(0), y[:, i] - y[:, i].mean())[0]
        left[:, i] = y[:, i] - known @ slopes
    scale = 1 / (1 - FINER**-2.0)
    deviation = left.std(axis=0, ddof=1 + len(zs)) / len(left) ** 0.5
    return Error(scale * left.mean(axis=0), scale * deviation)


def _read(v: Array) -> Observed:
    variances = jnp.diagonal(v, axis1=1, axis2=2)
    rows, columns = np.tril_indices(v.shape[-1], -1)
    rho = v[:, rows, columns] / jnp.sqrt(variances[:, rows] * variances[:, columns])
    log_norm = jnp.log(variances)
    return Observed(log_norm, log_norm**2, rho, rho**2)


class _State(NamedTuple):
    number: Array
    time: Array
    steps: Array
    coarse: Any
    fine: Any
    martingale: tuple[Observed, Observed]


@eqx.filter_jit
def _coupled(limit, solver, v0, t1, dt0, key, num_paths, clocked):
    m, shape = v0.shape[-1], limit.diffusion.noise_shape
    drift, diffusion = limit.drift, limit.diffusion
    clock = Clock(dt0, getattr(solver, "most", 1 / 8), t1)
    if hasattr(solver, "most"):  # it is the clock that slows it down
        solver = dataclasses.replace(solver, most=math.inf)
    start = factorise(v0).as_invertible(True).repeat(num_paths)
    start = start if clocked else solver.begin(start)

    def terms(t, halves):
        return diffrax.MultiTerm(DriftTerm(drift, t), _Given(diffusion, halves, t))

    def step(y, halves, t, h):
        zero = jnp.zeros_like(h)
        return solver.step(terms(t, halves), zero, h, y, None, None, False)[0]

    def length(y, t):
        if not clocked:
            return dt0
        speeds = (x.speed(y) for x in terms(t, None).vf(t, y, None))
        return clock.longest(*speeds)

    def move(now: _State) -> _State:
        behind, longest = now.time < t1, length(now.coarse, now.time)
        rest = jnp.where(behind, t1 - now.time, longest)
        count = jnp.maximum(jnp.ceil(rest / longest - 1e-9), 1.0)
        h = rest / count
        of_step = jax.random.fold_in(key, now.number)
        entries = (FINER, 2, count_entries(shape, m), num_paths // 2)
        normals = jax.random.normal(of_step, entries, v0.dtype)
        increments = jnp.concatenate([normals, -normals], axis=-1)
        increments = increments * jnp.sqrt(h / (2 * FINER))
        whole = increments.reshape(2, FINER, *increments.shape[2:]).sum(axis=1)
        halves = tuple(arrange(shape, half, m) for half in whole)
        before = _factor(now.coarse)
        coarse = step(now.coarse, halves, now.time, h)
        back = jnp.linalg.inv(before)

        def finer(j, carry):
            fine, martingale = carry
            factor = _factor(fine)
            turn = _rotation(back @ factor)
            halves = tuple(
                _turned(shape, arrange(shape, x, m), turn) for x in increments[j]
            )
            gained = _gained(factor, _symmetric(shape, halves), v0, h / FINER)
            fine = step(fine, halves, now.time + j * h / FINER, h / FINER)
            return fine, jax.tree.map(lambda x, y: x - y, martingale, gained)

        martingale = _gained(before, _symmetric(shape, halves), v0, h)
        fine, martingale = lax.fori_loop(0, FINER, finer, (now.fine, martingale))
        ahead = jnp.where(count > 1, now.time + h, t1)
        if clocked:
            coarse, fine = choose(behind, (coarse, fine), (now.coarse, now.fine))
            ahead = jnp.where(behind, ahead, now.time)
            martingale = jax.tree.map(
                lambda x: jnp.where(behind[:, None], x, 0.0), martingale
            )
        total = jax.tree.map(jnp.add, now.martingale, martingale)
        steps = now.steps + jnp.mean(behind.astype(v0.dtype))
        return _State(now.number + 1, ahead, steps, coarse, fine, total)

    time = jnp.zeros((num_paths,) if clocked else (), v0.dtype)
    nothing = _gained(_factor(start), jnp.zeros((num_paths, m, m), v0.dtype), v0, 0 * dt0)
    nothing = jax.tree.map(jnp.zeros_like, nothing)
    begin = _State(jnp.uint32(0), time, jnp.zeros(()), start, start, nothing)
    most = _LONGEST * t1 / dt0
    end = lax.while_loop(
        lambda now: jnp.any(now.time < t1) & (now.number < most), move, begin
    )
    lost = jnp.where(end.time < t1, jnp.nan, 1.0)  # as good as exploded

    def finished(y):
        v = read(y if clocked else solver.finish(drift, t1, y, None)[0])
        return v * lost[..., None, None]

    return (finished(end.coarse), finished(end.fine)), end.martingale, end.steps


def _factor(y: Lower) -> Float[Array, "num_paths m m"]:
    """The factor, of a state whose drift is pending, too."""
    return getattr(y, "factor", y).to_dense()


def _rotation(a: Float[Array, "num_paths m m"]) -> Float[Array, "num_paths m m"]:
    """`Qᵀ` with `a Q` positive definite, by Newton's method, scaled (Higham 1986)."""

    def turn(u, _):
        inverse = jnp.linalg.inv(u).mT
        sizes = (jnp.linalg.norm(x, axis=(1, 2), keepdims=True) for x in (inverse, u))
        scale = jnp.sqrt(next(sizes) / next(sizes))
        return 0.5 * (u * scale + inverse / scale), None

    # that of `a` is U = (a aᵀ)^{-1/2} a, so `a Uᵀ` is positive definite
    return lax.scan(turn, a, None, length=_TURNS)[0].mT


def _turned(shape: NoiseShape, x: Any, q: Array) -> Any:
    """`Q dW Qᵀ` of an increment."""
    if isinstance(shape, tuple):
        return tuple(_turned(s, y, q) for s, y in zip(shape, x, strict=True))
    if shape == "square":
        return Square.from_dense(q @ x.to_dense() @ q.mT)
    s = q @ x.symmetrise(2**0.5).to_dense() @ q.mT
    rows, columns = np.tril_indices(s.shape[-1])
    entries = s[:, rows, columns] * np.where(rows == columns, 0.5**0.5, 1.0)
    return Lower.from_entries(entries.T, s.shape[-1])


def _symmetric(shape: NoiseShape, halves: Any) -> Float[Array, "num_paths m m"]:
    """`dS` of the random weights, the first of the noises."""
    while isinstance(shape, tuple):
        shape, halves = shape[0], tuple(half[0] for half in halves)
    total = halves[0] + halves[1]
    return total.symmetrise(2**0.5).to_dense() if shape == "triangle" else total.to_dense()


def _gained(
    factor: Array, increment: Array, v0: Array, h: Array
) -> tuple[Observed, Observed]:
    """What an increment adds to all observables, less its mean, but for drift and Γ.

    The terms of first and of second order in it, which go with √Γ and with Γ.
    """
    norms = jnp.linalg.norm(factor, axis=-1, keepdims=True)
    unit = factor / norms
    once = unit @ increment
    g, twice = once @ unit.mT, once @ once.mT
    h = h[:, None] if jnp.ndim(h) else h
    along, bent = (jnp.diagonal(x, axis1=1, axis2=2) for x in (g, twice))
    since = 2 * jnp.log(norms[..., 0]) - jnp.log(jnp.diagonal(v0))
    log_norm = (bent - along**2 - h * (v0.shape[-1] - 1)) / 2
    a, b = np.tril_indices(factor.shape[-1], -1)
    rho = (unit @ unit.mT)[:, a, b]
    both = along[:, a] + along[:, b]
    first = g[:, a, b] - rho / 2 * both
    second = (twice[:, a, b] - g[:, a, b] * both + rho * (1 - rho**2) * h) / 2
    squares = 3 * (along[:, a] ** 2 + along[:, b] ** 2) + 2 * along[:, a] * along[:, b]
    second += rho / 8 * (squares - 2 * (bent[:, a] + bent[:, b]))
    return (
        Observed(along, 2 * since * along, first, 2 * rho * first),
        Observed(
            log_norm,
            2 * since * log_norm + along**2 - 2 * h,
            second,
            2 * rho * second + first**2 - (1 - rho**2) ** 2 * h,
        ),
    )
