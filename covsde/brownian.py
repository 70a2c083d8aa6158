"""Brownian motion of matrices on a grid of times.

One standard normal belongs to each (key, grid cell, path, entry), found by counting, not
by order of use: the path with a given global index is the same in any batch, chunk or
device, and is the same each time it is asked for (so reverse-mode gradients may recompute
it). Increments over several cells add up, so coarse and fine steps share one path.
"""

from typing import Any, Literal, cast

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from ._checks import check_finite, check_key, count, is_concrete, real_array
from ._normals import Normals, check_normals, independent_normals
from ._threefry import fold_in
from .matrices import Lower, Square, apart, multiply, num_entries

# As many times of a grid are looked through one by one.
_SHORT = 512

# Independent Brownian motions: of lower triangles, of square matrices, or several
NoiseShape = Literal["triangle", "square"] | tuple[Any, ...]


def count_entries(shape: NoiseShape, m: int) -> int:
    """How many independent Brownian motions a noise of this shape takes."""
    if shape == "triangle":
        return num_entries(m)
    if shape == "square":
        return m * m
    return sum(count_entries(part, m) for part in shape)


def arrange(shape: NoiseShape, entries: Array, m: int):
    """Entries, paths last, as the matrices of a noise of this shape."""
    if shape == "triangle":
        return Lower.from_entries(entries, m)
    if shape == "square":
        return Square.from_entries(entries, m)
    ends = np.cumsum([count_entries(part, m) for part in shape])[:-1]
    pieces = jnp.split(entries, ends)
    return tuple(arrange(p, e, m) for p, e in zip(shape, pieces, strict=True))


def _check_dtype(dtype) -> np.dtype:
    message = f"`dtype` must be float32 or float64; got {dtype!r}. None is JAX's default."
    try:
        checked = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    except TypeError as error:
        raise TypeError(message) from error
    if checked not in (jnp.float32, jnp.float64):
        raise TypeError(message)
    return checked


def _check_grid(ts, dtype: np.dtype) -> Array:
    way_out = "For example `jnp.linspace(0, 1, 65)`."
    accepted = "an increasing grid of at least two times"
    ts = real_array("ts", ts, accepted, way_out).astype(dtype)
    if ts.ndim != 1 or ts.size < 2:
        raise ValueError(f"`ts` must be {accepted}; got shape {ts.shape}. {way_out}")
    if is_concrete(ts):
        values = np.asarray(ts)
        check_finite("ts", values, way_out)
        wrong = np.flatnonzero(np.diff(values) <= 0)
        if wrong.size:
            first, second = values[wrong[0] : wrong[0] + 2]
            raise ValueError(
                f"`ts` must be {accepted}; got {first:.9g} and then {second:.9g} "
                f"({dtype}). Pass `jnp.unique(ts)`."
            )
    return ts


def _check_shape(shape) -> NoiseShape:
    if isinstance(shape, tuple | list) and shape:
        return tuple(_check_shape(part) for part in shape)
    if not isinstance(shape, str) or shape not in ("triangle", "square"):
        raise ValueError(
            '`noise_shape` must be "triangle", "square" or a tuple of them; got '
            f"{shape!r}. Pass `limit.diffusion.noise_shape`."
        )
    return shape


class LevyIncrement(eqx.Module):
    """What a strong scheme needs of a step: the increment and its Lévy area.

    - `motion`: the increment of the lower triangle B.
    - `area`: `½ ∫ (N dN − dN N)` from the step's start, of `N_ii = B_ii/√2`, `N_ij = B_ij`.
    """

    motion: Lower
    area: Lower


class BrownianGrid(diffrax.AbstractBrownianPath):
    """Brownian motion of matrices, known at the times of a grid.

    Each entry is an independent Brownian motion: the `m(m+1)/2` of a lower triangle, or
    those that a limit's diffusion needs. For fixed steps whose ends lie on the grid; asked
    about other times, it raises an error.
    """

    ts: Float[Array, " cells+1"]
    key: PRNGKeyArray
    first_path: Array
    m: int = eqx.field(static=True)
    num_paths: int | None = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)
    noise_shape: NoiseShape = eqx.field(static=True)
    exchanged: bool = eqx.field(static=True)
    normals: Normals = eqx.field(static=True)
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    def __init__(
        self,
        ts,
        m,
        *,
        key,
        num_paths=None,
        first_path=0,
        dtype=None,
        noise_shape: NoiseShape = "triangle",
        exchanged=False,
        normals: Normals = "box-muller",
    ):
        """**Arguments:**

        - `ts`: increasing grid of times (depth/width), shape `(cells + 1,)`.
        - `m`: number of rows of the matrices.
        - `key`: a JAX random key.
        - `num_paths`: number of independent paths, or None for a single matrix.
        - `first_path`: global index of the first of them.
        - `dtype`: float32 or float64; JAX's default if None.
        - `noise_shape`: what the noise needs, `limit.diffusion.noise_shape`: `"triangle"`,
          `"square"`, or a tuple of such.
        - `exchanged`: whether each cell of even number has the normals of the next, and
          conversely. On a grid of equal cells that is the antithetic of the same path for
          steps of two cells.
        - `normals`: how they are made of random bits: `"box-muller"`, or the much
          slower `"inverse"` of the distribution function, as in `jax.random.normal`.
        """
        self.normals = check_normals(normals)
        self.exchanged = bool(exchanged)
        self.noise_shape = _check_shape(noise_shape)
        self.dtype = _check_dtype(dtype)
        self.ts = _check_grid(ts, self.dtype)
        self.m = count("m", m, "It is the number of inputs.")
        if num_paths is not None:
            num_paths = count("num_paths", num_paths, "Use None for a single matrix.")
        self.num_paths = num_paths
        self.key = check_key(key)
        if is_concrete(first_path):
            way_out = "It is the global index of the first path."
            number = np.asarray(first_path)[()]
            first_path = count("first_path", number, way_out, least=0)
        self.first_path = jnp.asarray(first_path, jnp.uint32)
        self.levy_area = diffrax.BrownianIncrement

    @property
    def t0(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """First time of the grid."""
        return self.ts[0]

    @property
    def t1(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Last time of the grid."""
        return self.ts[-1]

    def coarsen(self, factor: int) -> Float[Array, " coarse+1"]:
        """Every `factor`-th time: steps on it use the same path, summed."""
        cells = self.ts.size - 1
        factor = count("factor", factor, "It divides the number of cells.")
        if cells % factor:
            raise ValueError(
                f"`factor` must divide the number of cells, {cells}; got {factor}. Make "
                f"`ts` a grid of {factor * -(-cells // factor)} cells."
            )
        return self.ts[::factor]

    def cell(self, index: Array) -> Any:
        """The increment over one cell of the grid."""
        one = jnp.ones((), self.dtype)
        return arrange(self.noise_shape, _drawn(self, index, one), self.m)

    def entries(self, t0, t1) -> Float[Array, "*num_paths entries"]:
        """The increment over `[t0, t1]` entry by entry, as `count_entries` counts them.

        They are independent normals of mean 0 and variance `t1 − t0`.
        """
        return jnp.moveaxis(_summed(self, jnp.asarray(t0), jnp.asarray(t1)), 0, -1)

    def evaluate(self, t0, t1=None, left=True, use_levy=False) -> Any:
        """The increment over `[t0, t1]`, or from the start of the grid to `t0`.

        With `use_levy` a [`covsde.brownian.LevyIncrement`][], whose area is that of the
        path which is straight within each cell.
        """
        del left
        if use_levy and self.noise_shape != "triangle":
            raise ValueError(
                "`BrownianGrid` has Lévy areas of lower triangles alone; got the noise "
                f"shape {self.noise_shape!r}. Use a solver that needs none."
            )
        start, end = (self.ts[0], t0) if t1 is None else (t0, t1)
        start, end = jnp.asarray(start), jnp.asarray(end)
        if use_levy:
            return self._with_area(*_cells(self.ts, start, end))
        return _added_up(self, start, end)

    def _with_area(self, first: Array, last: Array) -> LevyIncrement:
        """The increment over cells from `first` to `last`, and its area."""
        batch = () if self.num_paths is None else (self.num_paths,)
        nothing = jnp.zeros((count_entries(self.noise_shape, self.m), *batch), self.dtype)
        zero = cast(Lower, arrange(self.noise_shape, nothing, self.m))

        def add(index, total: LevyIncrement) -> LevyIncrement:
            increment = self.cell(index)
            n, dn = (x.scale_diagonal(0.5**0.5) for x in (total.motion, increment))
            area = (multiply(n, dn) - multiply(dn, n)) * 0.5
            return LevyIncrement(total.motion + increment, total.area + area)

        return lax.fori_loop(first, last, add, LevyIncrement(zero, zero))


@apart
def _added_up(path: BrownianGrid, start: Array, end: Array) -> Any:
    """The increment between two times of the grid."""
    return arrange(path.noise_shape, _summed(path, start, end), path.m)


def _summed(path: BrownianGrid, start: Array, end: Array) -> Array:
    """The entries of that increment, paths last."""
    first, last = _cells(path.ts, start, end)
    # most steps have one cell, which needs no sum; an empty one has none
    total = _drawn(path, first, jnp.where(last > first, 1.0, 0.0).astype(path.dtype))
    one = jnp.ones((), path.dtype)
    return lax.fori_loop(first + 1, last, lambda i, x: x + _drawn(path, i, one), total)


@apart
def _drawn(path: BrownianGrid, index: Array, times: Array) -> Array:
    """The entries of the increment over one cell, `times` a number."""
    paths = None
    if path.num_paths is not None:
        paths = path.first_path + jnp.arange(path.num_paths, dtype=jnp.uint32)
    entries = count_entries(path.noise_shape, path.m)
    drawn = jnp.asarray(index) ^ 1 if path.exchanged else index
    words = fold_in(path.key, drawn)
    deviation = times * jnp.sqrt(path.ts[index + 1] - path.ts[index])
    return independent_normals(words, entries, paths, path.dtype, path.normals, deviation)


@apart
def _cells(ts: Array, t0: Array, t1: Array) -> tuple[Array, Array]:
    """Indices of the grid times nearest to these; an error if one is not on the grid."""
    times = eqxi.nondifferentiable(jnp.stack([t0, t1]).astype(ts.dtype), name="times")
    index, near = _nearest(eqxi.nondifferentiable(ts, name="ts"), times)
    index = eqx.error_if(
        index,
        ~near,
        "`BrownianGrid` was asked for a time that is not on its grid. Step on the "
        "grid, e.g. with `diffrax.StepTo(ts)`; steps cannot adapt.",
    )
    return index[0], index[1]


@apart
def _nearest(ts: Array, times: Array) -> tuple[Array, Array]:
    """Indices of the grid times nearest to some, and whether these are on the grid."""
    # halving takes a loop of tiny kernels, which on a short grid is the longer way
    method = "compare_all" if ts.size <= _SHORT else "scan"
    above = jnp.clip(jnp.searchsorted(ts, times, method=method), 1, ts.size - 1)
    left, right = ts[above - 1], ts[above]
    below = times - left < right - times
    off = jnp.abs(jnp.where(below, left, right) - times)
    return jnp.where(below, above - 1, above), jnp.all(off <= 0.1 * (right - left))
