"""A noise `√Γ F dS Fᵀ` whose Γ changes with time: what solvers and laws make of it."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import (
    ActivationDrift,
    Block,
    CongruenceDiffusion,
    FactorEuler,
    GeodesicStrang,
    Identity,
    MagnusStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    WishartEuler,
)
from covsde.observables import LogNorm

KEY = jax.random.key(4)
V0 = jnp.array([[1.0, 0.3], [0.3, 0.8]])


class Scheduled(covsde.AbstractDiffusion):
    """`Γ = first + slope t`."""

    first: float
    slope: float | jax.Array = 0.0

    def gain(self, t):
        return self.first + self.slope * t


class Noise(covsde.AbstractLimit):
    """A linear network: no drift."""

    diffusion: covsde.AbstractDiffusion
    drift: covsde.AbstractDrift = ActivationDrift(Identity())


RISING = Noise(Scheduled(0.25, 1.5))
SOLVERS = [
    GeodesicStrang(),
    PalindromicStrang(),
    NinomiyaNinomiya(),
    WishartEuler(),
    FactorEuler(),
    MagnusStrang(),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_every_solver_takes_it(solver):
    """`log V^{aa}_T ~ N(−∫Γ, 2∫Γ)`, and its error of order 1 is far below the noise."""
    paths, h, t1 = 4_000, 1 / 64, 0.5
    vs = covsde.solve(RISING, V0, t1, key=KEY, num_paths=paths, dt0=h, solver=solver).vs[
        :, -1
    ]
    integral = 0.25 * t1 + 1.5 * t1**2 / 2
    growth = np.log(vs[:, [0, 1], [0, 1]]) - np.log(jnp.diagonal(V0))[None]
    bias = 0.0 if solver.weak_order == 2 else 1.5 * t1 * h / 2  # Γ at the start of a step
    error = np.sqrt(2 * integral / paths)
    np.testing.assert_allclose(growth.mean(axis=0), -integral, atol=4 * error + bias)
    np.testing.assert_allclose(
        growth.var(axis=0),
        2 * integral,
        atol=2 * integral * 4 * np.sqrt(2 / paths) + 2 * bias,
    )


def test_the_defaults():
    assert isinstance(covsde.default_solver(RISING), GeodesicStrang)
    call = dict(key=KEY, num_paths=2, steps=(1, 2))
    for solution in covsde.convergence.nested(RISING, V0, 0.25, **call):
        assert isinstance(solution.solver, MagnusStrang)


def test_bounds_and_steps_are_those_of_the_largest_gain():
    """Before the end, wherever it is."""
    m, solver = 20, GeodesicStrang()
    for t1, largest in ((1.0, 1.75), (4.0, 6.25)):
        assert RISING.diffusion.largest_gain(t1) == largest
        assert solver.max_step(RISING, m, t1) == pytest.approx(12 / (m * largest))
        step = covsde.default_step(solver, RISING, m, t1=t1)
        assert step == pytest.approx(0.5 / (largest * m**1.5), rel=1e-6)
    falling = Noise(Scheduled(2.0, -1.0))
    assert solver.max_step(falling, m, 1.0) == pytest.approx(12 / (m * 2))


def test_a_step_beyond_the_bound_is_refused():
    steep = Noise(Scheduled(1.0, 20.0))  # Γ = 41 at the end: 12/82 is the bound
    call = dict(key=KEY, num_paths=2, dt0=0.2)
    with pytest.raises(ValueError, match=r"`dt0` must be at most 0\.146341"):
        covsde.solve(steep, V0, 2.0, **call)
    assert covsde.solve(steep, V0, 0.2, **call).dt0 == 0.2  # Γ = 5
    with pytest.raises(ValueError, match=r"`dt0` must be at most 0\.146341"):
        covsde.convergence.nested(
            steep, V0, 2.0, key=KEY, num_paths=2, steps=(10, 20), solver=GeodesicStrang()
        )


@pytest.mark.parametrize(("slope", "found"), [(-1.0, r"-0\.015625"), (np.nan, "nan")])
def test_a_gain_that_is_no_variance_is_refused(slope, found):
    limit = Noise(Scheduled(0.5, slope))
    with pytest.raises(ValueError, match=rf"Γ of Scheduled .* not negative; got {found}"):
        covsde.solve(limit, V0, 1.0, key=KEY, num_paths=2)


def test_one_input_is_not_exact_in_any_step():
    """As it is where Γ is the same at all times."""
    solver = GeodesicStrang()
    constant = Noise(CongruenceDiffusion(1.0))
    assert covsde.default_step(solver, constant, 1) == 6
    assert covsde.default_step(solver, RISING, 1) == 1 / 16


def test_no_law_is_known():
    with pytest.raises(LookupError, match="No law of LogNorm"):
        covsde.laws.of(RISING, LogNorm(0), V0, 1.0)


# Sums


def test_gains_add_up_to_one_noise():
    """Driven by one Brownian motion: a block is the noise of the sum, path by path."""
    other = Noise(CongruenceDiffusion(0.5))
    block, one = Block(RISING, other, RISING), Noise(Scheduled(1.0, 3.0))
    noise = block.diffusion
    assert noise.is_congruence and noise.gain(2.0) == 7.0
    assert noise.noise_shape == "triangle" and not noise.autonomous
    assert isinstance(covsde.default_solver(block), GeodesicStrang)
    call = dict(key=KEY, num_paths=5, dt0=1 / 8)
    ours, theirs = (covsde.solve(limit, V0, 0.5, **call).vs for limit in (block, one))
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_a_sum_of_two_kinds_has_no_gain():
    noise = RISING.diffusion + covsde.SoftmaxDiffusion(0.5)
    assert not noise.is_congruence and noise.largest_gain(1.0) is None
    assert noise.noise_shape == ("triangle", "square")
    with pytest.raises(
        TypeError, match=r"GeodesicStrang steps the noise .* got SumDiffusion"
    ):
        GeodesicStrang().max_step(Noise(noise), 2)


def test_constants_stay_so():
    """Of a sum, that it is the same at all times, or none at all."""
    noise = CongruenceDiffusion(0.5) + CongruenceDiffusion(1.0)
    assert noise.autonomous and noise.gain(0.0) == 1.5 and not noise.vanishes
    assert (CongruenceDiffusion(0.0) + CongruenceDiffusion(0.0)).vanishes
    limit = Noise(noise)
    assert covsde.laws.of(limit, LogNorm(0), V0, 1.0).mean == -1.5


# Gradients, and what is left out


def test_the_schedule_can_be_learnt():
    """The slope in a slope of Γ, against differences."""

    def mean(slope):
        limit = Noise(Scheduled(0.25, slope))
        vs = covsde.solve(limit, V0, 0.5, key=KEY, num_paths=100, dt0=1 / 8).vs
        return jnp.mean(jnp.log(vs[:, -1, 0, 0]))

    slope, h = jnp.asarray(1.5), 1e-5
    numeric = (mean(slope + h) - mean(slope - h)) / (2 * h)
    np.testing.assert_allclose(jax.jit(jax.grad(mean))(slope), numeric, rtol=1e-6)


class Nothing(covsde.AbstractDiffusion):
    """A noise of which nothing is said."""


class Operator(covsde.AbstractDiffusion):
    """`F dS Fᵀ` as an operator on V alone."""

    def apply(self, t, factor, increment, args):
        return CongruenceDiffusion(1.0).apply(t, factor, increment, args)


def test_a_noise_that_says_too_little_is_refused():
    for diffusion in (Nothing(), Operator()):
        with pytest.raises(TypeError, match=r"has no `tangent`.*Write `gain` if"):
            covsde.solve(Noise(diffusion), V0, 0.25, key=KEY, num_paths=2)

    call = dict(key=KEY, num_paths=5, dt0=1 / 16, solver=diffrax.Euler())
    ours = covsde.solve(Noise(Operator()), V0, 0.25, **call).vs
    theirs = covsde.solve(Noise(CongruenceDiffusion(1.0)), V0, 0.25, **call).vs
    np.testing.assert_array_equal(ours, theirs)
    expected = CongruenceDiffusion(1.0).covariance(V0)
    np.testing.assert_allclose(Operator().covariance(V0), expected, rtol=1e-14)
