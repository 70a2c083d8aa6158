"""Finite networks: exact moments, agreement of the methods, reproducibility, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma, psi

import covsde
from covsde import Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.observables import correlation, log_det
from covsde.oracles import AbstractNetwork, _gram, _weights, finite_network, sample
from covsde.oracles._normals import NormalStream

METHODS = ("gram", "weights")
LINEAR = ShapedMLP(Identity())
RELU = ShapedMLP(ShapedReLU(0.5, -1.0))
TANH = ShapedMLP(ShapedSmooth(jnp.tanh, a=1.0))
V0 = jnp.array([[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]])
KEY = jax.random.key(20)


def assert_mean(samples, expected):
    """The mean over the first axis, to four standard errors."""
    samples = np.asarray(samples)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - expected), 4 * error)


def assert_variance(samples, expected):
    """The variance, to four standard errors, which the fourth moment gives."""
    squares = (np.asarray(samples) - np.mean(samples)) ** 2
    assert_mean(squares * len(squares) / (len(squares) - 1), expected)


# Exact moments


@pytest.mark.parametrize("method", METHODS)
def test_linear_network_is_a_martingale(method):
    networks = sample(LINEAR, V0, 0.5, width=16, key=KEY, num_networks=4000, method=method)
    assert_mean(networks.vs[:, 0], V0)


@pytest.mark.parametrize("method", METHODS)
def test_linear_network_is_the_wishart_chain(method):
    width, depth, m = 16, 8, 3
    networks = sample(
        LINEAR, V0, depth / width, width=width, key=KEY, num_networks=4000, method=method
    )
    growth = log_det(networks.vs[:, 0]) - log_det(V0)
    half = (width - np.arange(m)) / 2
    assert_mean(growth, depth * np.sum(psi(half) + np.log(2 / width)))
    assert_variance(growth, depth * np.sum(polygamma(1, half)))


@pytest.mark.parametrize("method", METHODS)
def test_one_relu_layer_keeps_variances(method):
    # exact at every width and for every variance: the shaped ReLU is homogeneous
    networks = sample(RELU, V0, 1 / 8, width=8, key=KEY, num_networks=4000, method=method)
    assert_mean(jnp.diagonal(networks.vs[:, 0], axis1=1, axis2=2), jnp.diagonal(V0))


@pytest.mark.parametrize("method", METHODS)
def test_one_smooth_layer_keeps_unit_variance(method):
    v0 = jnp.eye(1)
    networks = sample(TANH, v0, 1 / 4, width=4, key=KEY, num_networks=4000, method=method)
    assert_mean(networks.vs[:, 0, 0, 0], 1.0)


@pytest.mark.parametrize("limit", [RELU, TANH], ids=["relu", "tanh"])
def test_methods_agree_in_law(limit):
    gram, weights = (
        sample(limit, V0, 1.0, width=32, key=KEY, num_networks=2000, method=method).vs[:, 0]
        for method in METHODS
    )
    for observable in (
        lambda v: correlation(v)[:, 0, 1],
        lambda v: jnp.log(v[:, 0, 0]),
        log_det,
    ):
        test = stats.ks_2samp(np.asarray(observable(gram)), np.asarray(observable(weights)))
        assert test.pvalue > 1e-3


# The literal weights


def test_normals_are_normal_and_streams_differ():
    size = 200_001
    first, again, other = (np.empty(size, np.float32) for _ in range(3))
    for seed, out in (((1, 2, 3), first), ((1, 2, 3), again), ((1, 2, 4), other)):
        NormalStream(seed).fill(out)
    np.testing.assert_array_equal(first, again)
    assert stats.kstest(first, "norm").pvalue > 1e-3
    powers = np.stack([first.astype(float) ** k for k in range(1, 7)], axis=1)
    assert_mean(powers, [0, 1, 0, 3, 0, 15])
    assert_mean(first.astype(float) * other, 0.0)
    # radius and angle, and neighbours, are independent
    half = (size + 1) // 2
    assert_mean(first[: half - 1].astype(float) ** 2 * first[half:] ** 2, 1.0)
    assert_mean(first[1:].astype(float) * first[:-1], 0.0)


def test_a_layer_multiplies_by_its_weights(monkeypatch):
    # blocks of two rows, and a last one of a single row
    monkeypatch.setattr(_weights, "_BLOCK", 8)
    x = np.arange(24.0).reshape(2, 3, 4)
    drawn = []

    def layer(hidden, weights):
        drawn.append(weights(hidden, 5))
        return drawn[-1]

    class Recorder(AbstractNetwork):
        width: int = eqx.field(static=True, default=5)

        def layer(self, t, hidden, weights):
            return layer(jnp.asarray(x), weights)

    v0 = jnp.broadcast_to(V0, (2, 3, 3))
    _weights.run(Recorder(), v0, jnp.array([1]), jnp.asarray(jnp.inf), KEY, jnp.arange(2))
    words = np.asarray(jax.random.key_data(KEY)).tolist()
    for i in range(2):
        stream, rows = NormalStream((*words, i)), []
        for count in (2, 2, 1):
            block = np.empty(count * 4)
            stream.fill(block)
            rows.append(block.reshape(count, 4))
        np.testing.assert_allclose(drawn[0][i], x[i] @ np.concatenate(rows).T, rtol=1e-12)


def test_inputs_have_the_covariance():
    for v0 in (V0, jnp.ones((3, 3)), jnp.eye(9)):
        x = finite_network(LINEAR, 4).inputs(v0[None], None)[0]
        np.testing.assert_allclose(covsde.gram(x), v0, rtol=1e-14, atol=1e-15)


# Reproducibility


@pytest.mark.parametrize("method", METHODS)
def test_networks_depend_on_key_and_index_alone(method, monkeypatch):
    def run(num_networks, key=KEY):
        return sample(
            TANH, V0, 0.5, width=8, key=key, num_networks=num_networks, method=method
        ).vs

    whole = run(10)
    module = {"gram": _gram, "weights": _weights}[method]
    monkeypatch.setattr(module, "chunk_size", lambda width, m: 4)
    np.testing.assert_allclose(run(10), whole, rtol=1e-10)
    np.testing.assert_allclose(run(4), whole[:4], rtol=1e-10)
    others = run(10, jax.random.key(21))
    assert len(np.unique(np.concatenate([whole, others])[:, 0, 0, 0])) == 20


@pytest.mark.parametrize("method", METHODS)
def test_saved_times_are_those_of_layers(method):
    def run(t1, saveat=None):
        return sample(
            RELU,
            V0,
            t1,
            width=10,
            key=KEY,
            num_networks=5,
            method=method,
            saveat=saveat,
        )

    whole = run(1.04, np.array([0.0, 0.32, 0.6, 1.04]))
    np.testing.assert_allclose(whole.ts, [0.0, 0.3, 0.6, 1.0], rtol=1e-15)
    assert whole.vs.shape == (5, 4, 3, 3)
    np.testing.assert_array_equal(whole.vs[:, 0], jnp.broadcast_to(V0, (5, 3, 3)))
    np.testing.assert_allclose(run(0.6).vs[:, 0], whole.vs[:, 2], rtol=1e-10)
    # t1 is reached, though not saved
    np.testing.assert_allclose(run(0.6, [0.3]).vs[:, 0], whole.vs[:, 1], rtol=1e-10)
    assert (whole.width, whole.method, whole.limit) == (10, method, RELU)
    assert whole.solver is None and whole.dt0 is None
    assert np.all(np.isinf(whole.stopped_at))


@pytest.mark.parametrize("method", METHODS)
def test_a_start_for_each_network(method):
    scale = jnp.broadcast_to(jnp.arange(1.0, 5.0)[:, None, None], (4, 3, 3))
    networks = sample(
        LINEAR, V0[None] * scale, 0.5, width=8, key=KEY, num_networks=4, method=method
    )
    one = sample(LINEAR, V0, 0.5, width=8, key=KEY, num_networks=4, method=method)
    np.testing.assert_allclose(networks.vs[:, 0], one.vs[:, 0] * scale, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_dtype_is_that_of_the_start(method):
    networks = sample(
        RELU,
        V0.astype(jnp.float32),
        0.5,
        width=8,
        key=KEY,
        num_networks=4,
        method=method,
    )
    for array in (networks.ts, networks.vs, networks.stopped_at):
        assert array.dtype == jnp.float32


def test_progress_is_reported(monkeypatch):
    monkeypatch.setattr(_gram, "chunk_size", lambda width, m: 4)
    calls = []
    sample(
        LINEAR,
        V0,
        0.5,
        width=8,
        key=KEY,
        num_networks=10,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(4, 10), (8, 10), (10, 10)]


# Stopping, and singular starts


@pytest.mark.parametrize("method", METHODS)
def test_stops_above_the_level(method):
    level, width = 1.5, 8

    def run(stop_above):
        return sample(
            LINEAR,
            V0,
            2.0,
            width=width,
            key=KEY,
            num_networks=50,
            method=method,
            saveat=np.arange(17) / width,
            stop_above=stop_above,
        )

    free, stopped = run(None), run(level)
    above = np.trace(free.vs, axis1=2, axis2=3) / 3 > level
    first = np.where(above.any(axis=1), above.argmax(axis=1), 16)
    times = np.where(above.any(axis=1), np.asarray(free.ts)[first], np.inf)
    assert 0 < above.any(axis=1).sum() < 50
    np.testing.assert_array_equal(stopped.stopped_at, times)
    for i, last in enumerate(first):
        kept = np.minimum(np.arange(17), last)
        np.testing.assert_allclose(stopped.vs[i], free.vs[i, kept], rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_reads_as_infinite(method):
    # a function that grows exponentially overflows within a few layers
    limit = ShapedMLP(ShapedSmooth(jnp.expm1, a=0.4))
    saveat = np.arange(11) / 5
    networks = sample(
        limit, V0, 2.0, width=5, key=KEY, num_networks=40, method=method, saveat=saveat
    )
    stopped, vs = np.asarray(networks.stopped_at), np.asarray(networks.vs)
    assert 0 < np.isfinite(stopped).sum() < 40
    after = saveat[None] >= stopped[:, None] - 1e-9
    assert np.all(np.isfinite(vs[~after]))
    assert np.all(np.isposinf(np.diagonal(vs[after], axis1=1, axis2=2)))
    assert np.all(np.isnan(vs[after][:, 0, 1]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [LINEAR, RELU, TANH], ids=["linear", "relu", "tanh"])
def test_equal_inputs_stay_equal(method, limit):
    v0 = V0[jnp.array([0, 1, 2, 1])][:, jnp.array([0, 1, 2, 1])]
    networks = sample(limit, v0, 1.0, width=16, key=KEY, num_networks=20, method=method)
    v = np.asarray(networks.vs[:, 0])
    tolerance = 16 * 16 * np.finfo(float).eps  # layers times terms of a sum
    for other in (v[:, 1, 3], v[:, 3, 3]):
        np.testing.assert_allclose(other, v[:, 1, 1], rtol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_network_keeps_a_null_direction(method):
    x = jnp.array([[1.0, 0.0], [0.5, 1.0], [1.5, 1.0]])  # the third is the sum
    networks = sample(
        LINEAR, covsde.gram(x), 1.0, width=16, key=KEY, num_networks=20, method=method
    )
    v = np.asarray(networks.vs[:, 0])
    null = np.array([1.0, 1.0, -1.0])
    tolerance = 16 * 16 * np.finfo(float).eps
    size = np.trace(v, axis1=1, axis2=2)[:, None]
    np.testing.assert_array_less(np.abs(v @ null) / size, tolerance)
    assert np.all(np.linalg.eigvalsh(v)[:, 1] > tolerance)


# A limit of one's own


def test_a_new_limit_registers_its_network():
    class Doubling(covsde.AbstractLimit):
        drift: covsde.AbstractDrift = covsde.ActivationDrift(Identity())
        diffusion: covsde.AbstractDiffusion = covsde.CongruenceDiffusion(1.0)

    class DoublingNetwork(AbstractNetwork):
        width: int = eqx.field(static=True)

        def layer(self, t, hidden, weights):
            fan_in = hidden.shape[-1]
            grown = jnp.pad(hidden, ((0, 0), (0, 0), (0, self.width - fan_in)))
            return grown * jnp.sqrt(2.0 * self.width / fan_in)

    limit = Doubling()
    with pytest.raises(TypeError, match=r"finite network \(.*ShapedMLP.*register"):
        sample(limit, V0, 1 / 4, width=4, key=KEY, num_networks=1)
    finite_network.register(Doubling)(lambda limit, width: DoublingNetwork(width))
    for method in METHODS:
        networks = sample(limit, V0, 1 / 4, width=4, key=KEY, num_networks=1, method=method)
        np.testing.assert_allclose(networks.vs[0, 0], 2 * V0, rtol=1e-14)


# Refusals


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(limit="mlp"), TypeError, "`limit` must be a limit"),
        (dict(v0=None), TypeError, "`v0` must be"),
        (dict(v0=jnp.ones((2, 3))), ValueError, "`v0` must have shape"),
        (dict(v0=-jnp.eye(3)), ValueError, "`v0` must have a positive diagonal"),
        (dict(v0=jnp.ones((4, 3, 3))), ValueError, "start for each"),
        (dict(t1=-1.0), ValueError, "`t1` must be a positive"),
        (dict(t1=0.01), ValueError, "`t1` must be long enough for a layer"),
        (dict(width=0), ValueError, "`width` must be an integer of at least 1"),
        (dict(width=-3), ValueError, "`width` must be an integer"),
        (dict(width=8.0), TypeError, "`width` must be an integer"),
        (dict(width=True), TypeError, "`width` must be an integer"),
        (dict(width=2**31, t1=1e-9), ValueError, r"`width` must be at most 2\^31 − 1"),
        (dict(t1=2.0**28), ValueError, r"`t1` must take at most 2\^31 − 1 layers"),
        (dict(t1=1e300), ValueError, r"`t1` must"),
        (dict(v0=1e-300 * V0), ValueError, "`v0` must have variances between 1e-292"),
        (dict(v0=1e300 * V0), ValueError, "`v0` must have variances between 1e-292"),
        (dict(t1=700.0), ValueError, "`t1` must leave norms.* 2 networks reach"),
        (dict(key=0), TypeError, "`key` must be a JAX random key"),
        (dict(num_networks=0), ValueError, "`num_networks` must be an integer"),
        (dict(num_networks=2.0), TypeError, "`num_networks` must be an integer"),
        (dict(method="exact"), ValueError, '`method` must be "gram" or "weights"'),
        (dict(method=None), ValueError, "`method` must be"),
        (dict(saveat=[0.0, 2.0]), ValueError, r"`saveat` must lie in \[0, t1\]"),
        (dict(saveat=[0.5, 0.25]), ValueError, "`saveat` must increase"),
        (dict(saveat=[0.5, 0.51]), ValueError, "`saveat` must ask for each layer once"),
        (dict(stop_above=-1.0), ValueError, "`stop_above` must be a positive"),
        (dict(stop_above=0.5), ValueError, "`stop_above` must exceed"),
        (dict(progress=True), TypeError, "`progress` must be a function"),
    ],
)
def test_refuses(change, error, message):
    valid = dict(limit=LINEAR, v0=V0, t1=1.0, width=8, key=KEY, num_networks=2)
    arguments = {**valid, **change}
    limit, v0, t1 = (arguments.pop(name) for name in ("limit", "v0", "t1"))
    with pytest.raises(error, match=message):
        sample(limit, v0, t1, **arguments)


def test_refuses_to_be_traced():
    def run(v0):
        return sample(LINEAR, v0, 1.0, width=8, key=KEY, num_networks=2).vs

    with pytest.raises(TypeError, match="cannot be traced"):
        jax.jit(run)(V0)
