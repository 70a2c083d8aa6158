"""Every argument of every law: what it refuses, by name, and that none is left out."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covsde import ShapedAttention, ShapedMLP, ShapedReLU, laws

KEY = jax.random.key(3)
V0 = np.array([[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]])
T = 0.5
NAN, INF = float("nan"), float("inf")
OF_NO_KIND = (None, "one", 1j)

COUNTS = (0, -1, 2.5, True, NAN, *OF_NO_KIND)
INDICES = (-1, 3, 1.0, True, *OF_NO_KIND)
POSITIVE = (0.0, -1.0, NAN, INF, [1.0], *OF_NO_KIND)
FINITE = (NAN, INF, [1.0], *OF_NO_KIND)
STARTS = (-0.1, NAN, INF, [1.0, -1.0], *OF_NO_KIND)
CORRELATIONS = (-1.1, 2.15, NAN, [0.5, -2.0], *OF_NO_KIND)
ANGLES = (-0.1, 3.2, NAN, [1.0, 4.0], *OF_NO_KIND)
FLAGS = (1, "no", None)
FUNCTIONS = (None, 1.0, float, lambda x: 1.0, lambda x: x[1:], lambda x: x + 1j)
KEYS = (0, None, "key", jnp.zeros(3))
COVARIANCES = (
    np.diag([1.0, -1.0]),
    np.diag([1.0, NAN]),
    np.array([[1.0, 2.0], [2.0, 1.0]]),
    np.array([[1.0, 0.5], [0.1, 1.0]]),
    np.stack([V0, V0]),
    np.ones(3),
    *OF_NO_KIND,
)
PAIRS = ([], [0, 1], [(0, 3)], [(-1, 0)], [(0, 1)] * 5, [(0.5, 1)], *OF_NO_KIND)

ANGLE = laws.AngleProcess([10])
ONE, FALLING = laws.OneInput(2.0), laws.OneInput(-2.0)
TOKENS = laws.TwoTokens(ShapedAttention(0.5, 0.5))
PAIR, NORM = laws.PairLaw(0.3, T, 0.5), laws.NormLaw(-2.0, 1.2, T)
SPECTRUM = laws.FreeLogNormal(1.5)
TS, VS = np.array([0.0, 1.0]), np.stack([V0, V0])[None]
GAUSSIAN = laws.log_norm_law(1.5, T)


def sample(**changed):
    given = {"v0": 1.0, "t1": T, "key": KEY, "num_paths": 2, "steps": 2} | changed
    return ONE.sample(**given)


# (of what, argument): what is refused, and how it is called
ARGUMENTS = {
    ("AngleProcess", "widths"): ([*COUNTS[:4], [0], [1.5], []], laws.AngleProcess),
    ("AngleProcess.infinite_width", "theta0"): ((0.0, *ANGLES), ANGLE.infinite_width),
    ("AngleProcess.predict", "theta0"): ((0.0, *ANGLES), ANGLE.predict),
    ("AngleProcess.sample", "theta0"): (
        (0.0, *ANGLES),
        lambda x: ANGLE.sample(x, key=KEY, num_paths=1),
    ),
    ("AngleProcess.sample", "key"): (KEYS, lambda x: ANGLE.sample(1, key=x, num_paths=1)),
    ("AngleProcess.sample", "num_paths"): (
        COUNTS,
        lambda x: ANGLE.sample(1.0, key=KEY, num_paths=x),
    ),
    ("Constant", "value"): ((NAN, [1.0], *OF_NO_KIND), laws.Constant),
    ("EntryMoments", "v0"): (COVARIANCES, lambda x: laws.EntryMoments(x, 0, 1, T)),
    ("EntryMoments", "a"): (INDICES, lambda x: laws.EntryMoments(V0, x, 1, T)),
    ("EntryMoments", "b"): (INDICES, lambda x: laws.EntryMoments(V0, 0, x, T)),
    ("EntryMoments", "t1"): (POSITIVE, lambda x: laws.EntryMoments(V0, 0, 1, x)),
    ("EntryMoments", "gain"): (POSITIVE, lambda x: laws.EntryMoments(V0, 0, 1, T, x)),
    ("FreeLogNormal", "tau"): ((501.0, 1e-30, *POSITIVE), laws.FreeLogNormal),
    ("FreeLogNormal.moment", "k"): (COUNTS, SPECTRUM.moment),
    ("FreeLogNormal.density", "x"): ((NAN, *OF_NO_KIND), SPECTRUM.density),
    ("GammaLaw", "shape"): ((1e30, *POSITIVE), lambda x: laws.GammaLaw(x, 1.0)),
    ("GammaLaw", "rate"): (POSITIVE, lambda x: laws.GammaLaw(1.0, x)),
    ("J", "a"): ((-1, 1.0, True, *OF_NO_KIND), lambda x: laws.J(x, 1, 1.0)),
    ("J", "b"): ((-1, 1.0, True, *OF_NO_KIND), lambda x: laws.J(1, x, 1.0)),
    ("J", "theta"): (ANGLES, lambda x: laws.J(1, 1, x)),
    ("LinearProduct", "width"): (COUNTS, lambda x: laws.LinearProduct(x, 2)),
    ("LinearProduct", "depth"): (COUNTS, lambda x: laws.LinearProduct(2, x)),
    ("ReLUProduct", "width"): (COUNTS, lambda x: laws.ReLUProduct(x, 2)),
    ("ReLUProduct", "depth"): (COUNTS, lambda x: laws.ReLUProduct(2, x)),
    ("LogGaussian", "mean"): (FINITE, lambda x: laws.LogGaussian(x, 1.0)),
    ("LogGaussian", "variance"): (POSITIVE, lambda x: laws.LogGaussian(0.0, x)),
    ("LogGaussianResNet", "width"): (COUNTS, lambda x: laws.LogGaussianResNet(x, 2, 0.5)),
    ("LogGaussianResNet", "depth"): (COUNTS, lambda x: laws.LogGaussianResNet(2, x, 0.5)),
    ("LogGaussianResNet", "alpha_squared"): (
        (1.0, -0.1, *FINITE),
        lambda x: laws.LogGaussianResNet(2, 2, x),
    ),
    ("LogGaussianResNet", "balanced"): (
        FLAGS,
        lambda x: laws.LogGaussianResNet(2, 2, 0.5, balanced=x),
    ),
    ("LogNormal", "log"): ((1.0, NORM, *OF_NO_KIND), laws.LogNormal),
    ("NormLaw", "kappa"): ((0.0, 0.5, *FINITE), lambda x: laws.NormLaw(x, 1.0, T)),
    ("NormLaw", "v0"): (POSITIVE, lambda x: laws.NormLaw(-2.0, x, T)),
    ("NormLaw", "t1"): (POSITIVE, lambda x: laws.NormLaw(-2.0, 1.0, x)),
    ("NormLaw", "logarithm"): (FLAGS, lambda x: laws.NormLaw(-2.0, 1.0, T, logarithm=x)),
    ("NormLaw", "nodes"): (
        (99, 100.0, True, "many"),
        lambda x: laws.NormLaw(-2.0, 1.0, T, nodes=x),
    ),
    ("NormLaw.expectation", "f"): (FUNCTIONS, NORM.expectation),
    ("OnDiagonalNTK", "width"): (COUNTS, lambda x: laws.OnDiagonalNTK(x, 2)),
    ("OnDiagonalNTK", "depth"): (COUNTS, lambda x: laws.OnDiagonalNTK(2, x)),
    ("OnDiagonalNTK", "slopes"): (
        ((0.0, 0.0), (NAN, 1.0), (1.0,), 1.0, *OF_NO_KIND),
        lambda x: laws.OnDiagonalNTK(2, 2, x),
    ),
    ("OneInput", "kappa"): (FINITE, laws.OneInput),
    ("OneInput.explosion_probability", "v0"): (STARTS, ONE.explosion_probability),
    ("OneInput.hitting_probability", "v0"): (
        (3.0, *STARTS),
        lambda x: ONE.hitting_probability(x, 2.0),
    ),
    ("OneInput.hitting_probability", "level"): (
        (0.0, *STARTS),
        lambda x: ONE.hitting_probability(0.0, x),
    ),
    ("OneInput.law", "v0"): (POSITIVE, lambda x: FALLING.law(x, T)),
    ("OneInput.law", "t1"): (POSITIVE, lambda x: FALLING.law(1.0, x)),
    ("OneInput.law", "nodes"): ((99, 1e3), lambda x: FALLING.law(1.0, T, nodes=x)),
    ("OneInput.reached_probability", "v0"): (
        POSITIVE,
        lambda x: ONE.reached_probability(x, 2.0, T),
    ),
    ("OneInput.reached_probability", "level"): (
        (1.0, *POSITIVE),
        lambda x: ONE.reached_probability(1.0, x, T),
    ),
    ("OneInput.reached_probability", "t1"): (
        POSITIVE,
        lambda x: ONE.reached_probability(1.0, 2.0, x),
    ),
    ("OneInput.sample", "v0"): (POSITIVE, lambda x: sample(v0=x)),
    ("OneInput.sample", "t1"): (POSITIVE, lambda x: sample(t1=x)),
    ("OneInput.sample", "key"): (KEYS, lambda x: sample(key=x)),
    ("OneInput.sample", "num_paths"): (COUNTS, lambda x: sample(num_paths=x)),
    ("OneInput.sample", "steps"): (COUNTS, lambda x: sample(steps=x)),
    ("OneInput.survival_probability", "v0"): (
        POSITIVE,
        lambda x: FALLING.survival_probability(x, T),
    ),
    ("OneInput.survival_probability", "t1"): (
        POSITIVE,
        lambda x: FALLING.survival_probability(1.0, x),
    ),
    ("OneInput.surviving", "f"): (FUNCTIONS, lambda x: ONE.surviving(x, 1.0, T)),
    ("OneInput.surviving", "v0"): (POSITIVE, lambda x: ONE.surviving(np.tanh, x, T)),
    ("OneInput.surviving", "t1"): (POSITIVE, lambda x: ONE.surviving(np.tanh, 1.0, x)),
    ("PairLaw", "rho0"): ((1.0, -1.0, 2.0, *FINITE), lambda x: laws.PairLaw(x, T, 0.5)),
    ("PairLaw", "t1"): (POSITIVE, lambda x: laws.PairLaw(0.3, x, 0.5)),
    ("PairLaw", "strength"): ((-0.1, *FINITE), lambda x: laws.PairLaw(0.3, T, x)),
    ("PairLaw", "gain"): (POSITIVE, lambda x: laws.PairLaw(0.3, T, 0.5, x)),
    ("PairLaw", "nodes"): ((99, 1e3), lambda x: laws.PairLaw(0.3, T, 0.5, nodes=x)),
    ("PairLaw.expectation", "f"): (FUNCTIONS, PAIR.expectation),
    ("PairLaw.expectation", "of_angle"): (
        FLAGS,
        lambda x: PAIR.expectation(np.cos, of_angle=x),
    ),
    ("TwoTokens", "limit"): (
        (ShapedMLP(ShapedReLU(0.0, -1.0)), ShapedAttention, *OF_NO_KIND),
        laws.TwoTokens,
    ),
    ("TwoTokens.explosion_probability", "d0"): (STARTS, TOKENS.explosion_probability),
    ("TwoTokens.hitting_probability", "d0"): (
        (3.0, *STARTS),
        lambda x: TOKENS.hitting_probability(x, 2.0),
    ),
    ("TwoTokens.hitting_probability", "level"): (
        (0.0, *STARTS),
        lambda x: TOKENS.hitting_probability(0.0, x),
    ),
    ("TwoTokens.reached_probability", "d0"): (
        POSITIVE,
        lambda x: TOKENS.reached_probability(x, 2.0, T),
    ),
    ("TwoTokens.reached_probability", "level"): (
        (1.0, *POSITIVE),
        lambda x: TOKENS.reached_probability(1.0, x, T),
    ),
    ("TwoTokens.reached_probability", "t1"): (
        POSITIVE,
        lambda x: TOKENS.reached_probability(1.0, 2.0, x),
    ),
    ("TwoTokens.survival_probability", "d0"): (
        POSITIVE,
        lambda x: TOKENS.survival_probability(x, T),
    ),
    ("TwoTokens.survival_probability", "t1"): (
        POSITIVE,
        lambda x: TOKENS.survival_probability(1.0, x),
    ),
    ("TwoTokens.surviving", "f"): (FUNCTIONS, lambda x: TOKENS.surviving(x, 1.0, T)),
    ("TwoTokens.surviving", "d0"): (POSITIVE, lambda x: TOKENS.surviving(np.tanh, x, T)),
    ("TwoTokens.surviving", "t1"): (POSITIVE, lambda x: TOKENS.surviving(np.tanh, 1.0, x)),
    ("conditional_ntk", "limit"): (
        (ShapedAttention(0.5, 0.5), *OF_NO_KIND),
        lambda x: laws.conditional_ntk(x, TS, VS),
    ),
    ("conditional_ntk", "ts"): (
        ([0.0], [0.0, 0.0], [1.0, 2.0], [0.0, NAN], *OF_NO_KIND),
        lambda x: laws.conditional_ntk(ShapedMLP(ShapedReLU(0.0, -1.0)), x, VS),
    ),
    ("conditional_ntk", "vs"): (
        (V0, NAN * VS, np.ones_like(VS), *OF_NO_KIND),
        lambda x: laws.conditional_ntk(ShapedMLP(ShapedReLU(0.0, -1.0)), TS, x),
    ),
    ("interlayer_bias", "r"): (CORRELATIONS, laws.interlayer_bias),
    ("interlayer_covariance", "r"): (CORRELATIONS, laws.interlayer_covariance),
    ("kernel_limit_variance", "t1"): (POSITIVE, laws.kernel_limit_variance),
    ("layer_mean", "theta"): ((0.0, *ANGLES), lambda x: laws.layer_mean(x, 10)),
    ("layer_mean", "width"): ((0, -1, NAN, None), lambda x: laws.layer_mean(1.0, x)),
    ("layer_variance", "theta"): ((0.0, *ANGLES), lambda x: laws.layer_variance(x, 10)),
    ("layer_variance", "width"): ((0, NAN, "n"), lambda x: laws.layer_variance(1.0, x)),
    ("linear_network_moment", "v0"): (
        COVARIANCES,
        lambda x: laws.linear_network_moment(x, 2, 2, [(0, 1)]),
    ),
    ("linear_network_moment", "width"): (
        COUNTS,
        lambda x: laws.linear_network_moment(V0, x, 2, [(0, 1)]),
    ),
    ("linear_network_moment", "depth"): (
        COUNTS,
        lambda x: laws.linear_network_moment(V0, 2, x, [(0, 1)]),
    ),
    ("linear_network_moment", "pairs"): (
        PAIRS,
        lambda x: laws.linear_network_moment(V0, 2, 2, x),
    ),
    ("log_det_law", "v0"): (
        (np.ones((2, 2)), *COVARIANCES),
        lambda x: laws.log_det_law(x, T),
    ),
    ("log_det_law", "t1"): (POSITIVE, lambda x: laws.log_det_law(V0, x)),
    ("log_det_law", "gain"): (POSITIVE, lambda x: laws.log_det_law(V0, T, x)),
    ("log_norm_law", "v0"): (POSITIVE, lambda x: laws.log_norm_law(x, T)),
    ("log_norm_law", "t1"): (POSITIVE, lambda x: laws.log_norm_law(1.0, x)),
    ("log_norm_law", "gain"): (POSITIVE, lambda x: laws.log_norm_law(1.0, T, x)),
    ("log_pivot_law", "v0"): (
        (np.ones((2, 2)), *COVARIANCES),
        lambda x: laws.log_pivot_law(x, 0, T),
    ),
    ("log_pivot_law", "index"): (INDICES, lambda x: laws.log_pivot_law(V0, x, T)),
    ("log_pivot_law", "t1"): (POSITIVE, lambda x: laws.log_pivot_law(V0, 0, x)),
    ("log_pivot_law", "gain"): (POSITIVE, lambda x: laws.log_pivot_law(V0, 0, T, x)),
    ("zero_drift_moment", "v0"): (
        COVARIANCES,
        lambda x: laws.zero_drift_moment(x, T, [(0, 1)]),
    ),
    ("zero_drift_moment", "t1"): (
        POSITIVE,
        lambda x: laws.zero_drift_moment(V0, x, [(0, 1)]),
    ),
    ("zero_drift_moment", "pairs"): (PAIRS, lambda x: laws.zero_drift_moment(V0, T, x)),
    ("zero_drift_moment", "gain"): (
        POSITIVE,
        lambda x: laws.zero_drift_moment(V0, T, [(0, 1)], x),
    ),
}
# Those of what every law has are in `test_levels_and_probabilities`; `of` in test_laws
ELSEWHERE = {"AbstractLaw", "AbstractLogNormLaw", "NormPaths", "of"}
EVERY = [
    GAUSSIAN,
    laws.LogNormal(GAUSSIAN),
    laws.Constant(1.0),
    laws.EntryMoments(V0, 0, 1, T),
    laws.GammaLaw(2.0, 1.0),
    laws.LinearProduct(10, 5),
    laws.ReLUProduct(10, 5),
    laws.LogGaussianResNet(10, 5, 0.9),
    NORM,
    PAIR,
    SPECTRUM,
]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_bad_arguments_are_refused_by_name(name, argument):
    refused, call = ARGUMENTS[name, argument]
    for bad in refused:
        with pytest.raises((ValueError, TypeError), match=f"`{argument}` must"):
            call(bad)


@pytest.mark.parametrize("law", EVERY, ids=lambda law: type(law).__name__)
def test_levels_and_probabilities(law):
    for bad in (NAN, [0.5, NAN], *OF_NO_KIND):
        with pytest.raises((ValueError, TypeError), match="`x` must be numbers"):
            law.cdf(bad)
    for bad in (-0.1, 1.5, NAN, [0.5, 2.0], *OF_NO_KIND):
        with pytest.raises((ValueError, TypeError), match="`p` must be numbers"):
            law.quantile(bad)
    for bad in COUNTS:
        with pytest.raises((ValueError, TypeError), match="`num` must be"):
            law.sample(KEY, bad)
    for bad in KEYS:
        with pytest.raises((ValueError, TypeError), match="`key` must be"):
            law.sample(bad, 2)


@pytest.mark.parametrize(
    "law",
    [law for law in EVERY if not isinstance(law, laws.EntryMoments)],
    ids=lambda law: type(law).__name__,
)
def test_ends_of_laws(law):
    """Far out the distribution function is 0 and 1, whose quantiles enclose the law."""
    np.testing.assert_allclose(law.cdf([-INF, INF]), [0.0, 1.0], rtol=0, atol=1e-14)
    low, high = law.quantile([0.0, 1.0])
    within = law.quantile([1e-9, 1 - 1e-9])
    assert low <= within[0] <= within[1] <= high
    if isinstance(law, laws.PairLaw):
        assert (low, high) == (-1, 1)


def test_no_argument_is_left_out():
    def arguments(name, function):
        own = list(inspect.signature(function).parameters)
        return {(name, argument) for argument in own if argument != "self"}

    found = set()
    for name in set(laws.__all__) - ELSEWHERE:
        thing = getattr(laws, name)
        if not inspect.isclass(thing):
            found |= arguments(name, thing)
            continue
        found |= arguments(name, thing.__init__)
        for method, function in vars(thing).items():
            if not method.startswith("_") and inspect.isfunction(function):
                found |= arguments(f"{name}.{method}", function)
    assert found == set(ARGUMENTS)
