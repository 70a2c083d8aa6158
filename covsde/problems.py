"""Named problems with a known expectation: to compare solvers on, one's own included.

```python
problem = covsde.problems.relu_pair()
vs = covsde.solve(problem.limit, problem.v0, problem.t1, key=key, num_paths=10_000).vs
error = problem.observable(vs[:, -1]).mean() - problem.exact
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._checks import count
from .activations import Identity, ShapedReLU, ShapedSmooth
from .laws import NormLaw, OneInput, PairLaw, TwoTokens
from .limits import AbstractLimit, ShapedAttention, ShapedMLP, UnshapedMLP
from .observables import correlation


@dataclass(frozen=True)
class Problem:
    """`E f(V_T)` of a limit from a start.

    - `name`, `limit`: what it is. `v0`, `t1`: covariance at the start, `(m, m)`, and T.
    - `observable`: f, a JAX function of covariances `(num_paths, m, m)`, or of the u that
      an [`covsde.UnshapedMLP`][] has in their place. Where `V` may explode it vanishes at
      infinity, and a path that exploded counts as 0.
    - `exact`: `E f(V_T)`, from a law of `covsde.laws`, to 1e-7 or better.
    """

    name: str
    limit: AbstractLimit
    v0: Array
    t1: float
    observable: Callable[[Float[Array, "num_paths *state"]], Float[Array, " num_paths"]]
    exact: float

    @property
    def m(self) -> int:
        """Number of inputs."""
        return self.v0.shape[-1]


def relu_pair() -> Problem:
    """Two inputs under a shaped ReLU, c = (0, −1), from ρ₀ = 0.3 to T = 1: `E ρ²`."""
    return _relu("relu pair", 2)


def relu(m: int) -> Problem:
    """`m` inputs under a shaped ReLU, c = (0, −1), all ρ₀ = 0.3, to T = 1: `E ρ²`.

    The mean over all pairs, each of which has the law of two inputs alone.

    **Arguments:**

    - `m`: number of inputs, at least 2.
    """
    return _relu(f"relu, m = {m}", count("m", m, "It is the number of inputs.", least=2))


def linear_pair() -> Problem:
    """Two inputs in a linear network, from ρ₀ = 0.3 to T = 1: `E ρ²`."""
    v0 = _equal_correlations(2, _RHO0)
    exact = PairLaw(_RHO0, 1.0, 0.0).expectation(np.square)
    return Problem(
        "linear pair", ShapedMLP(Identity()), v0, 1.0, _mean_square, float(exact)
    )


def near_singular() -> Problem:
    """Two inputs with `1 − ρ₀ = 1e-6`, shaped ReLU (0, −1), T = 1: `E log₁₀(1 − ρ²)`."""
    activation, rho0 = ShapedReLU(0.0, -1.0), 1 - 1e-6
    law = PairLaw(rho0, 1.0, float(activation.strength))
    exact = law.expectation(lambda theta: 2 * np.log10(np.sin(theta)), of_angle=True)
    v0 = _equal_correlations(2, rho0)
    return Problem("near singular", ShapedMLP(activation), v0, 1.0, _log_gap, float(exact))


def smooth() -> Problem:
    """One input under shaped tanh, a = 1, from V₀ = 1.5 to T = 1: `E 1/(1+V)`."""
    limit = ShapedMLP(ShapedSmooth(jnp.tanh, 1.0))
    law = NormLaw(float(limit.activation.stability_index), 1.5, 1.0)
    exact = law.expectation(_below_one)
    return Problem("smooth", limit, jnp.array([[1.5]]), 1.0, _of_norm, float(exact))


def explosive() -> Problem:
    """One input under shaped SiLU, a = 0.5, from V₀ = 1.5 to T = 1: `E 1/(1+V)`.

    Some paths explode.
    """
    limit = ShapedMLP(ShapedSmooth(jax.nn.silu, 0.5))
    one = OneInput(float(limit.activation.stability_index))
    exact = one.surviving(_below_one, 1.5, 1.0)
    return Problem("explosive", limit, jnp.array([[1.5]]), 1.0, _of_norm, float(exact))


def attention() -> Problem:
    """Two tokens, γ = 0.6, τ₀ = 0.7, V₀ = (1, 0.3; 0.3, 1), T = 0.5: `E 1/(1+d)`.

    `d = V¹¹ − 2V¹² + V²²` is their squared distance. Some paths explode.
    """
    limit = ShapedAttention(0.6, 0.7)
    exact = TwoTokens(limit).surviving(_below_one, 1.4, 0.5)
    v0 = _equal_correlations(2, _RHO0)
    return Problem("attention", limit, v0, 0.5, _of_distance, float(exact))


def unshaped() -> Problem:
    """Two inputs of an unshaped ReLU network, to T = 0.5: `u²` over its mean."""
    limit, v0, t1 = UnshapedMLP(), _equal_correlations(2, _RHO0), 0.5
    mean = limit.second_moment(t1)
    return Problem("unshaped", limit, v0, t1, lambda u: u**2 / mean, 1.0)


_RHO0 = 0.3


def _relu(name: str, m: int) -> Problem:
    activation = ShapedReLU(0.0, -1.0)
    exact = PairLaw(_RHO0, 1.0, float(activation.strength)).expectation(np.square)
    v0 = _equal_correlations(m, _RHO0)
    return Problem(name, ShapedMLP(activation), v0, 1.0, _mean_square, float(exact))


def _equal_correlations(m: int, rho: float) -> Array:
    return jnp.full((m, m), rho) + (1 - rho) * jnp.eye(m)


def _mean_square(v: Array) -> Array:
    """Mean over the pairs of ρ²."""
    rows, columns = np.tril_indices(v.shape[-1], -1)
    return jnp.mean(correlation(v)[:, rows, columns] ** 2, axis=-1)


def _log_gap(v: Array) -> Array:
    gap = (v[:, 0, 0] * v[:, 1, 1] - v[:, 0, 1] ** 2) / (v[:, 0, 0] * v[:, 1, 1])
    return jnp.log10(gap)


def _of_norm(v: Array) -> Array:
    return _below_one(v[:, 0, 0])


def _of_distance(v: Array) -> Array:
    return _below_one(v[:, 0, 0] - 2 * v[:, 0, 1] + v[:, 1, 1])


def _below_one(x):
    return 1 / (1 + x)
