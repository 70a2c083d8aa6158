"""No step of the factor solvers loses positive definiteness; a small run of the benchmark.

`python -m benchmarks.positive_definite` is the whole of it, 1e6 path-steps each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from benchmarks.positive_definite import (
    ACTIVATIONS,
    ATTENTION,
    STARTS,
    STEPS,
    ill_conditioned,
    lost_steps,
    lost_under_attention,
)
from covsde.matrices import factorise

SMALL = [name for name in STARTS if "m=4" in name]


def lost(v0, activation, solver, num_paths):
    v0 = jnp.asarray(v0)
    regular = not bool(factorise(v0).is_singular())
    limit = covsde.ShapedMLP(ACTIVATIONS[activation])
    return [
        int(lost_steps(limit, solver, v0, *step, num_paths, jax.random.key(3), regular))
        for step in STEPS
    ]


@pytest.mark.parametrize(
    ("solver", "activation"),
    [(covsde.GeodesicStrang(), "ReLU"), (covsde.PalindromicStrang(), "SiLU")],
    ids=["geodesic-ReLU", "palindromic-SiLU"],
)
def test_four_inputs(solver, activation):
    for start in SMALL:
        assert lost(STARTS[start], activation, solver, 1000) == [0, 0, 0], start


def test_six_inputs_of_condition_1e8():
    v0 = ill_conditioned(6, 1e8)
    assert np.linalg.cond(v0) > 3e7
    assert lost(v0, "ReLU", covsde.GeodesicStrang(), 500) == [0, 0, 0]


@pytest.mark.parametrize("name", ["attention γ=.3, τ₀=.05", "Transformer, τ₀=.3"])
def test_attention(name):
    for start in ("condition 1e12, m=4", "all ρ = 1−1e-10, m=4"):
        for step in STEPS:
            v0, key = jnp.asarray(STARTS[start]), jax.random.key(4)
            ran, lost, exploded = lost_under_attention(
                ATTENTION[name], v0, *step, 500, key, True
            )
            assert ran > 4000 and lost == 0, (start, step)
            # at h = .2 189 from below the level, within one step
            assert exploded < 0.4 * 500


def test_the_starts_are_what_they_say():
    assert np.linalg.cond(STARTS["condition 1e12, m=4"]) > 1e11
    assert np.linalg.matrix_rank(STARTS["rank 1, m=4"]) == 1
    v = STARTS["duplicate inputs, m=4"]
    np.testing.assert_array_equal(v[0], v[2])


def test_the_baselines_do_lose_it():
    """Else the test above could not fail."""
    v0 = jnp.asarray([[1.0, 0.3], [0.3, 1.0]])
    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    call = dict(key=jax.random.key(0), num_paths=2000, dt0=0.2)
    import diffrax

    euler = covsde.solve(limit, v0, 1.0, solver=diffrax.Euler(), **call)
    lost_paths = np.mean(
        np.isfinite(euler.stopped_at)
        | (np.linalg.eigvalsh(np.asarray(euler.vs[:, -1])).min(axis=-1) < 0)
    )
    # limits of plain Euler–Maruyama at 5 steps: 67 % of paths, four standard errors
    assert abs(lost_paths - 0.67) < 4 * np.sqrt(0.67 * 0.33 / 2000) + 0.005
    projected = covsde.solve(limit, v0, 1.0, solver=covsde.ProjectedEuler(), **call)
    assert np.mean(np.asarray(projected.projections) > 0) > 0.5
