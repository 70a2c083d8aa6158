"""The baseline: Euler–Maruyama on V, pushed back onto the cone and counted."""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import jax.numpy as jnp
from jax import lax

from ..matrices import cholesky, semidefinite_cholesky
from ..states import covariance_of, like
from ..terms import forwards


class ProjectedEuler(diffrax.AbstractItoSolver):
    """Weak order 1, for comparison: `V + h b + F ΔS Fᵀ` with negative eigenvalues cut.

    `solution.projections` counts, per path, the steps that were projected.
    """

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]
    ]
    interpolation_cls: ClassVar[Callable] = staticmethod(
        lambda *, projected, **ends: diffrax.LocalLinearInterpolation(**ends)
    )
    weak_order: ClassVar[int] = 1
    cells_per_step: ClassVar[int] = 1
    accepts_singular: ClassVar[bool] = True
    stays_within: ClassVar[bool] = True

    def max_step(self, limit, m, t1=1.0):
        return jnp.inf

    def order(self, terms):
        return self.weak_order

    def strong_order(self, terms):
        return 0.5

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del made_jump
        t0, t1 = forwards(terms, t0, t1)
        v = covariance_of(y0)
        factor = semidefinite_cholesky(v)
        drift, noise = terms.vf(t0, factor, args)
        _, increment = terms.contr(t0, t1)
        euler = v + drift.velocity(t0, v) * (t1 - t0) + noise.apply(factor, increment)
        left = euler.any_row(~(cholesky(euler).diagonal() > 0))
        projected = lax.cond(
            jnp.any(left),
            lambda: euler.map_dense(_project).where(left, euler),
            lambda: euler,
        )
        y1 = like(y0, projected)
        dense_info = dict(y0=y0, y1=y1, projected=left)
        return y1, None, dense_info, None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _project(v):
    """The nearest positive semi-definite matrix."""
    values, vectors = jnp.linalg.eigh(v)
    return (vectors * jnp.maximum(values, 0.0)[None]) @ vectors.T
