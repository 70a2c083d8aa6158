"""Shaping exponents: an ODE below ½, the SDE at ½, no drift beyond."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ActivationDrift, KernelODE, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.activations import Identity
from covsde.oracles import finite_network, sample

KEY = jax.random.key(0)
V0 = jnp.array([[1.0, 0.3], [0.3, 0.8]])
SHAPED = {
    "relu": lambda p: ShapedReLU(1.0, -1.0, p),
    "smooth": lambda p: ShapedSmooth(jax.nn.softplus, 0.8, 0.5, p),
}
every_shape = pytest.mark.parametrize("shape", SHAPED.values(), ids=SHAPED)


@every_shape
@pytest.mark.parametrize("p", [0.25, 0.5, 0.8])
def test_a_layer_adds_the_drift_times_its_time(shape, p):
    """`n^{2p} (c E[φ_s φ_s] − V) → b`, whatever p, by Gauss–Hermite quadrature."""
    activation, root = shape(p), np.linalg.cholesky(V0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    z = np.einsum("ab,bij->aij", root, np.meshgrid(nodes, nodes))

    def added(width):
        phi = np.asarray(activation.shaped(jnp.asarray(z), width))
        mean = np.einsum("aij,bij,i,j->ab", phi, phi, weights, weights)
        return width ** (2 * p) * (activation.normalising_constant(width) * mean - V0)

    drift = shape(0.5).drift(V0[0, 0], V0[1, 1], V0[0, 1])
    width = round(1e3 ** (1 / p))
    quadrature = 0.01 if isinstance(activation, ShapedReLU) else 1e-4  # of the kink
    np.testing.assert_allclose(added(width)[0, 1], drift, atol=quadrature)


@every_shape
def test_below_one_half_networks_follow_the_ode(shape):
    """Mean and spread of ρ tend to it and to 0, in the time `l n^{-2p}`."""
    limit = KernelODE(ActivationDrift(shape(0.25)))
    expected = covsde.observables.correlation(limit.integrate(V0, 1.0))[0, 0, 1]
    distance, spread = {}, {}
    for width in (64, 1024):
        assert finite_network(limit, width).layers_per_time == round(width**0.5)
        networks = sample(limit, V0, 1.0, width=width, key=KEY, num_networks=1000)
        rho = np.asarray(covsde.observables.correlation(networks.vs[:, -1])[:, 0, 1])
        distance[width], spread[width] = abs(rho.mean() - expected), rho.std()
    error = spread[1024] / np.sqrt(1000)
    # of the order n^{2p−1} = n^{-1/2}: a quarter, within a factor of two
    assert distance[1024] < max(distance[64] / 2, 4 * error)
    assert distance[1024] < 0.03
    assert 0.35 < spread[1024] / spread[64] < 0.7  # of the order n^{-1/4}: a half


def test_validate_tells_that_there_is_no_noise():
    limit = KernelODE(ActivationDrift(ShapedReLU(1.0, -1.0, 0.25)))
    report = covsde.validate(
        limit, V0, 1.0, width=(64, 256), key=KEY, num_paths=4, num_networks=500
    )
    assert any("no noise" in note for note in report.notes)
    narrow, wide = (row for row in report.rows if row.kind == "rho")
    assert wide.wasserstein < narrow.wasserstein


@every_shape
def test_beyond_one_half_there_is_no_drift(shape):
    limit = ShapedMLP(shape(0.8))
    assert not np.any(limit.drift(0.0, V0, None))
    assert limit.drift.activation == Identity()
    assert not limit.drift.can_explode
    linear = covsde.solve(ShapedMLP(Identity()), V0, 0.5, key=KEY, num_paths=3)
    same = covsde.solve(limit, V0, 0.5, key=KEY, num_paths=3)
    np.testing.assert_array_equal(same.vs, linear.vs)
    assert "b^{ab} &= 0" in covsde.describe(limit).latex


def test_networks_beyond_one_half_are_linear():
    limit = ShapedMLP(ShapedReLU(1.0, -1.0, 0.8))
    report = covsde.validate(limit, V0, 0.5, width=256, key=KEY, num_networks=1000)
    # the drift that is left at this width is b n^{1−2p} = .04 b
    assert all(row.ks < 1.5 * row.ks_level for row in report.rows)


def test_an_activation_with_an_exponent_is_named_with_it():
    usual = repr(covsde.describe(ShapedMLP(ShapedReLU(0.0, -1.0))))
    assert "ShapedReLU(c_plus=0, c_minus=-1)" in usual
    weak = repr(covsde.describe(ShapedMLP(ShapedReLU(0.0, -1.0, 0.8))))
    assert "ShapedReLU(c_plus=0, c_minus=-1, p=0.8)" in weak


@pytest.mark.parametrize(
    "limit",
    [
        ShapedMLP,
        lambda x: covsde.ShapedResNet(x, 0.5),
        lambda x: covsde.ShapedFeedForward(x, 0.5),
        lambda x: covsde.ShapedTransformer(x, 0.5, 1.0),
    ],
)
def test_an_sde_refuses_exponents_below_one_half(limit):
    with pytest.raises(ValueError, match=r"p ≥ 0\.5 here; got p = 0\.25.*KernelODE"):
        limit(ShapedReLU(0.0, -1.0, 0.25))


@every_shape
def test_refused_exponents(shape):
    for p in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`p` must be a positive finite number"):
            shape(p)
    with pytest.raises(TypeError, match="`p` must be a positive finite number"):
        shape("half")
    with pytest.raises(TypeError, match=r"`p` must be a positive .*; got a value traced"):
        jax.jit(lambda p: shape(p).drift(1.0, 1.0, 0.5))(0.5)
