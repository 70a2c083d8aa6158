"""What a single step of a scheme leaves of the equation, without Monte-Carlo noise.

For a smooth observable, `E f(V_h) = f + h 𝓛f + h²/2 𝓛²f + O(h³)`, with the generator `𝓛`
from the limit's own drift and covariance of the noise by automatic differentiation. A
scheme of weak order 2 agrees through `h²`, so what is left shrinks like `h³`; one of
order 1 leaves `h²`. The mean over the step's normals is a Gauss–Hermite sum.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from covsde import AbstractLimit
from covsde.matrices import factorise, gram, num_entries

from ._chain import GivenPath


def observables(v):
    """Bounded, sensitive to drift and noise: a norm, a correlation and its square."""
    rho = v[-2, -1] / jnp.sqrt(v[-2, -2] * v[-1, -1])
    return jnp.stack([v[-1, -1] / (1 + v[-1, -1]), rho, rho**2])


def generator(limit: AbstractLimit, f: Callable) -> Callable:
    """`𝓛f`, for `f` of one m×m matrix with values in a vector."""

    def lf(v):
        _, along = jax.jvp(f, (v,), (limit.drift(jnp.zeros(()), v, None),))
        second = jax.jacfwd(jax.jacfwd(f))(v)
        noise = jnp.einsum("abcd,iabcd->i", limit.diffusion.covariance(v), second)
        return along + noise / 2

    return lf


def remainders(
    limit: AbstractLimit, solver, v0, lengths: Sequence[float], nodes: int
) -> np.ndarray:
    """The largest `|E f(V_1) − f − h 𝓛f − h²/2 𝓛²f|` of the observables, for each `h`.

    Three nodes for each normal integrate polynomials of degree 5 exactly, which is all
    that the powers up to `h²` need; what they miss is of order `h³`.
    """
    m, cells = v0.shape[-1], solver.cells_per_step
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    dims = cells * num_entries(m)
    normals = np.array(list(itertools.product(z, repeat=dims))).T
    weights = np.array(list(itertools.product(w / w.sum(), repeat=dims))).prod(axis=1)
    normals = jnp.asarray(normals.reshape(cells, num_entries(m), -1))
    f = observables
    lf = generator(limit, f)
    f0, f1, f2 = (jax.jit(g)(v0) for g in (f, lf, generator(limit, lf)))

    @jax.jit
    def left(h, normals, weights, v0):
        terms = limit.terms(GivenPath(normals, h / cells, m))
        start = factorise(jnp.broadcast_to(v0, (weights.size, m, m)))
        end, *_ = solver.step(terms, jnp.zeros(()), h, start, None, None, False)
        # f(V_0) is taken off before the sum, so that rounding stays far below h³
        change = jax.vmap(f, out_axes=1)(gram(end).to_dense()) - f0[:, None]
        return jnp.max(jnp.abs(change @ weights - h * f1 - h**2 / 2 * f2))

    return np.array([float(left(jnp.asarray(h), normals, weights, v0)) for h in lengths])
