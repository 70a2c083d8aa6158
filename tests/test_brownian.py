"""Brownian motion on a grid: its law, and which numbers it is made of."""

import diffrax
import equinox as eqx
import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from covsde import BrownianGrid
from covsde._normals import _log, independent_normals
from covsde._threefry import fold_in, threefry_2x32

KEY = jax.random.key(3)
LIMIT, V0 = covsde.ShapedMLP(covsde.Identity()), jnp.array([[1.0, 0.3], [0.3, 1.0]])
TS = jnp.array([0.0, 0.1, 0.3, 0.35, 0.6, 1.0])  # uneven
PACKED_AND_WHOLE = pytest.mark.parametrize("m", [2, 9])


def grid(m=2, num_paths: int | None = 5, ts=TS, key=KEY, **options):
    return BrownianGrid(ts, m, key=key, num_paths=num_paths, **options)


@eqx.filter_jit
def _every_cell(path):
    cells = jnp.arange(path.ts.size - 1)
    return jax.lax.map(lambda i: path.cell(i).to_dense(), cells)


def every_cell(path):
    """Increments over all cells, `(cells, num_paths, m, m)`."""
    return np.asarray(_every_cell(path))


@eqx.filter_jit
def _increment(path, t0, t1):
    return path.evaluate(t0, t1).to_dense()


def increment(path, t0, t1=None):
    """The increment over `[t0, t1]`, `(num_paths, m, m)`."""
    times = (None if t is None else jnp.asarray(t) for t in (t0, t1))
    return np.asarray(_increment(path, *times))


def lower_entries(increments):
    """The entries on and below the diagonal, `(..., m(m+1)/2)`."""
    rows, columns = np.tril_indices(increments.shape[-1])
    return increments[..., rows, columns]


def four_standard_errors(samples):
    """Of the mean over the first axis."""
    return 4 * samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


# The law


@PACKED_AND_WHOLE
def test_entries_have_the_variance_of_the_cell(m):
    path = grid(m, num_paths=4000)
    entries = lower_entries(every_cell(path))  # (cells, paths, entries)
    for cell, h in zip(entries, np.diff(TS), strict=True):
        np.testing.assert_array_less(np.abs(cell.mean(axis=0)), four_standard_errors(cell))
        excess = cell**2 - h
        np.testing.assert_array_less(
            np.abs(excess.mean(axis=0)), four_standard_errors(excess)
        )


@PACKED_AND_WHOLE
def test_above_the_diagonal_is_nothing(m):
    cells = every_cell(grid(m))
    np.testing.assert_array_equal(cells, np.tril(cells))


def test_entries_paths_and_steps_are_independent():
    path = grid(3, num_paths=20_000, ts=jnp.linspace(0.0, 3.0, 4))
    z = lower_entries(every_cell(path))  # (3 cells, paths, 6 entries), unit variance
    entries = np.moveaxis(z, 1, 0).reshape(20_000, -1)  # cells × entries, per path
    first, second = np.triu_indices(entries.shape[1], 1)
    pairs = {
        "entries and steps": entries[:, first] * entries[:, second],
        "squares of entries and steps": (entries[:, first] ** 2 - 1)
        * (entries[:, second] ** 2 - 1),
        "neighbouring paths": entries[1::2] * entries[::2],
        "paths half apart": entries[:10_000] * entries[10_000:],
    }
    # each of 348 products has mean 0; Bonferroni at 1e-3 for all of them together
    count = sum(products.shape[1] for products in pairs.values())
    level = stats.norm.isf(1e-3 / 2 / count)
    for name, products in pairs.items():
        error = products.std(axis=0, ddof=1) / np.sqrt(len(products))
        assert np.abs(products.mean(axis=0) / error).max() < level, name


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_normals_are_normal(dtype):
    z = independent_normals(KEY, 1, jnp.arange(100_000), dtype).ravel()
    assert z.dtype == dtype
    z = np.asarray(z, dtype=float)
    # the resolution of 23 bits near 0 is 2^-22: far below the distance of 1e5 samples
    assert stats.kstest(z, "norm").pvalue > 1e-3
    tails = np.mean(np.abs(z) > 3.0)
    expected = 2 * stats.norm.sf(3.0)
    assert abs(tails - expected) < 4 * np.sqrt(expected / len(z))


def test_float32_normals_are_finite_and_float64_ones_far_apart():
    z = independent_normals(KEY, 45, jnp.arange(20_000), jnp.float32)
    assert np.all(np.isfinite(z)) and np.abs(z).max() < 5.5  # Φ⁻¹(1 − 2⁻²³) = 5.3
    z = independent_normals(KEY, 1, jnp.arange(100_000), jnp.float64).ravel()
    assert len(np.unique(z)) == len(z)


def test_millions_of_normals():
    """Moments up to 8, tails, and the distance of Kolmogorov and Smirnov, of 1e7."""
    entries, paths = 10, 1_000_000
    z = np.asarray(independent_normals(KEY, entries, jnp.arange(paths), jnp.float64))
    # each statistic is standard normal; Bonferroni at 1e-3 for all of them together
    found, powers = [], np.ones_like(z)
    for power in range(1, 9):
        powers *= z
        mean = stats.norm.moment(power)
        error = np.sqrt((stats.norm.moment(2 * power) - mean**2) / paths)
        found.append((np.mean(powers, axis=1) - mean) / error)
    for level in (2.0, 3.0, 4.0, 4.5):
        share = 2 * stats.norm.sf(level)
        error = np.sqrt(share * (1 - share) / z.size)
        found.append([(np.mean(np.abs(z) > level) - share) / error])
    first, second = np.triu_indices(entries, 1)
    squares = (z**2 - 1) / np.sqrt(2)
    for x in (z, squares):
        found.append((x @ x.T)[first, second] / np.sqrt(paths))
    found.append(np.mean(z[:, 1:] * z[:, :-1], axis=1) * np.sqrt(paths))
    found = np.concatenate(found)
    assert np.abs(found).max() < stats.norm.isf(1e-3 / 2 / found.size)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert np.abs(z).max() < 6.8


def test_the_logarithm_to_the_last_digits():
    """At both ends of the uniform numbers, between them, and where the power changes."""
    ends = (np.arange(1_000) + 0.5) * 2.0**-32
    between = (np.arange(0, 2**32, 40_009) + 0.5) * 2.0**-32
    jumps = np.nextafter(2.0 ** -(np.arange(64) / 2), [[0.0], [1.0]]).ravel()
    u = np.concatenate([ends, 1 - ends, between, jumps[jumps < 1]])
    error = np.abs(np.asarray(_log(jnp.asarray(u))) / np.log(u) - 1)
    assert error.max() < 1e-15


def test_ways_to_make_normals():
    fast, slow = grid(num_paths=3), grid(num_paths=3, normals="inverse")
    assert not np.any(lower_entries(every_cell(fast)) == lower_entries(every_cell(slow)))
    other = covsde.solve(LIMIT, V0, 0.1, key=KEY, num_paths=3, normals="inverse").vs
    assert not np.any(other == covsde.solve(LIMIT, V0, 0.1, key=KEY, num_paths=3).vs)
    with pytest.raises(ValueError, match="`normals`"):
        grid(normals="ziggurat")


# The numbers


@PACKED_AND_WHOLE
def test_the_same_key_gives_the_same_numbers(m):
    np.testing.assert_array_equal(every_cell(grid(m)), every_cell(grid(m)))
    other = every_cell(grid(m, key=jax.random.key(4)))
    assert not np.any(lower_entries(every_cell(grid(m))) == lower_entries(other))


def test_asked_twice_or_within_jit_it_answers_the_same():
    path = grid()
    once = increment(path, TS[1], TS[4])
    np.testing.assert_array_equal(increment(path, TS[1], TS[4]), once)
    np.testing.assert_array_equal(path.evaluate(TS[1], TS[4]).to_dense(), once)


@PACKED_AND_WHOLE
def test_a_path_depends_on_its_global_index_alone(m):
    whole = every_cell(grid(m, num_paths=7))
    np.testing.assert_array_equal(every_cell(grid(m, num_paths=3)), whole[:, :3])
    for first, last in [(4, 7), (6, 7)]:
        chunk = grid(m, num_paths=last - first, first_path=first)
        np.testing.assert_array_equal(every_cell(chunk), whole[:, first:last])
    traced = jax.jit(lambda i: grid(m, num_paths=2, first_path=i).cell(2).to_dense())
    np.testing.assert_array_equal(traced(jnp.uint32(5)), whole[2, 5:7])


@PACKED_AND_WHOLE
def test_a_single_matrix_is_the_first_path(m):
    one = increment(grid(m, num_paths=None), TS[1], TS[3])
    assert one.shape == (m, m)
    np.testing.assert_array_equal(one, increment(grid(m), TS[1], TS[3])[0])


def test_a_large_index_is_a_path_of_its_own():
    last = 2**32 - 1
    far = lower_entries(every_cell(grid(num_paths=1, first_path=last)))
    assert not np.any(far == lower_entries(every_cell(grid())))


# Increments


@PACKED_AND_WHOLE
def test_increments_add_up(m):
    path = grid(m)
    cells = every_cell(path)
    for first, last in [(0, 5), (1, 4), (2, 3)]:
        np.testing.assert_allclose(
            increment(path, TS[first], TS[last]),
            cells[first:last].sum(axis=0),
            rtol=0,
            atol=8 * np.finfo(float).eps,  # five terms of order one
        )
    np.testing.assert_array_equal(increment(path, TS[2], TS[2]), 0 * cells[0])


def test_one_time_is_counted_from_the_start():
    path = grid(ts=TS + 0.5)
    assert float(path.t0) == 0.5 and float(path.t1) == 1.5
    np.testing.assert_array_equal(
        increment(path, path.ts[3]), increment(path, path.ts[0], path.ts[3])
    )
    np.testing.assert_array_equal(increment(path, path.t0), np.zeros((5, 2, 2)))


def test_coarse_steps_use_the_same_path():
    path = grid(ts=jnp.linspace(0.0, 1.0, 9))
    coarse = path.coarsen(4)
    np.testing.assert_array_equal(coarse, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(path.coarsen(1), path.ts)
    cells = every_cell(path)
    for i in range(2):
        np.testing.assert_allclose(
            increment(path, coarse[i], coarse[i + 1]),
            cells[4 * i : 4 * i + 4].sum(axis=0),
            rtol=0,
            atol=8 * np.finfo(float).eps,
        )


@pytest.mark.parametrize("t", [0.2, -0.1, 1.2, np.nan])
def test_a_time_off_the_grid_is_an_error(t):
    with pytest.raises(eqx.EquinoxRuntimeError, match="not on its grid"):
        increment(grid(), 0.0, t)


def test_times_that_are_rounded_are_on_the_grid():
    path = grid(ts=jnp.linspace(0.0, 1.0, 11))
    start, end = 0.1 + 0.2, 0.7999999999999999
    np.testing.assert_array_equal(
        increment(path, start, end), increment(path, path.ts[3], path.ts[8])
    )


@PACKED_AND_WHOLE
def test_float32(m):
    path = grid(m, dtype=jnp.float32)
    assert path.ts.dtype == jnp.float32
    whole = increment(path, path.t0, path.t1)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(
        whole,
        every_cell(path).sum(axis=0),
        rtol=0,
        atol=8 * np.finfo(np.float32).eps,
    )


def test_no_levy_area():
    assert grid().levy_area is diffrax.BrownianIncrement
    with pytest.raises(ValueError, match="Lévy areas of lower triangles alone"):
        grid(noise_shape="square").evaluate(0.0, 1.0, use_levy=True)


def test_it_is_a_pytree_of_arrays():
    path = grid()
    leaves, structure = jax.tree.flatten(path)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(every_cell(again), every_cell(path))


@pytest.mark.parametrize("m", [2, 3, 9])
def test_areas_are_those_of_the_straight_path(m):
    """`½ Σ (N ΔN − ΔN N)` cell by cell, and Chen's relation for two steps."""
    path = BrownianGrid(np.linspace(0, 1, 7), m, key=jax.random.key(3), num_paths=5)
    found = path.evaluate(0.0, 1.0, use_levy=True)
    on = np.where(np.eye(m), 0.5**0.5, 1.0)
    n, area = np.zeros((5, m, m)), np.zeros((5, m, m))
    for cell in range(6):
        dn = np.asarray(path.cell(jnp.asarray(cell)).to_dense()) * on
        area += (n @ dn - dn @ n) / 2
        n += dn
    motion = np.asarray(found.motion.to_dense()) * on
    np.testing.assert_allclose(motion, n, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.area.to_dense(), area, rtol=0, atol=1e-14)
    first, second = (
        path.evaluate(t0, t1, use_levy=True) for t0, t1 in ((0.0, 0.5), (0.5, 1.0))
    )
    a, b = (np.asarray(x.motion.to_dense()) * on for x in (first, second))
    both = np.asarray(first.area.to_dense() + second.area.to_dense())
    np.testing.assert_allclose(both + (a @ b - b @ a) / 2, area, rtol=0, atol=1e-14)


def test_random_bits_are_those_of_jax():
    """Threefry without its loop, bit for bit, and the keys made with it."""
    counters = jnp.arange(1000, dtype=jnp.uint32)
    words = jnp.array([7, 2**31 + 5], jnp.uint32)
    ours = jnp.concatenate(threefry_2x32(words, counters, 3 * counters))
    both = jnp.concatenate([counters, 3 * counters])
    np.testing.assert_array_equal(ours, jax.extend.random.threefry_2x32(words, both))
    for number in (0, 1, 2**32 - 1):
        expected = jax.random.key_data(jax.random.fold_in(KEY, np.uint32(number)))
        np.testing.assert_array_equal(fold_in(KEY, np.uint32(number)), expected)
