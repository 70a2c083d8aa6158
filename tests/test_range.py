"""Norms that cannot explode, and the numbers of a dtype, which end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import (
    BranchCovariance,
    Identity,
    KernelODE,
    LeakyReLU,
    ShapedMLP,
    ShapedReLU,
    ShapedResNet,
    ShapedSmooth,
)
from covsde._problem import check_problem
from covsde.solve._range import check_range

KEY, PATHS = jax.random.key(3), 320
RELU, LINEAR = ShapedMLP(ShapedReLU(0.0, -1.0)), ShapedMLP(Identity())
RESNET = ShapedResNet(ShapedReLU(0.0, -1.0), 0.5)
BRANCHES = KernelODE(BranchCovariance(LeakyReLU(), 2.0))
RHO = covsde.observables.Correlation(0, 1)
FLOAT32, FLOAT64 = jnp.float32, jnp.float64


def start(m, dtype, scale=1.0):
    """Correlations of one half."""
    return jnp.asarray(scale * (0.5 + 0.5 * np.eye(m)), dtype)


def longest(limit, v0, num_paths):
    """The longest time that `solve` says it takes."""
    with pytest.raises(ValueError, match="`t1` must leave norms") as caught:
        covsde.solve(limit, v0, 1e4, key=KEY, num_paths=num_paths, dt0=1.0)
    return float(str(caught.value).split("here at most ")[1].split(",")[0].rstrip("."))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=["float32", "float64"])
@pytest.mark.parametrize(("limit", "m"), [(RELU, 1), (RELU, 3), (LINEAR, 3)])
def test_what_is_accepted_stays_within_its_numbers(limit, m, dtype):
    """To the longest time no path is stopped, and log V has its law.

    The scheme's own error, 1e-3 per unit of time, is a small part of the tolerance.
    """
    v0, num_paths = start(m, dtype), PATHS
    t1 = longest(limit, v0, num_paths)
    done = covsde.solve(limit, v0, t1, key=KEY, num_paths=num_paths)
    assert np.all(np.isinf(done.stopped_at))
    norms = np.diagonal(np.asarray(done.vs[:, -1], float), axis1=1, axis2=2)
    log_v = np.log(norms)
    error = np.sqrt(2 * t1 / num_paths)
    np.testing.assert_allclose(log_v.mean(axis=0), -t1, atol=4 * error)
    np.testing.assert_allclose(
        log_v.var(axis=0) / (2 * t1), 1, atol=4 * (2 / num_paths) ** 0.5
    )


@pytest.mark.parametrize("limit", [RELU, LINEAR, RESNET])
def test_times_well_inside_are_accepted(limit):
    """None of these is refused, and none is stopped."""
    for t1, dtype in ((50.0, FLOAT64), (5.0, FLOAT32)):
        v0 = start(3, dtype)
        done = covsde.solve(limit, v0, t1, key=KEY, num_paths=PATHS, dt0=0.25)
        assert np.all(np.isinf(done.stopped_at))
    for scale in (1e-25, 1e25):
        v0 = start(3, FLOAT32, scale)
        done = covsde.solve(limit, v0, 0.5, key=KEY, num_paths=PATHS, dt0=0.25)
        assert np.all(np.isinf(done.stopped_at))


REFUSED = {
    "float32 to 60": (RELU, 60.0, FLOAT32, 1.0, "t1", "jax_enable_x64"),
    "float64 to 700": (LINEAR, 700.0, FLOAT64, 1.0, "t1", "here at most"),
    "a resnet": (RESNET, 1000.0, FLOAT32, 1.0, "t1", "jax_enable_x64"),
    "branches that grow": (BRANCHES, 1e3, FLOAT64, 1.0, "t1", "here at most"),
    "a start at the end": (RELU, 1.0, FLOAT32, 1e-38, "v0", "jax_enable_x64"),
    "a huge start": (LINEAR, 1.0, FLOAT64, 1e300, "v0", "another scale"),
    "a start near the end": (RELU, 1.0, FLOAT32, 1e-30, "t1", "10^-3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_leave_its_numbers_is_refused_by_name(case):
    limit, t1, dtype, scale, name, words = REFUSED[case]
    with pytest.raises(ValueError, match=f"^`{name}` must") as caught:
        covsde.solve(limit, start(2, dtype, scale), t1, key=KEY, num_paths=2, dt0=0.25)
    assert words in str(caught.value)


def test_every_call_refuses():
    v0, options = start(2, FLOAT32), dict(key=KEY, num_paths=2)
    for call in (
        lambda: covsde.ensemble(RELU, v0, 60.0, observables=RHO, **options),
        lambda: covsde.convergence.nested(RELU, v0, 60.0, steps=(240, 480), **options),
        lambda: covsde.convergence.study(
            RELU, [covsde.GeodesicStrang()], v0, 60.0, RHO, steps=(240, 480), **options
        ),
        lambda: covsde.estimate(RELU, v0, 60.0, RHO, key=KEY, tol=0.1),
    ):
        with pytest.raises(ValueError, match="`t1` must leave norms"):
            call()


def test_more_paths_reach_farther():
    """Each is as likely to leave as another, so more of them take a shorter time."""
    v0 = start(1, FLOAT32)
    times = [longest(LINEAR, v0, n) for n in (1, 1000, 2**32)]
    assert times == sorted(times, reverse=True) and times[0] > times[2] > 5


def test_norms_that_follow_another_law_are_not_judged():
    """A tanh is stationary; what stops above never reaches the end above."""

    def check(limit, v0, **options):
        check_range(check_problem(limit, v0, 1e4, key=KEY, num_paths=1000, **options))

    check(ShapedMLP(ShapedSmooth(jnp.tanh, a=0.5)), start(2, FLOAT32))
    check(BRANCHES, start(2, FLOAT32), stop_above=8.0)
    jax.jit(lambda v0: check(RELU, v0))(start(2, FLOAT32))
