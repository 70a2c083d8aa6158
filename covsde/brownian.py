"""Brownian motion of matrices on a grid of times.

One standard normal belongs to each (key, grid cell, path, entry), found by counting, not
by order of use: the path with a given global index is the same in any batch, chunk or
device, and is the same each time it is asked for (so reverse-mode gradients may recompute
it). Increments over several cells add up, so coarse and fine steps share one path.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from ._checks import (
    check_finite,
    check_key,
    count,
    count_paths,
    is_concrete,
    real_array,
)
from ._normals import (
    Normals,
    check_normals,
    independent_normals,
    independent_uniforms,
)
from ._threefry import fold_in
from .matrices import Lower, Square, apart, multiply, num_entries

# As many times of a grid are looked through one by one.
_SHORT = 512

# Independent Brownian motions: of lower triangles, of square matrices, or several; or one,
# of a number
NoiseShape = Literal["triangle", "square", "number"] | tuple[Any, ...]


def count_entries(shape: NoiseShape, m: int) -> int:
    """How many independent Brownian motions a noise of this shape takes."""
    if shape == "triangle":
        return num_entries(m)
    if shape == "square":
        return m * m
    if shape == "number":  # and its space-time area
        return 2
    return sum(count_entries(part, m) for part in shape)


def arrange(shape: NoiseShape, entries: Array, m: int):
    """Entries, paths last, as the matrices of a noise of this shape."""
    if shape == "triangle":
        return Lower.from_entries(entries, m)
    if shape == "square":
        return Square.from_entries(entries, m)
    if shape == "number":
        return entries[0]
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
        wrong = np.flatnonzero(values[1:] <= values[:-1])
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
    those that a limit's diffusion needs. For fixed steps forwards in time, whose ends lie
    on the grid; asked about others, it raises an error.
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
        - `first_path`: global index of the first of them; that of the last is below 2^32.
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
        self.key = check_key(key)
        first = 0
        if is_concrete(first_path):
            way_out = "It is the global index of the first path."
            number = np.asarray(first_path)[()]
            first_path = first = count("first_path", number, way_out, least=0)
        way_out = "Use None for a single matrix."
        paths = 1 if num_paths is None else num_paths
        paths = count_paths("num_paths", paths, way_out, first_path=first)
        self.num_paths = None if num_paths is None else paths
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
        first, last = _cells(self.ts, jnp.asarray(t0), jnp.asarray(t1))
        return jnp.moveaxis(_summed(self, first, last), 0, -1)

    def whole(self, cells: Array | None = None) -> Float[Array, "*num_paths entries"]:
        """The increment over all of the grid, entry by entry, or over its first cells.

        It is that of `entries(t0, t1)`, whose times are looked up on the grid; here
        none is, and a program has no error to raise.
        """
        last = self.ts.size - 1 if cells is None else cells
        return jnp.moveaxis(_summed(self, 0, last), 0, -1)

    def evaluate(self, t0, t1=None, left=True, use_levy=False) -> Any:
        """The increment over `[t0, t1]`, or from the start of the grid to `t0`.

        With `use_levy` a [`covsde.brownian.LevyIncrement`][], whose area is that of the
        path which is straight within each cell.
        """
        del left
        if use_levy:
            _refuse_area(self.noise_shape)
        start, end = (self.ts[0], t0) if t1 is None else (t0, t1)
        start, end = jnp.asarray(start), jnp.asarray(end)
        if not use_levy:
            return _added_up(self, start, end)
        batch = () if self.num_paths is None else (self.num_paths,)
        nothing = jnp.zeros((count_entries(self.noise_shape, self.m), *batch), self.dtype)
        zero = cast(Lower, arrange(self.noise_shape, nothing, self.m))
        return _with_area(self.cell, *_cells(self.ts, start, end), zero)


class Motion(eqx.Module):
    """The Brownian motion of some paths, of which each step asks by its own number.

    A path's increments belong to the key, its global index and the number of its step, as
    those of a grid belong to its cells: so steps may have any length that is known when
    they begin, the same for all paths or another for each.
    """

    key: PRNGKeyArray
    paths: UInt32[Array, " num_paths"]
    m: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)  # in a step
    dtype: np.dtype = eqx.field(static=True)
    noise_shape: NoiseShape = eqx.field(static=True)
    normals: Normals = eqx.field(static=True, default="box-muller")
    exchanged: bool = eqx.field(static=True, default=False)

    @staticmethod
    def of(grid: BrownianGrid, cells: int) -> "Motion":
        """That of a grid, by steps of so many of its cells, which are equally long."""
        return Motion(
            grid.key,
            grid.first_path + jnp.arange(grid.num_paths or 1, dtype=jnp.uint32),
            grid.m,
            cells,
            grid.dtype,
            grid.noise_shape,
            grid.normals,
            grid.exchanged,
        )

    def step(self, number: Array, length: Array) -> "OneStep":
        """The increments over a step, of all paths or of each."""
        return OneStep(
            motion=self,
            number=jnp.asarray(number),
            length=jnp.asarray(length, self.dtype),
        )

    def uniforms(self, number: Array) -> Float[Array, " num_paths"]:
        """Numbers of (0, 1), one for a step of each path, independent of its increments."""
        apart_from = jax.random.wrap_key_data(
            fold_in(self.key, jnp.uint32(2**32 - 1)), impl="threefry2x32"
        )
        return independent_uniforms(fold_in(apart_from, number), self.paths, self.dtype)


class OneStep(diffrax.AbstractBrownianPath):
    """A Brownian path that knows one step, of all paths or of each, and its halves.

    It is asked for all of it, whatever the times: of a step of each path there are many.
    """

    motion: Motion
    number: Array
    length: Array
    shift: Array | None = None  # per unit of time, `(entries, num_paths)`
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    @property
    def t0(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The start of the step."""
        return jnp.zeros_like(self.length)

    @property
    def t1(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The end of the step, from its start."""
        return self.length

    def evaluate(self, t0, t1=None, left=True, use_levy=False) -> Any:
        """The increment of the step; with `use_levy` its area, too: of a number, that in
        space and time."""
        del t0, t1, left
        if not use_levy:
            return _over(self, 0, self.motion.cells)
        if self.motion.noise_shape == "number":
            w, area = self.entries()
            return diffrax.SpaceTimeLevyArea(dt=self.length, W=w, H=area / 12**0.5)
        _refuse_area(self.motion.noise_shape)
        return _with_area(
            lambda index: _over(self, index, 1),
            0,
            self.motion.cells,
            cast(Lower, self.arranged(jnp.zeros(self._shape, self.motion.dtype))),
        )

    def uniforms(self) -> Float[Array, " num_paths"]:
        """Numbers of (0, 1), one for each path, independent of the increments."""
        return self.motion.uniforms(self.number)

    def half(self, which: int) -> Any:
        """The increment of the first half, 0, or of the second, 1."""
        size = self.motion.cells // 2
        return _over(self, which * size, size)

    def entries(self, first: Array | int = 0, cells: int | None = None) -> Array:
        """The independent entries over some cells, `(entries, num_paths)`; all if None."""
        motion = self.motion
        cells = motion.cells if cells is None else cells
        deviation = jnp.sqrt(self.length / motion.cells)

        def drawn(index) -> Array:
            number = self.number * motion.cells + index
            return _entries(motion, number, motion.paths, deviation)

        total = drawn(first)
        if cells > 1:
            total = lax.fori_loop(1, cells, lambda i, x: x + drawn(first + i), total)
        if self.shift is None:
            return total
        time = jnp.atleast_1d(self.length * cells / motion.cells)
        return total + self.shift * time[None]

    @property
    def _shape(self) -> tuple[int, int]:
        motion = self.motion
        return count_entries(motion.noise_shape, motion.m), motion.paths.size

    def arranged(self, entries: Array) -> Any:
        """Entries as the matrices that the noise takes."""
        return arrange(self.motion.noise_shape, entries, self.motion.m)


@apart
def _over(step: OneStep, first: Array | int, cells: int) -> Any:
    """The increment over some cells of a step."""
    return step.arranged(step.entries(first, cells))


def _refuse_area(noise_shape: NoiseShape) -> None:
    if noise_shape != "triangle":
        raise ValueError(
            "`BrownianGrid` has Lévy areas of lower triangles alone; got the noise shape "
            f"{noise_shape!r}. Use a solver that needs none."
        )


def _with_area(cell: Callable[[Any], Lower], first, last, zero: Lower) -> LevyIncrement:
    """The increment over cells from `first` to `last`, and its area."""

    def add(index, total: LevyIncrement) -> LevyIncrement:
        increment = cell(index)
        n, dn = (x.scale_diagonal(0.5**0.5) for x in (total.motion, increment))
        area = (multiply(n, dn) - multiply(dn, n)) * 0.5
        return LevyIncrement(total.motion + increment, total.area + area)

    return lax.fori_loop(first, last, add, LevyIncrement(zero, zero))


@apart
def _added_up(path: BrownianGrid, start: Array, end: Array) -> Any:
    """The increment between two times of the grid."""
    cells = _cells(path.ts, start, end)
    return arrange(path.noise_shape, _summed(path, *cells), path.m)


def _summed(path: BrownianGrid, first: Any, last: Any) -> Array:
    """The entries of the increment over these cells, paths last."""
    # most steps have one cell, which needs no sum; an empty one has none
    total = _drawn(path, first, jnp.where(last > first, 1.0, 0.0).astype(path.dtype))
    one = jnp.ones((), path.dtype)
    return lax.fori_loop(first + 1, last, lambda i, x: x + _drawn(path, i, one), total)


def _drawn(path: BrownianGrid, index: Array, times: Array) -> Array:
    """The entries of the increment over one cell, `times` a number."""
    paths = None
    if path.num_paths is not None:
        paths = path.first_path + jnp.arange(path.num_paths, dtype=jnp.uint32)
    deviation = times * jnp.sqrt(path.ts[index + 1] - path.ts[index])
    return _entries(path, index, paths, deviation)


@apart
def _entries(path: Any, index: Array, paths: Array | None, deviation: Array) -> Array:
    """The entries over the cell of this number, that of all paths or of each."""
    drawn = jnp.asarray(index) ^ 1 if path.exchanged else index
    count = count_entries(path.noise_shape, path.m)
    words = fold_in(path.key, drawn)
    return independent_normals(words, count, paths, path.dtype, path.normals, deviation)


@apart
def _cells(ts: Array, t0: Array, t1: Array) -> tuple[Array, Array]:
    """Indices of the grid times nearest to these; an error for others, or back in time."""
    times = eqxi.nondifferentiable(jnp.stack([t0, t1]).astype(ts.dtype), name="times")
    index, near = _nearest(eqxi.nondifferentiable(ts, name="ts"), times)
    index = eqx.error_if(
        index,
        ~near | (index[1] < index[0]),
        "`BrownianGrid` was asked for a time that is not on its grid, or for a step back "
        "in time. Step forwards on the grid, e.g. with `diffrax.StepTo(ts)`; steps cannot "
        "adapt.",
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
