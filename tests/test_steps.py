"""The accuracy that the automatic step states; `benchmarks.steps` asks 100 problems."""

import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from benchmarks import steps
from covsde import GeodesicStrang, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.convergence import study
from covsde.diffusions import CongruenceDiffusion
from covsde.matrices import Lower, factorise, gram
from covsde.observables import correlation
from covsde.solvers.geodesic import geodesic_increment

ONE = np.ones((1, 1))


def pulled(strength, target=0.0):
    pull = steps.Pull(jnp.asarray(strength), jnp.asarray(target))
    return steps.Pulled(pull, CongruenceDiffusion(0.5))


def test_what_is_stated_is_what_is_measured():
    """The numbers of the docstring are those of the benchmark."""
    text = covsde.default_step.__doc__ or ""
    assert set(steps.ACCURACY.values()) == {2e-3, 1e-3}
    assert "2e-3 in `E log V^{aa}`" in text and "1e-3 in `E ρ^{ab}`" in text


@pytest.mark.parametrize("strength", [0.5, 2.0, 4.0])
def test_a_decay_of_ones_own(strength):
    """`b = −kV` by Heun's method, whose error is `k³h²/6` per unit time, on any path."""
    limit, t1 = pulled(strength), 0.5
    problem = steps.Random("own drift", limit, ONE, t1)
    found, taken, dt0 = steps.of_default_step(problem, num_paths=64)
    assert dt0 == pytest.approx(min(1 / 16, 1 / (16 * strength)), rel=1e-6)
    error = found["E log V"].error[0]
    assert error == pytest.approx(strength**3 * (t1 / taken) ** 2 / 6 * t1, rel=0.1)
    assert abs(error) < steps.ACCURACY["E log V"]


def test_one_smooth_input():
    limit = ShapedMLP(ShapedSmooth(jnp.tanh, 0.6))
    problem = steps.Random("saturating", limit, 1.5 * ONE, 1.0)
    found, _, _ = steps.of_default_step(problem, num_paths=2**14)
    for name in ("E log V", "sd log V"):
        (error,), (noise,) = found[name]
        assert 5 * noise < steps.ACCURACY[name]
        assert abs(error) < steps.ACCURACY[name]


@pytest.mark.parametrize("c_minus", [-1.0, -3.0])
@pytest.mark.parametrize("rho0", [0.0, 0.9])
def test_correlations_without_noise(c_minus, rho0):
    limit = ShapedMLP(ShapedReLU(0.0, c_minus))
    v0 = jnp.array([[1.0, rho0], [rho0, 1.0]])
    step = covsde.default_step(GeodesicStrang(), limit, 2)
    number = round(1 / step)
    for power in (1, 2):
        (row,) = study(
            limit,
            [GeodesicStrang()],
            v0,
            1.0,
            lambda v, power=power: correlation(v)[:, 0, 1] ** power,
            steps=(number, 2 * number),
            quadrature=True,
        ).rows
        bound = steps.ACCURACY["E ρ"] / 2
        assert abs(row.errors[0]) + 3 * row.standard_errors[0] < bound


@pytest.mark.parametrize("h", [1 / 8, 1 / 16])
def test_norms_under_the_noise_of_two_inputs(h, nodes=24):
    """`E log V^{aa}` of one step, by quadrature: m(m−1)(5m+4) h³/1440 too much."""
    x, radial = np.polynomial.laguerre.laggauss(nodes)  # x = r²/2
    angles = np.arange(nodes) * 2 * np.pi / nodes
    r, angles = (y.ravel() for y in np.meshgrid(np.sqrt(2 * x), angles, indexing="ij"))
    weights = np.repeat(radial / nodes, nodes)
    # of the traceless part r (cos, sin; sin, −cos) of S, in entries (dG + dGᵀ)/√2
    entries = np.sqrt(h) * np.stack(
        [r * np.cos(angles) / 2**0.5, r * np.sin(angles), -r * np.cos(angles) / 2**0.5]
    )
    start = factorise(jnp.broadcast_to(jnp.eye(2), (r.size, 2, 2)))
    increment = Lower.from_entries(jnp.asarray(entries), 2)
    moved = gram(geodesic_increment(start, increment, 1.0, h)).to_dense()
    error = weights @ np.log(np.asarray(moved)[:, 0, 0]) + h
    assert error == pytest.approx(2 * 1 * 14 / 1440 * h**3, rel=0.1)
