"""Expectations to a tolerance. `benchmarks/estimates.py` repeats them 200 times."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import covsde
from covsde import BrownianGrid, Identity, ShapedMLP, ShapedReLU, ShapedSmooth
from covsde.brownian import count_entries
from covsde.estimate._controls import controls_of, fit_controls
from covsde.estimate._ledger import Ledger
from covsde.estimate._multilevel import Pilots, _last_level
from covsde.observables import correlation, log_diagonal

V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
RELU, LINEAR = ShapedMLP(ShapedReLU(0.0, -1.0)), ShapedMLP(Identity())
EXACT = 0.4661791990  # E ρ² at t = 1, by Fokker–Planck


def squared_correlation(v):
    return correlation(v)[:, 0, 1] ** 2


def run(key, tol=0.02, v0=V0, **options):
    return covsde.estimate(
        RELU, v0, 1.0, squared_correlation, tol=tol, key=jax.random.key(key), **options
    )


@pytest.fixture(scope="module")
def runs():
    return [run(key) for key in range(30)]


def test_the_error_is_what_was_asked_for(runs):
    """Root mean square of 30, below the 99.9 % quantile of their χ² law."""
    errors = np.array([one.value for one in runs]) - EXACT
    bound = stats.chi2.ppf(0.999, len(runs)) / len(runs)
    assert np.mean(errors**2) < bound * 0.02**2
    # and the intervals are no wider than they have to be
    assert np.mean(errors**2) > stats.chi2.ppf(0.001, len(runs)) / len(runs) * 0.01**2
    for one in runs:
        assert one.error <= 0.02
        low, high = one.interval
        assert low < one.value < high
    inside = [one.interval[0] < EXACT < one.interval[1] for one in runs]
    assert sum(inside) >= stats.binom.ppf(0.001, len(runs), 0.95)


def test_a_run_is_the_sum_of_its_levels(runs):
    for one in runs:
        *most, last = one.levels
        weight = 4 / 3 if most else 1.0  # extrapolated by order 2
        total = sum(level.mean for level in most) + weight * last.mean
        assert abs(total - one.value) < 1e-12
        steps = np.array([level.steps for level in one.levels])
        np.testing.assert_array_equal(steps[1:], 2 * steps[:-1])
    assert str(runs[0]).count("\n") == 4 + len(runs[0].levels)
    assert "asked for 0.02" in str(runs[0])


def test_one_key_gives_one_value(runs):
    assert run(0).value == runs[0].value != runs[1].value


def test_control_variates_know_the_martingales():
    """log V^{aa} is linear in the Brownian motion: almost nothing is left to sample."""
    found = covsde.estimate(
        LINEAR,
        V0,
        0.5,
        lambda v: log_diagonal(v)[:, 0],
        tol=1e-2,
        key=jax.random.key(0),
        solver=covsde.PalindromicStrang(),
    )
    assert found.levels[0].variance < 0.01  # of a variance of 1
    assert abs(found.value + 0.5) < 4 * found.error


# Control variates


BOTH = ("triangle", "square")


@pytest.mark.parametrize(
    ("noise_shape", "m"),
    [("triangle", 7), ("square", 7), *((BOTH, m) for m in (2, 6, 7, 8, 9, 16))],
)
def test_controls_are_the_entries_and_their_squares(m, noise_shape):
    """However they lie in memory: no padding, and all of mean 0 and of their variance."""
    ts, paths = jnp.array([0.0, 0.1, 0.5]), 2000
    path = BrownianGrid(
        ts, m, key=jax.random.key(m), num_paths=paths, noise_shape=noise_shape
    )
    controls = np.asarray(eqx.filter_jit(controls_of)(path))
    entries = count_entries(noise_shape, m)
    assert controls.shape == (paths, 2 * entries)
    normals, squares = np.split(controls, 2, axis=1)
    np.testing.assert_allclose(squares, normals**2 - 1)
    # 4.9 standard errors: one in 10⁶ by each of at most 784 means
    for x, variance in ((normals, 1), (squares, 2)):
        assert np.all(np.abs(x.mean(axis=0)) < 4.9 * np.sqrt(variance / paths))
    # all are different: of independent normals correlations have this standard error
    apart = np.corrcoef(normals.T) - np.eye(entries)
    assert np.max(np.abs(apart)) < 5.5 / np.sqrt(paths)


@pytest.mark.parametrize("m", [2, 6, 9])
def test_entries_are_those_of_the_matrices(m):
    path = BrownianGrid(jnp.array([0.0, 0.1, 0.5]), m, key=jax.random.key(1), num_paths=3)
    whole = np.asarray(path.evaluate(path.t0, path.t1).to_dense())
    rows, columns = np.tril_indices(m)
    entries = np.asarray(path.entries(path.t0, path.t1))
    np.testing.assert_allclose(entries, whole[:, rows, columns])


@pytest.mark.parametrize("m", [6, 9])
def test_intervals_hold_the_answer_however_matrices_lie_in_memory(m):
    """`E log V = −T` of a linear network, six times; controls are most of the variance."""

    def log_last(v):
        return log_diagonal(v)[:, -1]

    v0, scores = 0.7 * jnp.eye(m) + 0.3, []
    for number in range(6):
        key = jax.random.key(number)
        found = covsde.estimate(LINEAR, v0, 0.1, log_last, tol=3e-3, key=key)
        assert found.levels[0].variance < 0.5 * 2 * 0.1
        scores.append((found.value + 0.1) / found.error)
    assert np.sum(np.square(scores)) < stats.chi2.ppf(0.999, len(scores))


def test_many_controls_are_chosen_and_their_variance_is_that_of_other_paths():
    """Of 272 controls and 1024 paths; three controls tell something."""
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((20_000, 136))
    controls = np.concatenate([normals, normals**2 - 1], axis=1)
    y = 3 * normals[:, 0] + 0.3 * normals[:, 1] + 0.5 * (normals[:, 2] ** 2 - 1)
    y = y + rng.standard_normal(len(y)) + 7  # what is left has variance 1
    fresh = slice(1024, None)
    slopes, predicted = fit_controls(controls[:1024], y[:1024])
    left = np.var(y[fresh] - controls[fresh] @ slopes)
    noise = np.sqrt(2 / 1024)  # of a variance by the pilot
    assert np.all(np.abs(slopes[[0, 1, 138]] - [3, 0.3, 0.5]) < 5 / np.sqrt(1024))
    assert left < 1.05  # all of them would leave 1 + 272/751
    assert abs(predicted / left - 1) < 4 * noise
    # and where nothing tells anything, nothing is subtracted that matters
    slopes, predicted = fit_controls(controls[:1024], rng.standard_normal(1024))
    assert np.sum(slopes**2) < 0.1 and abs(predicted - 1) < 5 * noise
    # more controls than paths, and an observable that is a number
    slopes, predicted = fit_controls(controls[:100], np.full(100, 2.0))
    assert predicted == 0 and not slopes.any()


# One program, progress, budget


def test_runs_of_one_problem_compile_once(runs):
    """Tolerance and key are data."""
    compiled = []

    def listen(name, seconds, **_):
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x + 1)(1.0)
        assert compiled  # this is how it is known
        compiled.clear()
        # the same levels as before
        again = run(1000, tol=0.019)
        assert [x.steps for x in again.levels] == [x.steps for x in runs[0].levels]
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


def test_progress_is_told(capsys):
    seen = []
    found = run(0, tol=0.004, progress=lambda *now: seen.append(now))
    done, total, error = map(np.array, zip(*seen, strict=True))
    assert np.all(np.diff(done) >= 0) and np.all(done <= total)
    assert done[-1] == total[-1] == found.cost
    assert np.isinf(error[0]) and error[-1] == found.error <= 0.004
    assert len(seen) > 6 and np.all(done[:-1] < total[:-1])
    run(0, progress=True)
    error = capsys.readouterr().err
    assert "steps (100%)" in error and "steps/s" in error and "error 0.0" in error


def test_a_budget_ends_the_run_and_says_so():
    free = run(3, tol=0.004)
    assert free.reached and free.needed == free.cost and "NOT" not in str(free)
    within = run(3, tol=0.004, budget=free.cost / 2)
    assert within.cost <= free.cost / 2
    assert not within.reached and within.error > 0.004
    assert "NOT REACHED" in str(within).splitlines()[1]
    # what it would take was known about as well as the variances
    assert 0.7 < within.needed / free.cost < 1.4
    half = (within.interval[1] - within.interval[0]) / 2
    assert half >= 1.9 * within.standard_error
    assert abs(within.value - EXACT) < 4 * within.error
    # enough is enough
    assert run(3, tol=0.004, budget=2.0 * free.cost) == free


def test_a_budget_keeps_pilots_short():
    """Of a first-order scheme, whose bias asks for more levels than are affordable."""
    options = dict(solver=covsde.FactorEuler(), tol=1e-3)
    found = run(0, budget=1e6, **options)
    assert found.cost <= 1e6 and not found.reached
    assert found.bias > 0.001 and found.needed > 3e6
    assert abs(found.value - EXACT) < 4 * found.error


class Drawn:
    """Corrections of known mean and deviation by level, but for the first pilot of one."""

    order = 2

    def __init__(self, misled, by):
        self.misled, self.by = misled, by

    def work(self, level, alone):
        return 2**10 * 2**level

    def chunks(self, level, alone, first):
        normals = np.random.default_rng([level, alone, first]).standard_normal(2**10)
        y = normals * 0.5**level
        if (level, first) == (self.misled, 0) and not alone:
            y = y - y.mean() + self.by
        return [(y, np.zeros((2**10, 0)))]


@pytest.mark.parametrize("misled", [1, 2])
def test_the_pilot_that_tells_of_a_bias_is_the_one_that_is_measured_better(misled):
    """There is none; one of the first two pilots shows 2.5 of its standard errors."""
    by = 2.5 * 0.5**misled / 2**5
    pilots = Pilots(Drawn(misled, by), Ledger(1e8, lambda *_: None))
    tol = 0.1 * by
    assert _last_level(pilots, tol) == 2
    assert pilots(misled).chunks > pilots(3 - misled).chunks
    assert pilots.bias(2) ** 2 <= 0.1 * tol**2 and pilots.ledger.spent < 4e7


def test_a_step_may_be_as_long_as_the_time():
    """Without drift that of the palindrome has no end, and one step is exact."""
    asked = dict(tol=0.05, key=jax.random.key(0), solver=covsde.PalindromicStrang())
    found = covsde.estimate(LINEAR, jnp.eye(1), 0.5, lambda v: v[:, 0, 0], **asked)
    assert abs(found.value - 1) < 4 * found.error


def test_truth_values_are_counted():
    """An indicator is a number: `P(V > ½)`, where its antithetic is another."""

    def above(v):
        return v[:, 0, 0] > 0.5

    v0 = jnp.eye(1)
    law = covsde.laws.of(LINEAR, covsde.observables.LogNorm(0), v0, 1.0)
    found = covsde.estimate(LINEAR, v0, 1.0, above, tol=0.02, key=jax.random.key(0))
    assert abs(found.value - (1 - float(law.cdf(np.log(0.5))))) < 4 * found.error


def test_stopped_expectations_of_an_explosive_limit():
    limit = ShapedMLP(ShapedSmooth(jax.nn.silu, 1.0))
    start, share = jnp.array([[1.0]]), lambda v: jnp.minimum(v[:, 0, 0], 4.0)
    with pytest.raises(ValueError, match=r"`limit` must not explode.*stop_above"):
        covsde.estimate(limit, start, 0.5, share, tol=0.05, key=jax.random.key(0))
    found = covsde.estimate(
        limit, start, 0.5, share, tol=0.5, key=jax.random.key(0), stop_above=4.0
    )
    # without stopping E V would be V₀ = 1 plus what κ > 0 adds
    assert found.error <= 0.5 and 0.5 < found.value < 2


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tol": 0.0}, "`tol` must be a positive number"),
        ({"tol": 1e-101}, "`tol` must be a positive number, above"),
        ({"tol": "small"}, "`tol` must be a positive number"),
        ({"confidence": 1.0}, "`confidence` must be between 0 and 1"),
        ({"observable": 3}, "`observable` must be a function"),
        ({"v0": jnp.stack([V0])}, "`v0` must be one covariance"),
        ({"t1": -1.0}, "`t1` must be a positive finite time"),
        ({"limit": RELU.activation}, "`limit` must be a limit"),
        ({"observable": lambda v: jnp.log(-v[:, 0, 0])}, "finite; got nan at `v0`"),
        ({"observable": lambda v: 1 / (v[:, 0, 1] - 0.3)}, "finite; got inf at `v0`"),
        ({"observable": lambda v: v[0, 0, 1]}, r"`observable` must .* got \(\) of"),
        ({"observable": lambda v: v[:, 0]}, r"`observable` must .* got \(7, 2\)"),
        ({"observable": lambda v: v.mean(0)[0]}, r"`observable` must .* got \(2,\)"),
        ({"observable": lambda v: list(v[:, 0])}, "`observable` must .* got list"),
        ({"observable": lambda v: 1j * v[:, 0, 0]}, "`observable` must .* complex128"),
        ({"progress": "bar"}, r"`progress` must be True, False .* \(done, total, error\)"),
        ({"progress": 1}, "`progress` must be True, False"),
        ({"budget": "much"}, "`budget` must be a number of at least 65,536 steps"),
        ({"budget": 65_535}, "`budget` must be a number of at least 65,536 steps"),
        ({"budget": np.inf}, "`budget` must be a number of at least"),
        ({"budget": np.nan}, "`budget` must be a number of at least"),
    ],
)
def test_refusals(change, message):
    call = dict(
        limit=RELU,
        v0=V0,
        t1=1.0,
        observable=squared_correlation,
        tol=0.1,
        key=jax.random.key(0),
    )
    with pytest.raises((TypeError, ValueError), match=message):
        covsde.estimate(**call | change)


def test_it_is_not_traced():
    @jax.jit
    def traced(v0):
        return covsde.estimate(
            RELU, v0, 1.0, squared_correlation, tol=0.1, key=jax.random.key(0)
        ).value

    with pytest.raises(TypeError, match="cannot be traced by JAX"):
        traced(V0)

    @jax.jit
    def of_constants():
        return run(0).value

    with pytest.raises(TypeError, match="cannot be traced by JAX"):
        of_constants()


def test_what_is_not_finite_on_a_path_is_refused():
    """At the start it is."""
    with pytest.raises(ValueError, match=r"`observable` must be finite; it is not on"):
        covsde.estimate(
            LINEAR,
            jnp.eye(1),
            1.0,
            lambda v: jnp.log(1.5 - v[:, 0, 0]),
            tol=0.1,
            key=jax.random.key(0),
        )


def test_a_start_may_be_a_list(runs):
    assert run(0, v0=[[1.0, 0.3], [0.3, 1.0]]).value == runs[0].value
