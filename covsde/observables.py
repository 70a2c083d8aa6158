"""Observables: what is read off a covariance matrix, on ordinary arrays `(..., m, m)`.

A function reads all entries of a kind. A module, such as `Correlation(0, 1)`, reads one
number, and knows what it is called: every call that takes observables takes it, and any
function that returns one number for each matrix, too.
"""

import abc
from collections.abc import Callable
from itertools import combinations
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._checks import count
from ._names import full_name


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


class AbstractObservable(eqx.Module):
    """One number read off a state: off a covariance V, or off what a limit has instead.

    A new one is one method, `__call__`. A plain JAX function is an observable, too.
    """

    # What it is of: those of one kind stand together in a table.
    kind: ClassVar[str] = "function"

    @abc.abstractmethod
    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""

    @property
    def label(self) -> str:
        """What it is called in tables, e.g. `ρ[0,1]`."""
        return full_name(self)

    @property
    def inputs(self) -> tuple[int, int] | None:
        """The two inputs that it is of, counted from 0, or the one, twice; else None."""
        return None


def label(observable: Callable) -> str:
    """What an observable is called in tables; of a plain function, its name."""
    if isinstance(observable, AbstractObservable):
        return observable.label
    return full_name(observable).strip("<>")


class Entry(AbstractObservable):
    """`V^{ab}`."""

    a: int = eqx.field(static=True)
    b: int = eqx.field(static=True)
    kind: ClassVar[str] = "V"

    def __init__(self, a: int, b: int):
        """**Arguments:**

        - `a`, `b`: two inputs, counted from 0; they may be the same.
        """
        self.a, self.b = _input("a", a), _input("b", b)

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        _check_inputs(self, v.shape[-1])
        return v[..., self.a, self.b]

    @property
    def label(self) -> str:
        """`V[a,b]`."""
        return f"V[{self.a},{self.b}]"

    @property
    def inputs(self) -> tuple[int, int]:
        """Both inputs."""
        return self.a, self.b


class LogNorm(AbstractObservable):
    """`log V^{aa}`, the log squared norm of one input's layer."""

    a: int = eqx.field(static=True)
    kind: ClassVar[str] = "log V"

    def __init__(self, a: int):
        """**Arguments:**

        - `a`: an input, counted from 0.
        """
        self.a = _input("a", a)

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        _check_inputs(self, v.shape[-1])
        return jnp.log(v[..., self.a, self.a])

    @property
    def label(self) -> str:
        """`log V[a,a]`."""
        return f"log V[{self.a},{self.a}]"

    @property
    def inputs(self) -> tuple[int, int]:
        """The input, twice."""
        return self.a, self.a


class Correlation(AbstractObservable):
    """`ρ^{ab} = V^{ab}/√(V^{aa} V^{bb})`."""

    a: int = eqx.field(static=True)
    b: int = eqx.field(static=True)
    kind: ClassVar[str] = "rho"

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
        # entry by entry as `correlation`, to the last bit
        a, b = self.a, self.b
        scaled = v[..., a, b] * (1 / jnp.sqrt(v[..., a, a])) * (1 / jnp.sqrt(v[..., b, b]))
        return jnp.clip(scaled, -1.0, 1.0)

    @property
    def label(self) -> str:
        """`ρ[a,b]`."""
        return f"ρ[{self.a},{self.b}]"

    @property
    def inputs(self) -> tuple[int, int]:
        """Both inputs."""
        return self.a, self.b


class LogDet(AbstractObservable):
    """`log det V`."""

    kind: ClassVar[str] = "log det V"

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        return log_det(v)

    @property
    def label(self) -> str:
        """`log det V`."""
        return self.kind


class MeanVariance(AbstractObservable):
    """`tr V/m`, what a path is stopped by."""

    kind: ClassVar[str] = "tr V/m"

    def __call__(self, v: Float[Array, "*batch m m"]) -> Float[Array, "*batch"]:
        """One number for each matrix."""
        return mean_variance(v)

    @property
    def label(self) -> str:
        """`tr V/m`."""
        return self.kind


class Nearness(AbstractObservable):
    """`u = 1/(n √(1−ρ))` of two inputs: the state of an [`covsde.UnshapedMLP`][]."""

    kind: ClassVar[str] = "u"

    def __call__(self, v: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """`u` itself, which is what there is to read."""
        return v

    @property
    def label(self) -> str:
        """`u`."""
        return self.kind


def describing(m: int) -> tuple[AbstractObservable, ...]:
    """What describes a covariance of m inputs: its norms, correlations and determinant.

    For one input `log det V` is `log V`, and left out.
    """
    norms = [LogNorm(a) for a in range(m)]
    pairs = [Correlation(a, b) for a, b in combinations(range(m), 2)]
    return (*norms, *pairs, *([LogDet()] if m > 1 else []))


def _input(name: str, x) -> int:
    return count(name, x, "Inputs are counted from 0.", least=0)


def _check_inputs(observable: AbstractObservable, m: int) -> None:
    """JAX would read the last input in place of one that does not exist."""
    largest = max(observable.inputs or (0,))
    if largest >= m:
        raise IndexError(
            f"`v` must have at least {largest + 1} inputs for {full_name(observable)}; got "
            f"{m}. Inputs are counted from 0."
        )
