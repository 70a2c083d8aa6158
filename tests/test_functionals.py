"""What is kept along a path: integrals, maxima, and the weight of a tilted law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import Identity, ShapedAttention, ShapedMLP, ShapedReLU
from covsde.functionals import AbstractFunctional, Integral, LogWeight, Maximum
from covsde.observables import LogNorm

KEY = jax.random.key(0)
LINEAR = ShapedMLP(Identity())
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
V0 = jnp.array([[1.0, 0.3], [0.3, 1.5]])
T = 0.5


def variance(v):
    return v[:, 0, 0]


def run(limit=LINEAR, v0=V0, num_paths=4000, **options):
    return covsde.solve(limit, v0, T, key=KEY, num_paths=num_paths, **options)


def mean_is(values, exact):
    values = np.asarray(values)
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean() - exact) < 4 * error + 1e-12


def test_an_integral_is_that_of_the_mean():
    times = jnp.array([0.0, 0.2, T])
    solution = run(saveat=times, functionals={"area": Integral(variance)})
    area = solution.functionals["area"]
    assert area.shape == (4000, 3)
    np.testing.assert_array_equal(area[:, 0], 0)
    for i, t in enumerate(times):  # V is a martingale
        mean_is(area[:, i], float(t * V0[0, 0]))


def test_an_integral_of_one_is_the_time():
    """That of a stopped path is the time at which it was."""
    one = Integral(lambda v: jnp.ones(len(v)))
    solution = run(functionals={"t": one}, stop_above=2.0, num_paths=500)
    expected = np.minimum(solution.stopped_at, T)
    assert 20 < np.isfinite(solution.stopped_at).sum() < 480
    np.testing.assert_allclose(solution.functionals["t"][:, 0], expected, rtol=1e-12)


def test_paths_are_the_same_with_functionals():
    kept = {"area": Integral(variance), "largest": Maximum(LogNorm(0))}
    times = jnp.linspace(0, T, 9)
    with_them = run(RELU, saveat=times, functionals=kept, num_paths=50)
    alone = run(RELU, saveat=times, num_paths=50)
    # but for the drift's flow, of which there are twice as many then
    np.testing.assert_allclose(with_them.vs, alone.vs, rtol=1e-4, atol=1e-5)
    largest = np.asarray(with_them.functionals["largest"])
    norms = np.log(np.asarray(with_them.vs)[:, :, 0, 0])
    assert np.all(np.diff(largest, axis=1) >= 0)
    assert np.all(largest >= np.maximum.accumulate(norms, axis=1) - 1e-12)


def test_a_tilted_law_of_no_variance():
    """Under `G = 2 log V` of one input, `V_T²` and its weight have a product of no noise.

    For `V²e^{−2t}` is a martingale, whose h-transform this is.
    """
    solution = run(
        v0=jnp.ones((1, 1)),
        functionals={"weight": LogWeight(lambda v: 2 * jnp.log(v[:, 0, 0]))},
        dt0=1 / 64,
        num_paths=500,
    )
    v = solution.vs[:, 0, 0, 0]
    product = v**2 * jnp.exp(solution.functionals["weight"][:, 0])
    np.testing.assert_allclose(product, np.exp(2 * T), rtol=1e-9)
    # and V itself is drawn from the tilted law, whose drift is 4 V more
    mean_is(jnp.log(v), -T + 4 * T)


@pytest.mark.parametrize(
    ("limit", "m"), [(RELU, 2), (ShapedAttention(0.3, 1.0), 7)], ids=["mlp", "attention"]
)
def test_a_weight_takes_a_tilted_law_back(limit, m):
    v0 = 0.7 * jnp.eye(m) + 0.3
    weight = LogWeight(lambda v: -0.7 * jnp.log(v[:, 0, 0]))
    tilted = run(limit, v0, functionals={"w": weight})
    plain = run(limit, v0)
    weights = np.exp(np.asarray(tilted.functionals["w"][:, 0]))
    mean_is(weights, 1.0)
    for f in (variance, lambda v: v[:, 0, 1]):
        ours, theirs = np.asarray(f(tilted.vs[:, 0])), np.asarray(f(plain.vs[:, 0]))
        error = np.hypot((weights * ours).std(), theirs.std()) / 4000**0.5
        assert abs((weights * ours).mean() - theirs.mean()) < 4 * error
    # it is another law
    ours, theirs = (np.log(variance(one.vs[:, 0])) for one in (tilted, plain))
    assert ours.mean() < theirs.mean() - 4 * theirs.std() / 4000**0.5


def test_one_of_ones_own():
    class Steps(AbstractFunctional):
        """Steps that a path has taken."""

        def start(self, y):
            return jnp.zeros(y.batch)

        def update(self, value, step):
            return value + 1

    solution = run(functionals={"steps": Steps()}, dt0=1 / 16, num_paths=3)
    np.testing.assert_array_equal(solution.functionals["steps"], np.full((3, 1), 8.0))


def test_they_are_saved(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    solution = run(functionals={"area": Integral(variance)}, num_paths=5)
    file = xarray.load_dataset(solution.save(tmp_path / "v.nc"))
    np.testing.assert_array_equal(file["area"], solution.functionals["area"])
    assert file["area"].dims == ("path", "time")


@pytest.mark.parametrize(
    ("functionals", "error", "message"),
    [
        (Integral(variance), TypeError, "`functionals` must be a dict"),
        ({"f": variance}, TypeError, "`functionals` must be a dict .* for 'f'"),
        ({1: Integral(variance)}, TypeError, "`functionals` must be a dict .* for 1"),
        ({"v": Integral(variance)}, ValueError, "the name 'v'"),
        ({"projections": Integral(variance)}, ValueError, "the name 'projections'"),
        (
            {"p": LogWeight(variance), "q": LogWeight(variance)},
            ValueError,
            "one may tilt the SDE; got LogWeight, LogWeight",
        ),
    ],
)
def test_refusals(functionals, error, message):
    with pytest.raises(error, match=message):
        run(functionals=functionals)
    with pytest.raises(TypeError, match="`of` must be a JAX function"):
        Integral(3)
    with pytest.raises(TypeError, match="`potential` must be a JAX function"):
        LogWeight(None)
