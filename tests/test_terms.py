"""A limit's terms in a plain `diffrax.diffeqsolve`, in every form that a state may have."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import BrownianGrid, Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.brownian import Motion
from covsde.matrices import Lower, Symmetric, factorise, gram
from covsde.solve import cells_per_step

KEY = jax.random.key(1)
RELU = ShapedMLP(ShapedReLU(0.0, -1.5))
TANH = ShapedMLP(ShapedSmooth(jnp.tanh, a=0.8))
V0 = jnp.array([[1.2, 0.3], [0.3, 0.8]])
STEPS, DT = 4, 1 / 64
TS = jnp.linspace(0.0, STEPS * DT, STEPS + 1)


def brownian(num_paths, cells_per_step=1):
    ts = jnp.linspace(0.0, STEPS * DT, STEPS * cells_per_step + 1)
    return BrownianGrid(ts, 2, key=KEY, num_paths=num_paths)


def starts(num_paths):
    """A different covariance for every path."""
    scale = 1 + jnp.arange(num_paths, dtype=float)[:, None, None] / num_paths
    return V0[None] * scale


def run(limit, path, y0, solver=None, **options):
    return diffrax.diffeqsolve(
        limit.terms(path),
        solver or diffrax.Euler(),
        t0=0.0,
        t1=STEPS * DT,
        dt0=DT,
        y0=y0,
        max_steps=STEPS,
        **options,
    )


def last(solution):
    """The state at the end: Diffrax stacks saved states along a new first axis."""
    return jax.tree.map(lambda leaf: leaf[-1], solution.ys)


def dense_euler_step(limit, v, increment, h):
    """`V + b h + L dS Lᵀ`, with matrices written out."""
    v, increment = np.asarray(v), np.asarray(increment)
    below = np.tril(increment, -1)
    d_s = below + below.T + np.sqrt(2) * np.diag(np.diag(increment))
    drift = np.empty_like(v)
    for a in range(len(v)):
        for b in range(len(v)):
            drift[a, b] = limit.activation.drift(v[a, a], v[b, b], v[a, b])
    factor = np.linalg.cholesky(v)
    return v + drift * h + factor @ d_s @ factor.T


# Stock Diffrax


@pytest.mark.parametrize("limit", [RELU, TANH], ids=["relu", "tanh"])
def test_euler_steps_are_those_written_by_hand(limit):
    path = brownian(num_paths=2)
    steps = run(limit, path, starts(2), saveat=diffrax.SaveAt(t0=True, steps=True)).ys
    assert steps.shape == (STEPS + 1, 2, 2, 2)
    for i in range(STEPS):
        increments = path.cell(jnp.asarray(i)).to_dense()
        for one in range(2):
            by_hand = dense_euler_step(limit, steps[i, one], increments[one], DT)
            np.testing.assert_allclose(steps[i + 1, one], by_hand, rtol=1e-12, atol=1e-14)


def test_every_form_of_state_gives_the_same_path():
    """One matrix is path 0; a batch, dense or packed, contains it."""
    one = run(TANH, brownian(None), V0).ys[0]
    of_one = run(TANH, brownian(1), V0[None]).ys[0, 0]
    of_many = run(TANH, brownian(3), starts(3)).ys[0]
    packed = last(run(TANH, brownian(3), Symmetric.from_dense(starts(3))))
    assert one.shape == (2, 2) and of_many.shape == (3, 2, 2)
    np.testing.assert_allclose(of_one, one, rtol=1e-13)
    np.testing.assert_allclose(of_many[0], one, rtol=1e-13)
    np.testing.assert_allclose(packed.to_dense(), of_many, rtol=1e-13)
    assert np.all(of_many == np.swapaxes(of_many, -1, -2))


def test_saveat_and_events_are_diffrax_own():
    path, y0 = brownian(2), starts(2)
    steps = run(RELU, path, y0, saveat=diffrax.SaveAt(steps=True)).ys
    at_times = run(RELU, path, y0, saveat=diffrax.SaveAt(ts=TS[1::2])).ys
    np.testing.assert_allclose(at_times, steps[::2], rtol=1e-13)

    moved = np.abs(np.asarray(steps) - np.asarray(y0)).max(axis=(1, 2, 3))
    first = next(i for i in range(1, len(moved)) if moved[i] > moved[:i].max())
    level = 0.5 * (moved[:first].max() + moved[first])

    def far(t, y, args, **_):
        return jnp.max(jnp.abs(y - y0)) > level

    stopped = run(RELU, path, y0, event=diffrax.Event(far))
    assert stopped.result == diffrax.RESULTS.event_occurred
    np.testing.assert_allclose(stopped.ts, TS[first + 1 : first + 2], rtol=1e-15)
    np.testing.assert_allclose(stopped.ys[0], steps[first], rtol=1e-13)


@pytest.mark.parametrize("solver", [diffrax.ItoMilstein(), diffrax.EulerHeun()])
def test_diffrax_refuses_solvers_for_other_noise(solver):
    with pytest.raises(ValueError, match="not compatible with solver"):
        run(RELU, brownian(2), starts(2), solver)


def test_a_time_off_the_grid_is_an_error():
    with pytest.raises(eqx.EquinoxRuntimeError, match="not on its grid"):
        diffrax.diffeqsolve(
            RELU.terms(brownian(2)), diffrax.Euler(), 0.0, DT, DT / 3, starts(2)
        )


# The solvers of covsde


SOLVERS = [covsde.GeodesicStrang(), covsde.PalindromicStrang(), covsde.FactorEuler()]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_solvers_take_dense_and_factored_states(solver):
    path = brownian(2, solver.cells_per_step)
    dense = last(run(RELU, path, starts(2), solver))
    factored = last(run(RELU, path, factorise(starts(2)), solver))
    assert isinstance(factored, Lower)
    np.testing.assert_allclose(gram(factored).to_dense(), dense, rtol=1e-12)


def test_solvers_take_packed_states_and_single_matrices():
    solver = covsde.GeodesicStrang()
    dense = last(run(RELU, brownian(2), starts(2), solver))
    packed = last(run(RELU, brownian(2), Symmetric.from_dense(starts(2)), solver))
    assert isinstance(packed, Symmetric)
    np.testing.assert_allclose(packed.to_dense(), dense, rtol=1e-12)
    one = last(run(RELU, brownian(None), V0, solver))
    np.testing.assert_allclose(one, dense[0], rtol=1e-12)


def test_a_step_agrees_with_solve():
    solver = covsde.GeodesicStrang()
    here = run(RELU, brownian(2), starts(2), solver, saveat=diffrax.SaveAt(ts=TS[1:])).ys
    there = covsde.solve(
        RELU, starts(2), STEPS * DT, key=KEY, num_paths=2, dt0=DT, saveat=TS[1:]
    )
    # but for the flow's own error: solve takes one drift flow where two steps meet
    np.testing.assert_allclose(np.swapaxes(here, 0, 1), there.vs, rtol=1e-6)


# A step of each path


SILU = ShapedMLP(ShapedSmooth(jax.nn.silu, a=0.5))
LINEAR = ShapedMLP(Identity())
# the flow of the drift is that of all of them, and takes longer to compile than their noise
STEPPED = [
    (covsde.GeodesicStrang(), SILU),
    (covsde.PalindromicStrang(), LINEAR),
    (covsde.MagnusStrang(), LINEAR),
    (covsde.NinomiyaNinomiya(), LINEAR),
    (covsde.FactorEuler(), SILU),
]


@pytest.mark.parametrize("m", [6, 9])
@pytest.mark.parametrize(
    ("solver", "limit"), STEPPED, ids=[type(solver).__name__ for solver, _ in STEPPED]
)
def test_a_step_of_each_path_in_every_layout(solver, limit, m):
    """It is the step that all paths would take together."""
    count, steps = 20, np.linspace(0.01, 0.03, 20)
    paths, cells = jnp.arange(count, dtype=jnp.uint32), cells_per_step(solver)
    shape = limit.diffusion.noise_shape
    motion = Motion(KEY, paths, m, cells, np.dtype(float), shape)
    start = factorise(0.7 * jnp.eye(m) + 0.3).as_invertible().repeat(count)

    @jax.jit
    def end(h):
        terms = limit.terms(motion.step(jnp.uint32(3), h))
        inner = solver.init(terms, jnp.zeros_like(h), h, start, None)
        y, *_ = solver.step(terms, jnp.zeros_like(h), h, start, None, inner, False)
        return gram(y).to_dense()

    each = end(steps)
    for i in (0, 11, 19):
        np.testing.assert_allclose(each[i], end(steps[i])[i], rtol=1e-11)


# Transformations


def test_vmap_and_jit_over_a_limits_parameters():
    path, y0 = brownian(2), starts(2)

    def final(c_minus):
        return run(ShapedMLP(ShapedReLU(0.3, c_minus)), path, y0).ys[0]

    values = jnp.array([-1.0, 0.0, 0.5])
    together = eqx.filter_jit(eqx.filter_vmap(final))(values)
    assert together.shape == (3, 2, 2, 2)
    for value, result in zip(values, together, strict=True):
        np.testing.assert_allclose(final(value), result, rtol=1e-12)
    assert not np.allclose(together[0], together[1])


def test_vmap_over_limits_themselves():
    limits = eqx.filter_vmap(lambda c: ShapedMLP(ShapedReLU(c, -1.0)))(
        jnp.array([0.0, 0.7])
    )
    path, y0 = brownian(2), starts(2)
    together = eqx.filter_vmap(lambda limit: run(limit, path, y0).ys[0])(limits)
    one = run(ShapedMLP(ShapedReLU(0.7, -1.0)), path, y0).ys[0]
    np.testing.assert_allclose(together[1], one, rtol=1e-12)


# Back in time

SOLVERS = (
    covsde.GeodesicStrang(),
    covsde.PalindromicStrang(),
    covsde.MagnusStrang(),
    covsde.NinomiyaNinomiya(),
    covsde.WishartEuler(),
    covsde.FactorEuler(),
    covsde.ProjectedEuler(),
    diffrax.Euler(),
)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_no_solver_goes_back_in_time(solver):
    """It would be stepped forwards in silence, by a drift that knows no sign."""
    path = brownian(2, 4)

    def to(t0, t1, y0):
        t0, t1 = jnp.asarray(t0), jnp.asarray(t1)  # one program for both ways
        return diffrax.diffeqsolve(
            RELU.terms(path),
            solver,
            t0=t0,
            t1=t1,
            dt0=(t1 - t0) / STEPS,
            y0=y0,
            max_steps=STEPS,
        ).ys

    dense = starts(2)
    states: list = [dense]
    if isinstance(solver, covsde.GeodesicStrang):
        states += [Symmetric.from_dense(dense), factorise(dense)]
    for y0 in states:
        assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(to(0.0, TS[-1], y0)))
        with pytest.raises(Exception, match="`t0` must be before `t1`"):
            jax.block_until_ready(to(TS[-1], 0.0, y0))


def test_no_grid_is_asked_back_in_time():
    """Over a step back the sum of its cells would be none, an increment of 0."""
    path = brownian(2)
    path.evaluate(TS[1], TS[1])
    with pytest.raises(Exception, match="back in time"):
        jax.block_until_ready(path.evaluate(TS[2], TS[1]))
