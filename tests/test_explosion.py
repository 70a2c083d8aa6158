"""Explosions and levels by a time, at the automatic step, against exact laws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from covsde import (
    FactorEuler,
    GeodesicStrang,
    MagnusStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    ShapedAttention,
    ShapedMLP,
    ShapedSmooth,
)
from covsde.brownian import Motion
from covsde.laws import OneInput, TwoTokens
from covsde.limits._excursion import of_two_tokens
from covsde.matrices import Lower, factorise, gram, multiply
from covsde.solve import cells_per_step
from covsde.solve._clock import Clock
from covsde.solvers.wishart import chi_square

KEY = jax.random.key(0)
OPPOSITE = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
SILU = ShapedMLP(ShapedSmooth(jax.nn.silu, a=0.5))  # κ = 3
PATHS = 4000
# without WishartEuler, whose χ² quantile takes long to compile
CHEAP = [
    GeodesicStrang(),
    PalindromicStrang(),
    MagnusStrang(),
    NinomiyaNinomiya(),
    FactorEuler(),
]


def within_four_errors(paths, exact):
    share = np.mean(np.asarray(paths))
    error = np.sqrt(exact * (1 - exact) / len(paths))
    print(f"{share:.4f}, exact {exact:.4f} ± {error:.4f}")
    assert abs(share - exact) < 4 * error


@pytest.mark.parametrize(
    ("gamma", "tau0", "d0", "t1", "level"),
    [(0.5, 0.5, 2.0, 1.0, 16.0), (0.5, 0.3, 2.0, 0.4, 16.0), (0.3, 0.3, 1.6, 2.0, 8.0)],
)
def test_two_tokens_at_the_automatic_step(gamma, tau0, d0, t1, level):
    """By steps that all paths share, with a fast path slowed, .27 % of 8.56 % exploded."""
    limit = ShapedAttention(gamma, tau0)
    law = TwoTokens(limit)
    run = dict(key=KEY, num_paths=PATHS)
    free = covsde.solve(limit, d0 / 4 * OPPOSITE, t1, **run)
    exploded = np.isfinite(free.stopped_at)
    within_four_errors(exploded, 1 - float(law.survival_probability(d0, t1)))
    v = np.asarray(free.vs[:, -1])
    assert np.all(np.isposinf(v[exploded][:, [0, 1], [0, 1]]))
    assert np.all(np.isfinite(v[~exploded]))
    # a smooth number of those that have not exploded
    d = v[~exploded] @ [1.0, -1.0] @ [1.0, -1.0]
    alive = np.zeros(PATHS)
    alive[~exploded] = 1 / (1 + d)
    exact = float(law.surviving(lambda d: 1 / (1 + d), d0, t1))
    assert abs(alive.mean() - exact) < 4 * alive.std() / PATHS**0.5

    stopped = covsde.solve(limit, d0 / 4 * OPPOSITE, t1, stop_above=level / 4, **run)
    reached = np.isfinite(stopped.stopped_at)
    within_four_errors(reached, float(law.reached_probability(d0, level, t1)))
    size = np.trace(np.asarray(stopped.vs[:, -1]), axis1=1, axis2=2) / 2
    np.testing.assert_allclose(size[reached], level / 4, rtol=1e-12)
    assert np.all(size[~reached] < level / 4)


@pytest.mark.parametrize("gamma", [0.67, 0.75])
def test_two_tokens_near_the_border(gamma):
    """γ² = ½, beyond which none explodes: of paths that walked 2.5 % and .2 % were lost."""
    limit = ShapedAttention(gamma, 1.0)
    exact = 1 - float(TwoTokens(limit).survival_probability(4.0, 1.0))
    paths = covsde.solve(limit, 2 * jnp.eye(2), 1.0, key=KEY, num_paths=PATHS)
    assert not np.any(paths.lost)
    exploded = np.isposinf(np.asarray(paths.vs[:, -1, 0, 0]))
    np.testing.assert_array_equal(exploded, np.isfinite(paths.stopped_at))
    within_four_errors(exploded, exact)


def test_an_excursion_of_two_tokens():
    """`log d` falls by what was asked, and what d does not see grows with the time."""
    count, fall, ratio = 4000, 0.5, 4.0
    normals = jax.random.normal(KEY, (4, count))
    uniforms = jax.random.uniform(jax.random.key(1), (count,))
    start = jnp.array([[9.0, 0.0], [-7.0, 0.5]])
    factor = Lower.from_dense(jnp.broadcast_to(start, (count, 2, 2)))
    one = jnp.ones(count)
    back = of_two_tokens(factor, ratio * one, fall * one, uniforms, normals)
    f = np.asarray(multiply(factor, back).to_dense())
    d = np.sum((f[:, 0] - f[:, 1]) ** 2, axis=1)
    np.testing.assert_allclose(d, np.exp(-fall) * (16.0**2 + 0.25), rtol=1e-12)
    # det V = d u²/4, and log u grows by (R − 1)τ/2, whose τ is of an inverse Gaussian law
    log_det = 2 * np.log(np.abs(np.linalg.det(f) / np.linalg.det(start)))
    tau = (log_det + fall) / (ratio - 1)
    drift, level = ratio / 2 - 1, fall / 2
    assert tau.min() > 0
    law = stats.invgauss(1 / (drift * level), scale=level**2)
    np.testing.assert_allclose(law.mean(), level / drift)
    assert stats.kstest(tau, law.cdf).pvalue > 1e-3


def test_who_knows_how_paths_come_back():
    attention = ShapedAttention(0.5, 0.3)
    way = attention.excursion(2)
    assert way is of_two_tokens and attention.excursion(3) is None
    assert covsde.ShapedTransformer(covsde.Identity(), 0.5, 0.3).excursion(2) is way
    assert covsde.Block(attention, SILU, attention).excursion(2) is way
    assert covsde.Block(attention, Watched(0.5, 0.3)).excursion(2) is None
    assert covsde.Block(SILU).excursion(2) is None and SILU.excursion(2) is None


class Watched(ShapedAttention):
    """Attention of which it is not known."""

    def excursion(self, m):
        del m


def test_steps_are_shorter_near_a_level():
    """By what a bridge leaves 1.9 % of .356 were missing (`benchmarks.explosion`)."""
    clock = Clock(jnp.asarray(0.1), 1 / 8, jnp.asarray(1.0))
    noise = jnp.array([1.0, 1.0, 1.0, 0.0])
    longest = clock.longest(0 * noise, noise)
    # in deviations of log tr V over such a step
    away = jnp.array([12.0, 3.0, 0.0, 0.0])
    below = away * jnp.sqrt(4 * noise * longest)
    shorter = clock.before(below, longest, noise) / longest
    np.testing.assert_allclose(shorter, [1.0, 0.25, 0.125, 0.125])


def test_what_explodes_has_passed_a_level():
    """However far that is: it is known of a path long before."""
    limit, start, t1 = ShapedAttention(0.5, 0.3), 0.5 * OPPOSITE, 0.4
    paths = covsde.solve(limit, start, t1, key=KEY, num_paths=PATHS, stop_above=1e12)
    reached = np.isfinite(paths.stopped_at)
    within_four_errors(reached, 1 - float(TwoTokens(limit).survival_probability(2.0, t1)))
    size = np.trace(np.asarray(paths.vs[:, -1]), axis1=1, axis2=2) / 2
    np.testing.assert_allclose(size[reached], 1e12, rtol=1e-12)


def test_when_two_tokens_explode():
    gamma, tau0, d0, times = 0.5, 0.3, 2.0, np.array([0.1, 0.2, 0.4])
    limit = ShapedAttention(gamma, tau0)
    law = TwoTokens(limit)
    start = d0 / 4 * OPPOSITE
    free = covsde.solve(limit, start, 0.4, key=KEY, num_paths=PATHS, saveat=times)
    for i, t in enumerate(times):
        exact = 1 - float(law.survival_probability(d0, t))
        gone = np.asarray(free.stopped_at) <= t
        within_four_errors(gone, exact)
        np.testing.assert_array_equal(np.isinf(free.vs[:, i, 0, 0]), gone)


@pytest.mark.parametrize("solver", CHEAP, ids=lambda solver: type(solver).__name__)
def test_one_input_by_every_solver(solver):
    law = OneInput(SILU.activation.stability_index)
    paths = covsde.solve(
        SILU, jnp.ones((1, 1)), 1.0, key=KEY, num_paths=PATHS, solver=solver
    )
    within_four_errors(
        np.isfinite(paths.stopped_at), 1 - float(law.survival_probability(1.0, 1.0))
    )


@pytest.mark.parametrize("m", [7, 10])
@pytest.mark.parametrize("solver", CHEAP, ids=lambda solver: type(solver).__name__)
def test_a_step_of_each_path_in_every_layout(solver, m):
    """It is the step that all paths would take together."""
    count, steps = 20, jnp.linspace(0.01, 0.03, 20)
    shape = SILU.diffusion.noise_shape
    cells = cells_per_step(solver)
    motion = Motion(
        KEY, jnp.arange(count, dtype=jnp.uint32), m, cells, np.dtype(float), shape
    )
    start = factorise(0.7 * jnp.eye(m) + 0.3).as_invertible().repeat(count)

    @jax.jit
    def end(h):
        terms = SILU.terms(motion.step(jnp.uint32(3), h))
        inner = solver.init(terms, jnp.zeros_like(h), h, start, None)
        y, *_ = solver.step(terms, jnp.zeros_like(h), h, start, None, inner, False)
        return gram(y).to_dense()

    each = end(steps)
    for i in (0, 11, 19):
        np.testing.assert_allclose(each[i], end(steps[i])[i], rtol=1e-11)


def test_a_chi_square_of_very_many_degrees():
    """As a clock asks for near an explosion; the iteration alone would take minutes.

    To `ν^{-3/2}` of itself, a step of `1/ν` to the power that a scheme of order 1 leaves.
    """
    z, freedom = np.array([-3.0, 0.0, 1.0, 4.0]), np.array([1001.0, 1e4, 1e7, 1e12])
    found = chi_square(jnp.asarray(z), jnp.asarray(freedom))
    expected = stats.chi2.isf(stats.norm.sf(z), freedom)
    assert np.all(np.abs(found / expected - 1) < freedom**-1.5 + 1e-9)


@pytest.mark.usefixtures("optimised")
def test_a_path_is_the_same_whatever_runs_with_it():
    limit, start = ShapedAttention(0.5, 0.3), 0.5 * OPPOSITE
    many, few = (covsde.solve(limit, start, 0.4, key=KEY, num_paths=n) for n in (3000, 70))
    np.testing.assert_array_equal(many.stopped_at[:70], few.stopped_at)
    np.testing.assert_array_equal(many.vs[:70], few.vs)


def test_a_drift_that_explodes_within_a_flow_says_so():
    """By Heun's step V grew 1e43 times, and the activation after it left a rank of one."""
    drift = ShapedAttention(0.7, 0.3).drift
    for start in (np.eye(4), np.diag([1.0, 0.0, 1.0, 1.0])):
        v = jnp.asarray(start + 1374 * np.diag([0.0, 0.0, 0.0, 1.0]))
        moved = drift.flow(jnp.zeros(()), jnp.asarray(0.025), factorise(v), None)
        assert np.all(np.isnan(moved.squared_rows()))


def test_lost_paths_are_told():
    pytest.importorskip("typer")
    from covsde.cli._solve import summary

    paths = covsde.solve(SILU, jnp.ones((1, 1)), 0.1, key=KEY, num_paths=3)
    assert not np.any(paths.lost) and "lost" not in summary(paths, jnp.ones((1, 1)))
    gone = jnp.array([False, True, False])
    vs = jnp.where(gone[:, None, None, None], jnp.nan, paths.vs)
    stopped_at = jnp.where(gone, 0.05, jnp.inf)
    paths = dataclasses.replace(paths, vs=vs, stopped_at=stopped_at)
    np.testing.assert_array_equal(paths.lost, gone)
    assert "lost, and NaN: 1 (33.33%)" in summary(paths, jnp.ones((1, 1)))


def test_statistics_say_what_they_leave_out():
    result = covsde.ensemble(
        ShapedAttention(0.5, 0.3),
        0.5 * OPPOSITE,
        0.4,
        key=KEY,
        num_paths=2000,
        observables=covsde.observables.LogNorm(0),
    )
    assert 0.04 < result.stopped[-1] < 0.13
    assert "stopped" in str(result)
