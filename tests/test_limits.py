"""Limits of architectures: their noise as operators, and one layer of their networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from benchmarks import explosion
from benchmarks.one_step import LIMITS, deviations, random_covariance
from covsde.brownian import arrange, count_entries
from covsde.cli._options import stop_level
from covsde.limits import Bounds, Registry
from covsde.matrices import Square, Symmetric, cholesky, multiply_square
from covsde.observables import correlation

NOISES = {
    "congruence": covsde.CongruenceDiffusion(1.7),
    "softmax": covsde.SoftmaxDiffusion(0.9),
    "heads": covsde.ShapedAttention(0.6, 0.7, heads=3).diffusion,
    "transformer": covsde.ShapedTransformer(covsde.Identity(), 0.7, 0.8).diffusion,
}


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("name", NOISES)
def test_the_operator_has_the_covariance(name, m):
    """`J Jᵀ = Σ`, where `J` is the noise's Jacobian in the Brownian entries."""
    diffusion = NOISES[name]
    v = jnp.asarray(random_covariance(m, m))
    noise = diffusion.at(jnp.asarray(0.0), cholesky(Symmetric.from_dense(v)), None)
    shape = diffusion.noise_shape

    def apply(entries):
        return noise.apply(arrange(shape, entries, m)).to_dense()

    jacobian = jax.jit(jax.jacfwd(apply))(jnp.zeros(count_entries(shape, m)))
    sigma = np.einsum("abi,cdi->abcd", jacobian, jacobian)
    scale = np.trace(v) ** 2
    np.testing.assert_allclose(diffusion.covariance(v), sigma, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("m", [2, 4, 9])
@pytest.mark.parametrize("name", NOISES)
def test_fields_and_correction_make_v_driftless(name, m):
    """As `dF = F (∘dA + c dt)` the noise has the same Σ, and leaves no drift in V."""
    diffusion = NOISES[name]
    rng = np.random.default_rng(m)
    frame = jnp.asarray(rng.normal(size=(m, m)) / np.sqrt(m) + np.eye(m))
    v = frame @ frame.T
    factor = cholesky(Symmetric.from_dense(v))
    noise = diffusion.at(jnp.asarray(0.0), factor, None)
    shape = diffusion.noise_shape

    def velocity(frame, entries):
        frame = Square.from_dense(frame)
        field = noise.field(frame, arrange(shape, entries, m))
        return multiply_square(frame, field).to_dense()

    def one(entries):
        moved, conversion = jax.jvp(
            lambda f: velocity(f, entries), (frame,), (velocity(frame, entries),)
        )
        return moved, conversion

    basis = jnp.eye(count_entries(shape, m))
    moved, conversion = jax.jit(jax.vmap(one))(basis)
    correction = noise.correction(Square.from_dense(frame), m)
    ito = multiply_square(Square.from_dense(frame), correction).to_dense()
    ito = (ito + 0.5 * conversion.sum(axis=0)) @ frame.T
    drift = ito + ito.T + jnp.einsum("iab,icb->ac", moved, moved)
    size = np.abs(np.einsum("iab,icb->ac", moved, moved)).max()
    np.testing.assert_allclose(drift, np.zeros((m, m)), atol=1e-12 * size)

    into_v = moved @ frame.T
    into_v = into_v + into_v.mT
    sigma = np.einsum("iab,icd->abcd", into_v, into_v)
    expected = diffusion.covariance(v)
    np.testing.assert_allclose(sigma, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("m", [2, 4, 9])
def test_attention_drift_is_the_formula(m):
    v = random_covariance(m, m)
    p = np.eye(m) - 1 / m
    c = p @ v @ p
    r = np.diag(c) - np.trace(c) / m
    expected = v * np.trace(p @ v @ p @ v) / m**2
    expected += (np.outer(np.diag(v), v @ r) + np.outer(v @ r, np.diag(v))) / (2 * m)
    drift = covsde.ShapedAttention(0.6, 0.5).drift
    np.testing.assert_allclose(
        drift(jnp.zeros(()), jnp.asarray(v), None), (0.6 / 0.5) ** 2 * expected, rtol=1e-12
    )
    if m == 2:
        d = v[0, 0] - 2 * v[0, 1] + v[1, 1]
        np.testing.assert_allclose(expected, d**2 * v / 16, rtol=1e-12)


def test_a_block_adds_up():
    """One γ and `n_h = n`: `Γ = γ²(4−γ²)`."""
    gamma = 0.7
    block = covsde.ShapedTransformer(covsde.ShapedReLU(1.0, -1.0), gamma, 0.8)
    v = jnp.asarray(random_covariance(3, 0))
    softmax = covsde.SoftmaxDiffusion(gamma**2 / 0.8)
    gain = gamma**2 * (4 - gamma**2)
    expected = covsde.CongruenceDiffusion(gain).covariance(v) + softmax.covariance(v)
    np.testing.assert_allclose(block.diffusion.covariance(v), expected, rtol=1e-12)
    t = jnp.zeros(())
    attention = covsde.ShapedAttention(gamma, 0.8).drift(t, v, None)
    mlp = covsde.ShapedMLP(covsde.ShapedReLU(1.0, -1.0)).drift(t, v, None)
    np.testing.assert_allclose(
        block.drift(t, v, None), attention + gamma**2 * mlp, rtol=1e-12
    )


def test_a_resnet_of_branch_one_is_the_mlp():
    activation = covsde.ShapedReLU(0.0, -1.0)
    v0 = jnp.asarray(random_covariance(3, 1))
    call = dict(key=jax.random.key(0), num_paths=20, dt0=1 / 8)
    resnet = covsde.solve(covsde.ShapedResNet(activation, 1.0), v0, 0.5, **call)
    mlp = covsde.solve(covsde.ShapedMLP(activation), v0, 0.5, **call)
    np.testing.assert_allclose(resnet.vs, mlp.vs, rtol=1e-12)


@pytest.mark.parametrize("name", LIMITS)
def test_one_layer_has_the_drift_and_the_noise(name):
    """`n E[V' − V]` and `n Cov V'` of literal layers; the benchmark has more of them."""
    z = deviations(LIMITS[name], 3, (16, 32), 20_000, "weights", seed=11)
    # the largest of z.size normal deviations, once in a thousand
    level = stats.norm.isf(5e-4 / z.size)
    assert np.abs(z).max() < level, np.abs(z).max()


# Values of an independent implementation, with its own 2e4 paths or so


@pytest.mark.parametrize(
    ("limit", "v0", "t1", "stop_above", "mean", "deviation"),
    [
        (
            covsde.ShapedResNet(covsde.ShapedReLU(0.0, -1.5), 0.5**0.5),
            0.7 * np.eye(2) + 0.3,
            1.0,
            None,
            0.3516,
            0.536,
        ),
        (covsde.ShapedAttention(0.8, 1.0), 0.7 * np.eye(3) + 0.3, 0.3, 15.0, 0.278, 0.421),
    ],
    ids=["ResNet", "attention"],
)
def test_terminal_correlations(limit, v0, t1, stop_above, mean, deviation):
    """Mean and deviation of ρ, to four standard errors of both."""
    num_paths = 20_000
    solution = covsde.solve(
        limit,
        jnp.asarray(v0),
        t1,
        key=jax.random.key(5),
        num_paths=num_paths,
        stop_above=stop_above,
    )
    running = jnp.isinf(solution.stopped_at)
    rho = np.asarray(correlation(solution.vs[running, -1])[:, 0, 1])
    error = 2**0.5 * deviation / num_paths**0.5
    assert abs(rho.mean() - mean) < 4 * error
    assert abs(rho.std() - deviation) < 4 * error


def test_two_tokens_explode_as_often():
    """Reaching `d = 4e6` from 1.6, to four standard errors of 2000 paths."""
    share, exact, z = explosion.deviation(0.5, 0.5, 2000, 1 / 32, jax.random.key(1))
    assert abs(z) < 4, (share, exact)


# What belongs to a limit


def test_a_registry_asks_what_is_nearest_first():
    @Registry
    def called(limit):
        """Its doc."""
        return [known(limit) for known in called.known_of(limit)]

    called.register(covsde.AbstractLimit)(lambda limit: "limit")

    @called.register(covsde.ShapedMLP)
    def _(limit):
        return type(limit).__name__

    class Derived(covsde.ShapedMLP):
        pass

    assert called(Derived(covsde.Identity())) == ["Derived", "limit"]
    assert called(covsde.ShapedAttention(0.5, 1.0)) == ["limit"]
    assert called("mlp") == [] and called.names == "AbstractLimit, ShapedMLP"
    assert called.__doc__ == "Its doc."


def test_bounds_are_those_of_drift_and_diffusion():
    activation = covsde.ShapedReLU(0.0, -1.0)
    for limit, singular, explodes in (
        (covsde.ShapedMLP(activation), True, False),
        (covsde.ShapedTransformer(activation, 0.5, 0.7), True, True),
        (covsde.KernelODE(covsde.BranchCovariance(jnp.tanh)), False, True),
    ):
        bounds = limit.bounds(3)
        assert bounds.max_step == float(limit.drift.max_step)
        assert bounds.drift_rate == pytest.approx(float(limit.drift.rate), rel=1e-15)
        assert bounds.noise_rate == pytest.approx(float(limit.diffusion.rate(3)), rel=1e-15)
        assert (bounds.accepts_singular, bounds.can_explode) == (singular, explodes)


def test_whether_a_start_is_taken_is_known_of_traced_parameters():
    @jax.jit
    def take(c_minus):
        limit = covsde.ShapedResNet(covsde.ShapedReLU(0.0, c_minus), -c_minus / 2)
        assert limit.bounds(2).accepts_singular
        return c_minus

    take(-1.0)


class Tame(covsde.AbstractLimit):
    """A limit of a user's that knows that it does not explode."""

    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion

    def bounds(self, m):
        return TameBounds(self.drift, self.diffusion, m)


class TameBounds(Bounds):
    can_explode = False


class Growth(covsde.AbstractDrift):
    def __call__(self, t, v, args):
        return v


def test_a_limit_that_knows_its_bounds_is_believed():
    v0 = jnp.array([[1.0]])
    tame = Tame(Growth(), covsde.CongruenceDiffusion())
    assert covsde.AbstractLimit.bounds(tame, 1).can_explode
    assert stop_level(tame, v0, None) is None
    found = covsde.estimate(
        tame, v0, 0.25, covsde.observables.Entry(0, 0), tol=0.1, key=jax.random.key(0)
    )
    assert abs(found.value - np.exp(0.25)) < 4 * found.error
