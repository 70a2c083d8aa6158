"""Drift and diffusion as Diffrax terms, on `V` itself or for solvers on its factor.

The state `y` may be dense covariances, `(m, m)` or `(num_paths, m, m)`, or packed ones
(`covsde.matrices.Symmetric`): then these are ordinary terms for any Itô solver. Solvers
that move the factor call `vf` with a `Lower` and are handed what they need at it.
"""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .brownian import OneStep
from .diffusions import AbstractDiffusion, Tangent
from .drifts import AbstractDrift
from .matrices import Lower, Square, Symmetric, apart, cholesky
from .states import covariance_of, like


def since(start: float | Array, t: Any) -> Array:
    """The time `t` after the start."""
    return jnp.asarray(t) if isinstance(start, float) and start == 0 else start + t


class DriftOnFactor(eqx.Module):
    """A drift, bound to its arguments, as a solver on the factor uses it."""

    drift: AbstractDrift
    args: Any
    start: float | Array = 0.0
    order: int = eqx.field(static=True, default=2)

    def flow(self, t: Array, h: Array, factor: Lower) -> Lower:
        """Moves the factor of `V` by the drift from `t` to `t + h`."""
        return _flow(self, since(self.start, t), h, factor)

    def of_order(self, order: int) -> "DriftOnFactor":
        """The same drift, whose flow is of order 2 or 4."""
        return dataclasses.replace(self, order=order)

    def speed(self, factor: Lower) -> Array:
        """Inverse time scale at `V = L Lᵀ`, one per path."""
        return self.drift.speed(factor)

    def velocity(self, t: Array, v: Symmetric) -> Symmetric:
        """`b(t, V)`."""
        return _velocity(self.drift, since(self.start, t), v, self.args)


@apart
def _flow(bound: DriftOnFactor, t: Array, h: Array, factor: Lower) -> Lower:
    drift = bound.drift
    flow = drift.fourth_order_flow if bound.order == 4 else drift.flow
    return flow(t, h, factor, bound.args)


@apart
def _velocity(drift: AbstractDrift, t: Array, v: Symmetric, args: Any) -> Symmetric:
    return drift.batched(t, v, args)


class Elapsed(eqx.Module):
    """The control of a drift: a stretch of time.

    Not a plain number, so that Diffrax itself refuses solvers that are written for
    commutative noise (`ItoMilstein`) or for Stratonovich terms (`EulerHeun`).
    """

    dt: Array
    # which Diffrax turns where it solves back in time; a float where no one may have
    direction: float | Array = 1.0

    def forwards(self, x: Array) -> Array:
        """`x`; an error where `diffeqsolve` was asked to go back in time.

        Diffrax turns time round and wraps the terms to tell them: terms that are not
        wrapped are stepped by hand, and not looked at.
        """
        if isinstance(self.direction, float):
            return x
        return eqx.error_if(
            x,
            self.direction < 0,
            "`t0` must be before `t1` for the terms of a limit; got a solution back in "
            "time, which an Itô equation does not have. Exchange them.",
        )


class DriftTerm(diffrax.AbstractTerm):
    """`b(t, V) dt`."""

    drift: AbstractDrift
    start: float | Array = 0.0  # where the term's time 0 is

    def vf(self, t, y, args):
        """`b(t, V)` in the form of `y`; for a factor, the drift bound to `args`."""
        if isinstance(y, Lower):
            return DriftOnFactor(self.drift, args, self.start)
        t = since(self.start, t)
        return like(y, _velocity(self.drift, t, covariance_of(y), args))

    def contr(self, t0, t1, **kwargs):
        """`dt`."""
        return Elapsed(jnp.asarray(t1 - t0))

    def prod(self, vf, control):
        """`b dt`."""
        dt = control.forwards(control.dt)
        return jax.tree.map(lambda b: dt.astype(b.dtype) * b, vf)


def forwards(terms: diffrax.MultiTerm, t0: Any, t1: Any) -> tuple[Array, Array]:
    """The times of a step; an error where `diffeqsolve` was asked to go back in time."""
    t0, t1 = jnp.asarray(t0), jnp.asarray(t1)
    elapsed: Any = terms.terms[0].contr(t0, t1)
    return elapsed.forwards(t0), t1


class BoundNoise(eqx.Module):
    """A diffusion, bound to a time and its arguments, as solvers use it.

    For states that are `V` itself, bound to a factor of it, too.
    """

    diffusion: AbstractDiffusion
    t: Array
    args: Any
    factor: Lower | None = None
    dense: bool = eqx.field(static=True, default=False)

    @property
    def gain(self) -> float | Array | None:
        """Γ if the noise is `√Γ F dS Fᵀ`, None for any other."""
        return self.diffusion.gains(self.t)

    def tangent(self, frame: Square, increment: Any) -> Tangent:
        """`∘dF` at the factor `frame` of any `V`."""
        return self.diffusion.tangent(self.t, frame, increment, self.args)

    def correction(self, frame: Square, rank: int | Array) -> Tangent:
        """What `dt` multiplies so that `V = F Fᵀ`, of this rank, has no drift (Itô's)."""
        return self.diffusion.correction(self.t, frame, rank, self.args)

    def corrected(self, frame: Square, increment: Any, rank: int | Array, h) -> Tangent:
        """`tangent`, and the `correction` over a time `h`."""
        return self.diffusion.corrected(self.t, frame, increment, rank, h, self.args)

    def apply(self, factor: Lower, increment: Any) -> Symmetric:
        """`Σ(V)^{1/2} dB` at `V = L Lᵀ`."""
        return self.diffusion.apply(self.t, factor, increment, self.args)

    def speed(self, factor: Lower) -> Array:
        """Inverse time scale at `V = L Lᵀ`, one per path."""
        return self.diffusion.speed(self.t, factor, self.args)

    def trace_variance(self, factor: Lower) -> Array:
        """`(d tr V)²/dt` at `V = L Lᵀ`, one per path."""
        return self.diffusion.trace_variance(self.t, factor, self.args)


@apart
def _applied(noise: BoundNoise, increment: Any) -> Symmetric:
    assert noise.factor is not None
    return noise.apply(noise.factor, increment)


class NoiseTerm(diffrax.AbstractTerm):
    """`Σ(V)^{1/2} dB`, in operator form."""

    diffusion: AbstractDiffusion
    path: diffrax.AbstractPath
    start: float | Array = 0.0  # where the term's time 0 is

    def vf(self, t, y, args):
        """The noise bound to `t` and `args`, and to `V` unless `y` is a factor."""
        t = since(self.start, t)
        if isinstance(y, Lower):
            return BoundNoise(self.diffusion, t, args)
        factor = cholesky(covariance_of(y))
        dense = not isinstance(y, Symmetric)
        return BoundNoise(self.diffusion, t, args, factor, dense)

    def contr(self, t0, t1, half=None, **kwargs):
        """The Brownian increment; of a step that is known whole, one of its halves."""
        if half is not None and isinstance(self.path, OneStep):
            return self.path.half(half)
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control):
        """`Σ(V)^{1/2} dB`."""
        result = _applied(vf, control)
        return result.to_dense() if vf.dense else result
