"""Solutions on nested grids, which follow one Brownian motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.convergence import nested
from covsde.solve import integrate, plan

RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
STEPS = (4, 16, 64)


def solved(**options):
    key = jax.random.key(0)
    return nested(RELU, V0, 0.5, key=key, num_paths=2000, steps=STEPS, **options)


@pytest.fixture(scope="module")
def paths():
    return solved()


def distances(paths) -> np.ndarray:
    """Largest `E|V_t − V_t'|` over the times of the coarsest grid, from the finest one."""
    *others, finest = (np.asarray(one.vs)[:, :: len(one.ts) // 4] for one in paths)
    return np.array([np.abs(v - finest).mean(0).max() for v in others])


def test_every_step_is_saved(paths):
    for steps, one in zip(STEPS, paths, strict=True):
        np.testing.assert_allclose(one.ts, np.linspace(0, 0.5, steps + 1), rtol=1e-14)
        assert one.vs.shape == (2000, steps + 1, 2, 2)
        np.testing.assert_allclose(one.vs[:, 0], jnp.broadcast_to(V0, (2000, 2, 2)))
        assert one.dt0 == 0.5 / steps and isinstance(one.solver, covsde.MagnusStrang)


def test_paths_approach_one_another(paths):
    """By the step itself with Lévy areas, by its root without."""
    with_areas, without = (
        distances(paths),
        distances(solved(solver=covsde.GeodesicStrang())),
    )
    orders = [np.log2(d[0] / d[1]) / 2 for d in (with_areas, without)]
    assert with_areas[1] < 0.5 * without[1]
    assert 0.85 < orders[0] < 1.2 and 0.35 < orders[1] < 0.65, orders


def test_what_is_saved_between_is_not_used():
    """Saving completes the flow that is pending, of what is saved alone."""
    coarse = solved(solver=covsde.PalindromicStrang())[0]
    solver = covsde.PalindromicStrang()
    run, _ = plan(RELU, V0, 0.5, key=jax.random.key(0), num_paths=2000, solver=solver)
    fine = run.in_steps(64, 0.5)
    path = fine.brownian(2, num_paths=2000)
    end, _, _ = integrate(fine.on(fine.steps[::16], fine.save_times), path)
    np.testing.assert_allclose(coarse.vs[:, -1], end[:, 0], rtol=1e-12, atol=1e-14)


def test_stopped_and_attention():
    limit = covsde.ShapedAttention(0.5, 0.5)
    key = jax.random.key(1)
    coarse, fine = nested(
        limit, V0, 0.5, key=key, num_paths=64, steps=(8, 32), stop_above=3.0
    )
    assert isinstance(fine.solver, covsde.NinomiyaNinomiya)
    assert 0 < np.isfinite(fine.stopped_at).sum() < 64
    both = np.isfinite(coarse.stopped_at) == np.isfinite(fine.stopped_at)
    assert both.mean() > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": (4, 6)}, "`steps` must be two numbers or more, each a multiple"),
        ({"steps": (1, 2), "t1": 40.0}, "`dt0` must be at most"),
        ({"solver": covsde.MagnusStrang}, "`solver` must be a solver of covsde"),
        ({"num_paths": 0}, "`num_paths` must be"),
    ],
)
def test_refusals(change, message):
    options = dict(t1=0.5, key=jax.random.key(0), num_paths=10, steps=(2, 4)) | change
    with pytest.raises((ValueError, TypeError), match=message):
        nested(RELU, V0, **options)
