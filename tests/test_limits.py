"""Limits of architectures: their noise as operators, and one layer of their networks."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from benchmarks.one_step import LIMITS, deviations, random_covariance
from covsde._checks import is_concrete
from covsde.brownian import arrange, count_entries
from covsde.cli._scheme import stop_level
from covsde.diffusions import Tangent
from covsde.limits import Bounds, Registry
from covsde.matrices import (
    Lower,
    Square,
    Symmetric,
    cholesky,
    factorise,
    gram,
    multiply_square,
)
from covsde.observables import correlation
from covsde.terms import BoundNoise

NOISES = {
    "congruence": covsde.CongruenceDiffusion(1.7),
    "softmax": covsde.SoftmaxDiffusion(0.9),
    "heads": covsde.ShapedAttention(0.6, 0.7, heads=3).diffusion,
    "transformer": covsde.ShapedTransformer(covsde.Identity(), 0.7, 0.8).diffusion,
}
START = jnp.zeros(())


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("name", NOISES)
def test_the_operator_has_the_covariance(name, m):
    """`J Jᵀ = Σ`, where `J` is the noise's Jacobian in the Brownian entries."""
    diffusion, v = NOISES[name], random_covariance(m, m)
    shape = diffusion.noise_shape

    @jax.jit
    def both(v):
        factor = cholesky(Symmetric.from_dense(v))

        def apply(entries):
            increment = arrange(shape, entries, m)
            return diffusion.apply(START, factor, increment, None).to_dense()

        nothing = jnp.zeros(count_entries(shape, m))
        return jax.jacfwd(apply)(nothing), diffusion.covariance(v)

    jacobian, found = both(v)
    sigma = np.einsum("abi,cdi->abcd", jacobian, jacobian)
    np.testing.assert_allclose(found, sigma, rtol=0, atol=1e-12 * np.trace(v) ** 2)


@pytest.mark.parametrize("m", [2, 4, 9])
@pytest.mark.parametrize("name", NOISES)
def test_tangent_and_correction_make_v_driftless(name, m):
    """As `dF = ∘tangent + correction dt` it has the same Σ, and leaves no drift in V."""
    diffusion = NOISES[name]
    rng = np.random.default_rng(m)
    frame = rng.normal(size=(m, m)) / np.sqrt(m) + np.eye(m)
    shape = diffusion.noise_shape

    def velocity(frame, entries):
        frame = Square.from_dense(frame)
        increment = arrange(shape, entries, m)
        return diffusion.tangent(START, frame, increment, None).of(frame).to_dense()

    @jax.jit
    def all_of(frame):
        def one(entries):
            moved = velocity(frame, entries)
            return jax.jvp(lambda f: velocity(f, entries), (frame,), (moved,))

        square = Square.from_dense(frame)
        correction = diffusion.correction(START, square, m, None).of(square).to_dense()
        moved, conversion = jax.vmap(one)(jnp.eye(count_entries(shape, m)))
        return moved, conversion, correction, diffusion.covariance(frame @ frame.T)

    moved, conversion, ito, expected = map(np.asarray, all_of(frame))
    ito = (ito + 0.5 * conversion.sum(axis=0)) @ frame.T
    drift = ito + ito.T + np.einsum("iab,icb->ac", moved, moved)
    size = np.abs(np.einsum("iab,icb->ac", moved, moved)).max()
    np.testing.assert_allclose(drift, np.zeros((m, m)), atol=1e-12 * size)

    into_v = moved @ frame.T
    into_v = into_v + into_v.mT
    sigma = np.einsum("iab,icd->abcd", into_v, into_v)
    np.testing.assert_allclose(sigma, expected, atol=1e-12 * np.abs(expected).max())


# What follows from a noise's tangent


class Given(covsde.AbstractDiffusion):
    """A noise of which only the tangent is known."""

    noise: covsde.AbstractDiffusion

    @property
    def noise_shape(self):
        return self.noise.noise_shape

    def tangent(self, t, frame, increment, args):
        return self.noise.tangent(t, frame, increment, args)


def factors(v) -> Lower:
    """Of `V` and of `V/2`, as two paths."""
    return factorise(jnp.stack([v, v / 2]))


@pytest.mark.parametrize("m", [2, 6, 9])
@pytest.mark.parametrize("name", NOISES)
def test_all_follows_from_the_tangent(name, m):
    noise, v = NOISES[name], random_covariance(m, m)
    shape = noise.noise_shape
    entries = np.random.default_rng(m).normal(size=(count_entries(shape, m), 2))

    @jax.jit
    def all_of(v, entries):
        factor, increment = factors(v), arrange(shape, entries, m)
        return [
            (
                jax.vmap(one.covariance)(jnp.stack([v, v / 2])),
                one.apply(START, factor, increment, None).to_dense(),
                one.trace_variance(START, factor, None),
            )
            for one in (Given(noise), noise)
        ]

    (found, ours, our_trace), (sigma, theirs, trace) = all_of(v, entries)
    np.testing.assert_allclose(found, sigma, rtol=0, atol=1e-12 * np.abs(sigma).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    exact = np.einsum("iaacc->i", sigma)
    for one in (our_trace, trace):
        np.testing.assert_allclose(one, exact, rtol=1e-12, atol=1e-28)


def test_the_correction_shares_a_product_with_the_tangent():
    """It is `tangent + h correction`, as it is of any other noise."""
    noise = covsde.ShapedAttention(0.7, 0.4, heads=2).diffusion
    rng = np.random.default_rng(8)
    frame = Square.from_dense(jnp.asarray(rng.normal(size=(5, 3, 3))))
    entries = jnp.asarray(rng.normal(size=(count_entries(noise.noise_shape, 3), 5)))
    increment = arrange(noise.noise_shape, entries, 3)
    h = jnp.linspace(0.1, 0.5, 5)
    whole = noise.corrected(START, frame, increment, 3, h, None).of(frame)
    tangent = noise.tangent(START, frame, increment, None)
    parts = (tangent + noise.correction(START, frame, 3, None) * h).of(frame)
    np.testing.assert_allclose(whole.to_dense(), parts.to_dense(), rtol=1e-12, atol=1e-13)


# Noise that multiplies from the left


class Masked(covsde.AbstractDiffusion):
    """The softmax of masked attention: row a of `dF = Y F` sees the keys of row a alone.

    `Y` is `F dW Fᵀ`, masked, centred over the keys allowed and divided by their number.
    """

    strength: float
    mask: jax.Array

    @property
    def noise_shape(self):
        return "square"

    def tangent(self, t, frame, increment, args):
        logits = multiply_square(multiply_square(frame, increment), frame.mT).to_dense()
        mask = jnp.broadcast_to(self.mask, logits.shape)
        keys = jnp.sum(mask, axis=-1, keepdims=True)
        mean = jnp.sum(mask * logits, axis=-1, keepdims=True) / keys
        left = self.strength * mask * (logits - mean) / keys
        return Tangent(left=Square.from_dense(left))

    def correction(self, t, frame, rank, args):
        """By differentiation; of a regular V."""
        m = frame.m

        def velocity(frame, entries):
            square = Square.from_dense(frame)
            increment = arrange("square", entries, m)
            return self.tangent(t, square, increment, args).of(square).to_dense()

        def both(frame, entries):
            moved = velocity(frame, entries)
            return jax.jvp(lambda f: velocity(f, entries), (frame,), (moved,))

        def one(frame):
            moved, bent = jax.vmap(both, (None, 0))(frame, jnp.eye(m * m))
            spread = jnp.einsum("iab,icb->ac", moved, moved)
            inverse = jnp.linalg.inv(frame)
            ito = spread @ inverse.T + bent.sum(axis=0)
            return -0.5 * ito @ inverse

        for _ in frame.batch:
            one = jax.vmap(one)
        return Tangent(left=Square.from_dense(one(frame.to_dense())))


class Full(Masked):
    """With every key allowed, and the correction of right multiplication."""

    def correction(self, t, frame, rank, args):
        softmax = covsde.SoftmaxDiffusion(self.strength)
        return softmax.correction(t, frame, rank, args)


def masked_covariance(v, mask):
    """Σ of the masked softmax of strength 1, entry by entry."""
    m = len(v)
    keys = mask.sum(axis=1)
    p = [np.diag(row) - np.outer(row, row) / k for row, k in zip(mask, keys, strict=True)]
    e = np.empty((m, m, m, m))
    for a in range(m):
        for c in range(m):
            inner = v @ p[a] @ v @ p[c] @ v / (keys[a] * keys[c])
            e[a, :, c, :] = v[a, c] * inner
    e = e + np.swapaxes(e, 0, 1)
    return e + np.swapaxes(e, 2, 3)


MASKS = {"causal": np.tril, "window": lambda x: np.triu(np.tril(x, 1), -1), "full": abs}


@pytest.mark.parametrize("m", [3, 6])
@pytest.mark.parametrize("name", MASKS)
def test_masked_noise_has_the_covariance(name, m):
    v, mask = random_covariance(m, m), MASKS[name](np.ones((m, m)))
    noise = Masked(0.9, jnp.asarray(mask))
    expected = 0.81 * masked_covariance(v, mask)
    atol = 1e-12 * np.abs(expected).max()
    found = noise.covariance(jnp.asarray(v))
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    exact = [np.einsum("aacc->", expected) / size for size in (1, 16)]  # of V and V/2
    traces = noise.trace_variance(START, factors(jnp.asarray(v)), None)
    np.testing.assert_allclose(traces, exact, rtol=1e-12)
    if name == "full":
        softmax = covsde.SoftmaxDiffusion(0.9).covariance(jnp.asarray(v))
        np.testing.assert_allclose(softmax, expected, rtol=0, atol=atol)


def kicked(noise, factor, h, seed):
    """`V` after the noise of a step `h`, of one key."""
    rng, m = np.random.default_rng(seed), factor.m
    shape = (2, m * m, *factor.batch)
    halves = np.sqrt(h / 2) * rng.normal(size=shape)
    moved = np.asarray(_kick(noise, factor, jnp.asarray(halves), jnp.asarray(h)))
    return moved @ moved.mT


@eqx.filter_jit
def _kick(noise, factor, halves, h):
    """One program for steps of any length."""
    increment = tuple(arrange("square", half, factor.m) for half in halves)
    bound = BoundNoise(noise, START, None)
    return covsde.NinomiyaNinomiya().kick(bound, factor, increment, h).to_dense()


def test_left_multiplication_alone_is_right_multiplication():
    """With the full mask both are the classical Runge–Kutta step of `F`."""
    factor = factors(jnp.asarray(random_covariance(3, 3))).as_invertible()
    right, left = covsde.SoftmaxDiffusion(0.9), Masked(0.9, jnp.ones((3, 3)))
    ours, theirs = (kicked(noise, factor, 1 / 16, seed=3) for noise in (left, right))
    assert np.abs(theirs - gram(factor).to_dense()).max() > 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())


@pytest.mark.parametrize("m", [3, 6])
def test_multiplication_from_both_sides_is_the_same_flow(m):
    """By ever shorter steps of the same directions, to an order of `h^{5/2}` or better."""
    factor = factors(jnp.asarray(random_covariance(m, m))).as_invertible()
    right, left = covsde.SoftmaxDiffusion(0.9), Full(0.9, jnp.ones((m, m)))
    gaps = []
    for h in (1 / 64, 1 / 256, 1 / 1024):
        ours, theirs = (kicked(noise, factor, h, seed=m) for noise in (left, right))
        gaps.append(np.abs(ours - theirs).max())
    orders = np.log2(np.divide(gaps[:-1], gaps[1:])) / 2
    assert np.all(orders > 2.4), orders


def test_left_multiplication_keeps_the_rank():
    """Equal tokens stay equal under the full mask, as by right multiplication."""
    x = np.random.default_rng(0).normal(size=(3, 6))
    x[2] = x[0]
    v = jnp.asarray(x @ x.T / 6)
    right, left = covsde.SoftmaxDiffusion(0.9), Full(0.9, jnp.ones((3, 3)))
    ours, theirs = (kicked(noise, factors(v), 1 / 256, seed=2) for noise in (left, right))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], ours[:, 2], rtol=1e-13)
    assert np.all(np.linalg.matrix_rank(ours, tol=1e-10) == 2)


def test_left_multiplication_keeps_small_pivots():
    """Of tokens that differ by 1e-7, whose pivot V does not know."""
    x = np.random.default_rng(1).normal(size=(3, 8))
    x[1] = x[0] + 1e-7 * x[1]
    root = np.linalg.qr(x.T, mode="r").T
    factor = Lower.from_dense(jnp.asarray(np.stack([root, root]))).as_invertible()
    right, left = covsde.SoftmaxDiffusion(0.9), Full(0.9, jnp.ones((3, 3)))
    halves = jnp.asarray(np.random.default_rng(2).normal(size=(2, 9, 2)) * 1e-3)
    ours, theirs = (
        np.abs(np.diagonal(_kick(noise, factor, halves, jnp.asarray(2e-6)), 0, 1, 2))
        for noise in (left, right)
    )
    assert np.all(ours[:, 1] < 1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


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


# the same formulas with numbers of their own are left to the benchmark
OF_A_FORM = [
    name
    for name in LIMITS
    if name not in ("attention, γ .5, τ₀ .4", "attention, γ 1, τ₀ .7, 2 heads")
]


@pytest.mark.parametrize("name", OF_A_FORM)
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
        (covsde.KernelODE(covsde.BranchCovariance(jnp.tanh)), True, True),
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


class Counted(covsde.ShapedMLP):
    """An MLP that tells how often its parts were built of known parameters."""

    built: ClassVar[list[str]] = []

    @property
    def drift(self):
        if is_concrete(self):
            self.built.append("drift")
        return super().drift

    @property
    def diffusion(self):
        """Its noise."""
        if is_concrete(self):
            self.built.append("diffusion")
        return super().diffusion


def test_drift_and_diffusion_are_built_once():
    limit, v0 = Counted(covsde.ShapedReLU(0.0, -1.0)), jnp.eye(2)
    Counted.built.clear()

    for t1 in (0.25, 0.25, 0.2):
        covsde.solve(limit, v0, t1, key=jax.random.key(0), num_paths=2, dt0=0.25)
    covsde.default_step(covsde.GeodesicStrang(), limit, 2)
    assert sorted(Counted.built) == ["diffusion", "drift"]
    assert Counted.diffusion.__doc__ == "Its noise."


def test_parts_that_are_kept_are_those_of_their_limit():
    limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    # nothing of a trace outlives it
    assert jax.jit(lambda x: x * limit.drift.gain)(2.0) == 2.0
    assert is_concrete(limit.drift) and limit.drift is limit.drift
    # a limit that was asked is no other tree, and so no other program
    fresh = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
    assert jax.tree.structure(limit) == jax.tree.structure(fresh)
    other = eqx.tree_at(lambda limit: limit.activation.c_minus, limit, jnp.array(-0.5))
    assert other.drift.activation.c_minus == -0.5

    def rate(limit):
        return limit.drift.rate + 0 * limit.diffusion.gain(0.0)

    slope = eqx.filter_jit(eqx.filter_grad(rate))(limit).activation.c_minus
    assert slope == pytest.approx(-0.5)  # of (c₊ − c₋)²/4


class Tame(covsde.AbstractLimit):
    """A limit of a user's that knows its longest step, and that it does not explode."""

    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion

    def bounds(self, m):
        return TameBounds(self.drift, self.diffusion, m)


class TameBounds(Bounds):
    can_explode, max_step = False, 0.5


class Growth(covsde.AbstractDrift):
    def __call__(self, t, v, args):
        return v


def test_a_limit_that_knows_its_bounds_is_believed():
    v0 = jnp.array([[1.0]])
    tame = Tame(Growth(), covsde.CongruenceDiffusion())
    assert covsde.AbstractLimit.bounds(tame, 1).can_explode
    assert stop_level(tame, v0, None) is None
    # which is refused after what may explode
    with pytest.raises(ValueError, match="`budget` must be"):
        f, key = covsde.observables.Entry(0, 0), jax.random.key(0)
        covsde.estimate(tame, v0, 0.25, f, tol=0.1, key=key, budget=1.0)
    with pytest.raises(ValueError, match=r"`dt0` must be at most 0\.5 for"):
        covsde.solve(tame, v0, 1.0, key=jax.random.key(0), num_paths=1, dt0=0.6)


class Noisy(Tame):
    """A limit of a user's that knows the rate of its noise."""

    def bounds(self, m):
        return NoisyBounds(self.drift, self.diffusion, m)


class NoisyBounds(Bounds):
    noise_rate = 25.0


def test_the_rate_of_a_noise_is_that_of_its_bounds_until_the_end():
    noise = covsde.CongruenceDiffusion(1.0)
    noisy = Noisy(covsde.ActivationDrift(covsde.Identity()), noise)
    assert covsde.default_step(covsde.GeodesicStrang(), noisy, 2) == 1 / 100

    class Rising(covsde.AbstractDiffusion):
        def gain(self, t):
            return 0.1 + t

    for t1 in (1.0, 4.0):
        bounds = Bounds(noisy.drift, Rising(), 2, t1)
        assert bounds.noise_rate == pytest.approx((0.1 + t1) * 2**1.5 / 2, rel=1e-12)
