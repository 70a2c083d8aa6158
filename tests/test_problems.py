"""Named problems: what they say is exact is what simulations find."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import problems

PROBLEMS = {
    "relu pair": problems.relu_pair,
    "relu, m = 3": lambda: problems.relu(3),
    "linear pair": problems.linear_pair,
    "near singular": problems.near_singular,
    "smooth": problems.smooth,
    "explosive": problems.explosive,
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_means(name):
    problem = PROBLEMS[name]()
    assert problem.name == name and problem.v0.shape == (problem.m, problem.m)
    num_paths = 20_000
    solution = covsde.solve(
        problem.limit,
        problem.v0,
        problem.t1,
        key=jax.random.key(11),
        num_paths=num_paths,
        dt0=problem.t1 / 64,
    )
    f = problem.observable(solution.vs[:, -1])
    f = np.asarray(jnp.where(jnp.isinf(solution.stopped_at), f, 0.0))
    error = f.std(ddof=1) / np.sqrt(num_paths)
    assert abs(f.mean() - problem.exact) < 4 * error


def test_attention_is_that_of_two_tokens():
    """Which is simulated on the page of exact laws."""
    problem = problems.attention()
    assert abs(problem.exact - 0.4900381) < 1e-7
    np.testing.assert_allclose(problem.observable(problem.v0[None]), 1 / 2.4)


def test_unshaped():
    problem = problems.unshaped()
    solution = covsde.solve(
        problem.limit, problem.v0, problem.t1, key=jax.random.key(3), num_paths=40_000
    )
    f = np.asarray(problem.observable(solution.us[:, -1]))
    assert abs(f.mean() - problem.exact) < 4 * f.std() / np.sqrt(len(f))
    assert problem.m == 2 and problem.name == "unshaped"


def test_a_single_input_has_no_correlation():
    with pytest.raises(ValueError, match="`m`"):
        problems.relu(1)
