"""Brownian motion of lower-triangular matrices on a grid of times.

One standard normal belongs to each (key, grid cell, path, entry), found by counting, not
by order of use: the path with a given global index is the same in any batch, chunk or
device, and is the same each time it is asked for (so reverse-mode gradients may recompute
it). Increments over several cells add up, so coarse and fine steps share one path.
"""

import math

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, PRNGKeyArray

from ._checks import count, found, is_concrete
from .matrices import UNROLLED_MAX, Lower, layout_shape, materialise, num_entries


def standard_normals(key: PRNGKeyArray, m: int, paths: Array | None, dtype) -> Lower:
    """Independent standard normals, one per entry of a lower triangle and per path.

    `paths` are global indices `(num_paths,)`, or None for a single matrix; path `i` gets
    the same normals whichever other paths it is drawn with.
    """
    entries = num_entries(m)
    index = jnp.zeros((1,), jnp.uint32) if paths is None else paths.astype(jnp.uint32)
    shape = (entries, index.shape[0])
    path = jnp.broadcast_to(index[None], shape)
    entry = jnp.broadcast_to(jnp.arange(entries, dtype=jnp.uint32)[:, None], shape)
    counters = jnp.concatenate([path.ravel(), entry.ravel()])
    words = threefry_2x32(jax.random.key_data(key), counters).reshape(2, *shape)
    z = materialise(_normal(words[0], words[1], dtype))
    if paths is None:
        z = z[:, 0]
    if m <= UNROLLED_MAX:
        return Lower(z, m)
    rows, columns = np.tril_indices(m)
    dense = jnp.zeros(layout_shape(m, z.shape[1:]), dtype)
    return Lower(dense.at[..., rows, columns].set(jnp.moveaxis(z, 0, -1)), m)


def _normal(high: Array, low: Array, dtype) -> Array:
    """A normal from 64 random bits (52 used) or, in float32, from 23 of them."""
    if dtype == jnp.float64:
        bits = (high.astype(jnp.uint64) << 20) | (low.astype(jnp.uint64) >> 12)
        uniform = (bits.astype(dtype) + 0.5) * 2.0**-51 - 1
    else:
        uniform = ((high >> 9).astype(dtype) + 0.5) * 2.0**-22 - 1
    return math.sqrt(2) * lax.erf_inv(uniform)


class BrownianGrid(diffrax.AbstractBrownianPath):
    """Brownian motion on lower-triangular matrices, known at the times of a grid.

    Each of the `m(m+1)/2` entries is an independent Brownian motion. For fixed steps
    whose ends lie on the grid; asked about other times, it raises an error.
    """

    ts: Float[Array, " cells+1"]
    key: PRNGKeyArray
    first_path: Array
    m: int = eqx.field(static=True)
    num_paths: int | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    def __init__(self, ts, m, *, key, num_paths=None, first_path=0, dtype=None):
        """**Arguments:**

        - `ts`: increasing grid of times (depth/width), shape `(cells + 1,)`.
        - `m`: number of rows of the matrices.
        - `key`: a JAX random key.
        - `num_paths`: number of independent paths, or None for a single matrix.
        - `first_path`: global index of the first of them.
        - `dtype`: float32 or float64; JAX's default if None.
        """
        dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
        self.ts = jnp.asarray(ts, dtype)
        if self.ts.ndim != 1 or self.ts.size < 2:
            raise ValueError(
                f"`ts` must be a grid of at least two times; got {found(ts)}. "
                "For example `jnp.linspace(0, 1, 65)`."
            )
        if is_concrete(self.ts) and not np.all(np.diff(np.asarray(self.ts)) > 0):
            raise ValueError("`ts` must increase; got times that do not. Sort them.")
        self.m = count("m", m, "It is the number of inputs.")
        if num_paths is not None:
            num_paths = count("num_paths", num_paths, "Use None for a single matrix.")
        self.num_paths = num_paths
        self.key = key
        self.first_path = jnp.asarray(first_path, jnp.uint32)
        self.dtype = dtype
        self.levy_area = diffrax.BrownianIncrement

    @property
    def t0(self):
        """First time of the grid."""
        return self.ts[0]

    @property
    def t1(self):
        """Last time of the grid."""
        return self.ts[-1]

    def coarsen(self, factor: int) -> Float[Array, " coarse+1"]:
        """Every `factor`-th time: steps on it use the same path, summed."""
        return self.ts[:: count("factor", factor, "It divides the number of cells.")]

    def cell(self, index: Array) -> Lower:
        """The increment over one cell of the grid."""
        paths = None
        if self.num_paths is not None:
            paths = self.first_path + jnp.arange(self.num_paths, dtype=jnp.uint32)
        z = standard_normals(jax.random.fold_in(self.key, index), self.m, paths, self.dtype)
        return z * jnp.sqrt(self.ts[index + 1] - self.ts[index])

    def evaluate(self, t0, t1=None, left=True, use_levy=False) -> Lower:
        """The increment over `[t0, t1]`, or from the start of the grid to `t0`."""
        del left
        if use_levy:
            raise ValueError(
                "`BrownianGrid` has no Lévy area; use a solver that needs none."
            )
        start, end = (self.ts[0], t0) if t1 is None else (t0, t1)
        first, last = self._index(start), self._index(end)
        batch = () if self.num_paths is None else (self.num_paths,)
        zero = Lower(jnp.zeros(layout_shape(self.m, batch), self.dtype), self.m)
        return lax.fori_loop(first, last, lambda i, total: total + self.cell(i), zero)

    def _index(self, t) -> Array:
        """Index of the grid time nearest to `t`; an error if `t` is not on the grid."""
        t = jnp.asarray(eqxi.nondifferentiable(t, name="t"), self.dtype)
        ts = eqxi.nondifferentiable(self.ts, name="ts")
        index = jnp.searchsorted(0.5 * (ts[1:] + ts[:-1]), t)
        tolerance = 1e-3 * jnp.min(ts[1:] - ts[:-1])
        return eqx.error_if(
            index,
            jnp.abs(ts[index] - t) > tolerance,
            "`BrownianGrid` was asked for a time that is not on its grid. Step on the "
            "grid (`diffrax.StepTo(ts)`), or use `diffrax.VirtualBrownianTree` for "
            "adaptive steps.",
        )
