"""Observables: what is read off a covariance matrix, on ordinary arrays `(..., m, m)`.

A function reads all entries of a kind. A module, such as `Correlation(0, 1)`, reads one
number, and is what a law is asked for by.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._checks import count


def log_diagonal(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch m"]:
    """`log V^{aa}`, the log squared norm of each input's layer."""
    return jnp.log(jnp.diagonal(v, axis1=-2, axis2=-1))


def correlation(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch m m"]:
    """`ρ^{ab} = V^{ab}/√(V^{aa} V^{bb})`; its diagonal is exactly 1."""
    scale = 1 / jnp.sqrt(jnp.diagonal(v, axis1=-2, axis2=-1))
    rho = v * scale[..., :, None] * scale[..., None, :]
    eye = jnp.eye(v.shape[-1], dtype=bool).reshape((1,) * (v.ndim - 2) + v.shape[-2:])
    return jnp.where(eye, 1.0, jnp.clip(rho, -1.0, 1.0))


def log_det(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
    """`log det V`; −∞ where `V` is singular to rounding."""
    factor = jnp.linalg.cholesky(v)
    value = 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


def mean_variance(v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
    """`tr V/m`, what a path is stopped by."""
    return jnp.trace(v, axis1=-2, axis2=-1) / v.shape[-1]


class Entry(eqx.Module):
    """`V^{ab}`."""

    a: int = eqx.field(static=True)
    b: int = eqx.field(static=True)

    def __init__(self, a: int, b: int):
        """**Arguments:**

        - `a`, `b`: two inputs, counted from 0; they may be the same.
        """
        self.a, self.b = _input("a", a), _input("b", b)

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        _check_inputs(self, v.shape[-1])
        return v[..., self.a, self.b]


class LogNorm(eqx.Module):
    """`log V^{aa}`, the log squared norm of one input's layer."""

    a: int = eqx.field(static=True)

    def __init__(self, a: int):
        """**Arguments:**

        - `a`: an input, counted from 0.
        """
        self.a = _input("a", a)

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        _check_inputs(self, v.shape[-1])
        return log_diagonal(v)[..., self.a]


class Correlation(eqx.Module):
    """`ρ^{ab} = V^{ab}/√(V^{aa} V^{bb})`."""

    a: int = eqx.field(static=True)
    b: int = eqx.field(static=True)

    def __init__(self, a: int, b: int):
        """**Arguments:**

        - `a`, `b`: two different inputs, counted from 0.
        """
        self.a, self.b = _input("a", a), _input("b", b)
        if self.a == self.b:
            raise ValueError(
                f"`b` must differ from `a`; got {a} for both. An input's correlation with "
                "itself is 1."
            )

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        _check_inputs(self, v.shape[-1])
        return correlation(v)[..., self.a, self.b]


class LogDet(eqx.Module):
    """`log det V`."""

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        return log_det(v)


def _input(name: str, x) -> int:
    return count(name, x, "Inputs are counted from 0.", least=0)


def _check_inputs(observable: Entry | LogNorm | Correlation, m: int) -> None:
    """JAX would read the last input in place of one that does not exist."""
    largest = max(observable.a, getattr(observable, "b", 0))
    if largest >= m:
        raise IndexError(
            f"`v` must have at least {largest + 1} inputs for {observable}; got {m}. "
            "Inputs are counted from 0."
        )
