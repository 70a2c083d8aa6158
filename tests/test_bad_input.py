"""Bad input: refused before anything runs, by a message that says what to do instead."""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import (
    BrownianGrid,
    FactorEuler,
    GeodesicStrang,
    Identity,
    NinomiyaNinomiya,
    PalindromicStrang,
    ShapedMLP,
    ShapedReLU,
    ShapedSmooth,
    WishartEuler,
    gram,
    laws,
    oracles,
)
from covsde.validation import validate

RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
STEEP = ShapedMLP(ShapedReLU(3.0, -3.0))
LINEAR = ShapedMLP(Identity())
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
SINGULAR = jnp.ones((2, 2))
KEY = jax.random.key(0)
NAN, INF = math.nan, math.inf
RHO = covsde.observables.Correlation(0, 1)


class OwnFlow(covsde.AbstractDrift):
    """A drift whose own flow needs an invertible start."""

    accepts_singular = False

    def __call__(self, t, v, args):
        return -v

    def flow(self, t, h, factor, args):
        return factor * jnp.exp(-h / 2)


class OwnLimit(covsde.AbstractLimit):
    drift: covsde.AbstractDrift = OwnFlow()
    diffusion: covsde.AbstractDiffusion = covsde.CongruenceDiffusion(1.0)


class Bad(NamedTuple):
    id: str
    call: Callable[[], Any]
    error: type[Exception]
    name: str  # of the argument
    found: str
    way_out: str


def calls(function, **valid):
    """`function` with its valid arguments, but for the one that is bad."""
    positional = ("limit", "v0", "t1")

    def bad(**change):
        arguments = valid | change
        first = [arguments.pop(name) for name in positional if name in arguments]
        return lambda: function(*first, **arguments)

    return bad


def under_jit(bad, name, value):
    return lambda: jax.jit(lambda x: bad(**{name: x})().vs)(value)


solve = calls(covsde.solve, limit=RELU, v0=V0, t1=1.0, key=KEY, num_paths=2)
networks = calls(
    oracles.sample, limit=RELU, v0=V0, t1=1.0, width=8, key=KEY, num_networks=2
)
comparison = calls(
    validate, limit=RELU, v0=V0, t1=1.0, width=8, key=KEY, num_paths=2, num_networks=2
)
grid = calls(BrownianGrid, ts=jnp.linspace(0.0, 1.0, 5), m=2, key=KEY)
mlp = calls(ShapedMLP)
relu = calls(ShapedReLU, c_plus=0.0, c_minus=-1.0)
smooth = calls(ShapedSmooth, fn=jnp.tanh, a=1.0)
inputs = calls(gram)

GRAM = "covsde.gram(x)"
LINSPACE = "jnp.linspace(0, t1, 11)"
DEFAULT = "None to have one chosen"
SMALLER = "Pass a smaller step, or None"
MLP = "covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))"
RESHAPE = "`x.reshape(m, -1)`"
ROWS = "Stack the inputs as rows"
NEVER = "None never stops one"
CENTRE = "Choose another `center`"
SHAPED_ACTIVATION = "`ShapedReLU(0.0, -1.0)`"
SHAPED_RELU = "`ShapedReLU(c_plus=0.0, c_minus=-1.0)`"
SHAPED_TANH = "`ShapedSmooth(jnp.tanh, a=1.0)`"
NEURONS = "number of neurons of a hidden layer"
ONE_KEY = "Pass `jax.random.key(0)`"
GRID = "`jnp.linspace(0, 1, 65)`"

TABLE = [
    # the start
    Bad("v0 a vector", solve(v0=jnp.ones(3)), ValueError, "v0", "(3,)", GRAM),
    Bad("v0 not square", solve(v0=jnp.ones((2, 3))), ValueError, "v0", "(2, 3)", GRAM),
    Bad("v0 empty", solve(v0=jnp.ones((0, 0))), ValueError, "v0", "(0, 0)", GRAM),
    Bad("v0 4-d", solve(v0=V0[None, None]), ValueError, "v0", "(1, 1, 2, 2)", GRAM),
    Bad("v0 a number", solve(v0=1.0), ValueError, "v0", "()", GRAM),
    Bad(
        "v0 for other paths",
        solve(v0=jnp.stack([V0] * 3)),
        ValueError,
        "v0",
        "got 3 starts",
        "Make the numbers equal",
    ),
    Bad(
        "v0 not symmetric",
        solve(v0=V0.at[0, 1].set(0.5)),
        ValueError,
        "v0",
        "differ from their mirror by 0.2",
        "`(v0 + v0.T)/2`",
    ),
    Bad("v0 indefinite", solve(v0=2.0 - V0), ValueError, "v0", "eigenvalue -0.7", GRAM),
    Bad(
        "v0 indefinite for one path",
        solve(v0=jnp.stack([V0, 2.0 - V0])),
        ValueError,
        "v0",
        "eigenvalue -0.7",
        GRAM,
    ),
    Bad(
        "v0 NaN",
        solve(v0=V0.at[1, 0].set(NAN)),
        ValueError,
        "v0",
        "nan at index (1, 0)",
        "Check the inputs",
    ),
    Bad(
        "v0 infinite",
        solve(v0=V0.at[1, 1].set(INF)),
        ValueError,
        "v0",
        "inf at index (1, 1)",
        "Check the inputs",
    ),
    Bad(
        "v0 zero variance",
        solve(v0=jnp.diag(jnp.array([1.0, 0.0]))),
        ValueError,
        "v0",
        "got 0",
        "Remove inputs that are zero",
    ),
    Bad(
        "v0 negative variance",
        solve(v0=-V0),
        ValueError,
        "v0",
        "got -1",
        "Remove inputs that are zero",
    ),
    Bad("v0 text", solve(v0="V0"), TypeError, "v0", "'V0' (str)", GRAM),
    Bad("v0 None", solve(v0=None), TypeError, "v0", "None", GRAM),
    Bad("v0 list with text", solve(v0=[["a"]]), TypeError, "v0", "[['a']] (list)", GRAM),
    Bad("v0 ragged", solve(v0=[[1, 0], [1]]), TypeError, "v0", "[[1, 0], [1]]", GRAM),
    Bad("v0 a limit", solve(v0=RELU), TypeError, "v0", "(ShapedMLP)", GRAM),
    Bad("v0 complex", solve(v0=V0 + 0j), TypeError, "v0", "complex128", GRAM),
    Bad("v0 truth values", solve(v0=V0 > 0), TypeError, "v0", "dtype bool", GRAM),
    Bad("v0 half", solve(v0=V0.astype("float16")), TypeError, "v0", "float16", GRAM),
    Bad(
        "v0 singular for the solver",
        solve(v0=SINGULAR, solver=FactorEuler()),
        ValueError,
        "v0",
        "FactorEuler needs an invertible start; got a singular one",
        "`GeodesicStrang()`",
    ),
    Bad(
        "v0 singular for Euler on V",
        solve(v0=SINGULAR, solver=diffrax.Euler()),
        ValueError,
        "v0",
        "Euler needs an invertible start; got a singular one",
        "`GeodesicStrang()`",
    ),
    Bad(
        "v0 singular for the drift",
        solve(v0=SINGULAR, limit=OwnLimit()),
        ValueError,
        "v0",
        "flow of OwnFlow needs an invertible start; got a singular one",
        "give the drift a `flow` that accepts it",
    ),
    # times
    Bad("t1 zero", solve(t1=0), ValueError, "t1", "got 0 (int)", "t1 = d/n"),
    Bad("t1 negative", solve(t1=-1.0), ValueError, "t1", "got -1.0", "t1 = d/n"),
    Bad("t1 NaN", solve(t1=NAN), ValueError, "t1", "got nan", "t1 = d/n"),
    Bad("t1 infinite", solve(t1=INF), ValueError, "t1", "got inf", "t1 = d/n"),
    Bad("t1 text", solve(t1="1"), TypeError, "t1", "'1' (str)", "t1 = d/n"),
    Bad("t1 None", solve(t1=None), TypeError, "t1", "None", "t1 = d/n"),
    Bad("t1 true", solve(t1=True), TypeError, "t1", "True (bool)", "t1 = d/n"),
    Bad("t1 NumPy's true", solve(t1=np.True_), TypeError, "t1", "True", "t1 = d/n"),
    Bad("t1 complex", solve(t1=1j), TypeError, "t1", "1j (complex)", "t1 = d/n"),
    Bad("t1 an array", solve(t1=jnp.ones(2)), TypeError, "t1", "(2,)", "t1 = d/n"),
    Bad("t1 a list", solve(t1=[1.0]), TypeError, "t1", "[1.0] (list)", "t1 = d/n"),
    Bad("t1 a key", solve(t1=KEY), TypeError, "t1", "key<fry>", "t1 = d/n"),
    Bad("t1 traced", under_jit(solve, "t1", 1.0), TypeError, "t1", "traced", "t1 = d/n"),
    Bad("dt0 zero", solve(dt0=0.0), ValueError, "dt0", "got 0.0", DEFAULT),
    Bad("dt0 negative", solve(dt0=-0.1), ValueError, "dt0", "got -0.1", DEFAULT),
    Bad("dt0 NaN", solve(dt0=NAN), ValueError, "dt0", "got nan", DEFAULT),
    Bad("dt0 infinite", solve(dt0=INF), ValueError, "dt0", "got inf", DEFAULT),
    Bad("dt0 text", solve(dt0="auto"), TypeError, "dt0", "'auto' (str)", DEFAULT),
    Bad("dt0 an array", solve(dt0=jnp.ones(1)), TypeError, "dt0", "(1,)", DEFAULT),
    Bad("dt0 traced", under_jit(solve, "dt0", 0.1), TypeError, "dt0", "traced", DEFAULT),
    Bad(
        "dt0 beyond the geodesic's 12/m",
        solve(limit=LINEAR, v0=jnp.eye(3), t1=10.0, dt0=4.1),
        ValueError,
        "dt0",
        "at most 4 for GeodesicStrang with this limit and m = 3; got 4.1",
        SMALLER,
    ),
    Bad(
        "dt0 beyond Wishart's 1/(m-1)",
        solve(limit=LINEAR, v0=jnp.eye(3), dt0=0.51, solver=WishartEuler()),
        ValueError,
        "dt0",
        "at most 0.5 for WishartEuler with this limit and m = 3; got 0.51",
        SMALLER,
    ),
    Bad(
        "dt0 beyond a flow's bound, geodesic",
        solve(limit=STEEP, dt0=0.23),
        ValueError,
        "dt0",
        "at most 0.111111 for GeodesicStrang",  # 4/(c₊−c₋)²
        SMALLER,
    ),
    Bad(
        "dt0 beyond a flow's bound, palindromic",
        solve(limit=STEEP, dt0=0.23, solver=PalindromicStrang()),
        ValueError,
        "dt0",
        "at most 0.111111 for PalindromicStrang",
        SMALLER,
    ),
    Bad(
        "dt0 beyond a flow's bound, Wishart",
        solve(limit=STEEP, dt0=0.12, solver=WishartEuler()),
        ValueError,
        "dt0",
        "at most 0.111111 for WishartEuler",
        SMALLER,
    ),
    Bad(
        "saveat unsorted",
        solve(saveat=[0.5, 0.2]),
        ValueError,
        "saveat",
        "got 0.5 and then 0.2",
        "`np.unique(saveat)`",
    ),
    Bad(
        "saveat duplicates",
        solve(saveat=jnp.array([0.1, 0.5, 0.5])),
        ValueError,
        "saveat",
        "got 0.5 and then 0.5",
        "`np.unique(saveat)`",
    ),
    Bad(
        "saveat duplicates in float32",
        solve(saveat=[0.5, 0.5 + 1e-9], v0=V0.astype(jnp.float32)),
        ValueError,
        "saveat",
        "got 0.5 and then 0.500000001 (float32)",
        "`np.unique(saveat)`",
    ),
    Bad("saveat late", solve(saveat=[2.0]), ValueError, "saveat", "to 2", LINSPACE),
    Bad("saveat early", solve(saveat=[-1.0]), ValueError, "saveat", "from -1", LINSPACE),
    Bad("saveat empty", solve(saveat=[]), ValueError, "saveat", "shape (0,)", LINSPACE),
    Bad("saveat 2-d", solve(saveat=[[1.0]]), ValueError, "saveat", "(1, 1)", LINSPACE),
    Bad("saveat a number", solve(saveat=0.5), ValueError, "saveat", "()", LINSPACE),
    Bad("saveat NaN", solve(saveat=[0.1, NAN]), ValueError, "saveat", "nan at", LINSPACE),
    Bad("saveat text", solve(saveat="all"), TypeError, "saveat", "'all'", LINSPACE),
    Bad("saveat true", solve(saveat=[True]), TypeError, "saveat", "[True]", LINSPACE),
    Bad("saveat complex", solve(saveat=[1j]), TypeError, "saveat", "[1j]", LINSPACE),
    Bad(
        "saveat of diffrax",
        solve(saveat=diffrax.SaveAt(t1=True)),
        TypeError,
        "saveat",
        "(SaveAt)",
        LINSPACE,
    ),
    Bad(
        "saveat traced",
        under_jit(solve, "saveat", jnp.ones(1)),
        TypeError,
        "saveat",
        "traced",
        LINSPACE,
    ),
    Bad(
        "drift beyond all steps",
        solve(limit=ShapedMLP(ShapedReLU(1e160, -1.0))),
        ValueError,
        "limit",
        "got ShapedMLP with parameters so large",
        "Pass smaller ones",
    ),
    Bad(
        "t1 beyond all norms",
        solve(t1=1e308),
        ValueError,
        "t1",
        "got 1e+308, until which those of 2 paths reach from 10^-inf to",
        "a shorter one",
    ),
    Bad(
        "num_paths a time",
        solve(num_paths=np.timedelta64(2)),
        TypeError,
        "num_paths",
        "timedelta64",
        "e.g. 1000",
    ),
    # what a program is compiled for
    Bad("normals", solve(normals=np.ones(2)), ValueError, "normals", "(2,)", "faster"),
    *(
        Bad(f"most {most}", lambda x=most: NinomiyaNinomiya(x), error, "most", found, "1/8")
        for most, error, found in [
            (0.0, ValueError, "0.0"),
            (NAN, ValueError, "nan"),
            ("1/8", TypeError, "'1/8'"),
        ]
    ),
    # drifts
    Bad(
        "activation of a drift",
        lambda: covsde.activations.check_shaped(jnp.tanh),
        TypeError,
        "activation",
        "function",
        SHAPED_ACTIVATION,
    ),
    # randomness and stopping
    Bad("num_paths 0", solve(num_paths=0), ValueError, "num_paths", "0", "e.g. 1000"),
    Bad("num_paths < 0", solve(num_paths=-1), ValueError, "num_paths", "-1", "e.g. 1000"),
    Bad("num_paths 2.0", solve(num_paths=2.0), TypeError, "num_paths", "2.0", "e.g. 1000"),
    Bad("num_paths true", solve(num_paths=True), TypeError, "num_paths", "True", "e.g."),
    Bad("num_paths None", solve(num_paths=None), TypeError, "num_paths", "None", "e.g."),
    Bad("key an integer", solve(key=0), TypeError, "key", "got 0 (int)", ONE_KEY),
    Bad("key None", solve(key=None), TypeError, "key", "None", ONE_KEY),
    Bad("key text", solve(key=np.array("0")), TypeError, "key", "<U1", ONE_KEY),
    Bad("key floats", solve(key=jnp.zeros(2)), TypeError, "key", "float64", ONE_KEY),
    Bad(
        "key an array of keys",
        solve(key=jax.random.split(KEY, 3)),
        ValueError,
        "key",
        "an array of them, shape (3,)",
        "Pass one",
    ),
    Bad(
        "key of another generator",
        solve(key=jax.random.key(0, impl="rbg")),
        ValueError,
        "key",
        "key<rbg>",
        "impl='threefry2x32'",
    ),
    Bad("stop_above 0", solve(stop_above=0), ValueError, "stop_above", "0 (int)", NEVER),
    Bad("stop_above < 0", solve(stop_above=-2.0), ValueError, "stop_above", "-2", NEVER),
    Bad("stop_above NaN", solve(stop_above=NAN), ValueError, "stop_above", "nan", NEVER),
    Bad(
        "stop_above below the start",
        solve(stop_above=0.5),
        ValueError,
        "stop_above",
        "tr V0/m = 1; got 0.5",
        NEVER,
    ),
    Bad("stop_above text", solve(stop_above="2"), TypeError, "stop_above", "'2'", NEVER),
    Bad("stop_above true", solve(stop_above=True), TypeError, "stop_above", "True", NEVER),
    Bad("stop_above complex", solve(stop_above=2j), TypeError, "stop_above", "2j", NEVER),
    Bad(
        "stop_above for each path",
        solve(stop_above=jnp.array([2.0, 3.0])),
        TypeError,
        "stop_above",
        "shape (2,)",
        NEVER,
    ),
    Bad(
        "stop_above traced",
        under_jit(solve, "stop_above", 2.0),
        TypeError,
        "stop_above",
        "traced",
        NEVER,
    ),
    # solvers
    Bad(
        "solver a class",
        solve(solver=GeodesicStrang),
        TypeError,
        "solver",
        "the class GeodesicStrang",
        "Call it: `GeodesicStrang()`",
    ),
    Bad(
        "solver text",
        solve(solver="geodesic"),
        TypeError,
        "solver",
        "'geodesic' (str)",
        "None picks the default",
    ),
    *(
        Bad(
            f"solver {type(wrong).__name__}",
            solve(solver=wrong),
            ValueError,
            "solver",
            f"got {type(wrong).__name__}, which {reason}",
            "`GeodesicStrang()`",
        )
        for wrong, reason in [
            (diffrax.ItoMilstein(), "assumes commutative noise"),
            (diffrax.EulerHeun(), "does not solve Itô equations"),
            (diffrax.Heun(), "does not solve Itô equations"),
            (diffrax.StratonovichMilstein(), "does not solve Itô equations"),
            (diffrax.Tsit5(), "does not solve Itô equations"),
        ]
    ),
    # limits
    Bad("limit a class", solve(limit=ShapedMLP), TypeError, "limit", "the class", MLP),
    Bad("limit text", solve(limit="mlp"), TypeError, "limit", "'mlp' (str)", MLP),
    Bad(
        "limit an activation",
        solve(limit=ShapedReLU(0.0, -1.0)),
        TypeError,
        "limit",
        "(ShapedReLU)",
        MLP,
    ),
    Bad(
        "activation a function",
        mlp(activation=jnp.tanh),
        TypeError,
        "activation",
        "function tanh",
        "`ShapedSmooth(fn, a=1.0)`",
    ),
    Bad(
        "activation text",
        mlp(activation="relu"),
        TypeError,
        "activation",
        "'relu'",
        SHAPED_ACTIVATION,
    ),
    Bad(
        "activation a class",
        mlp(activation=ShapedReLU),
        TypeError,
        "activation",
        "the class ShapedReLU",
        SHAPED_ACTIVATION,
    ),
    # activations
    Bad("c_plus NaN", relu(c_plus=NAN), ValueError, "c_plus", "got nan", SHAPED_RELU),
    Bad("c_plus text", relu(c_plus="0"), TypeError, "c_plus", "'0' (str)", SHAPED_RELU),
    Bad("c_plus None", relu(c_plus=None), TypeError, "c_plus", "None", SHAPED_RELU),
    Bad("c_plus true", relu(c_plus=True), TypeError, "c_plus", "True", SHAPED_RELU),
    Bad("c_minus infinite", relu(c_minus=INF), ValueError, "c_minus", "inf", SHAPED_RELU),
    Bad("c_minus complex", relu(c_minus=1j), TypeError, "c_minus", "1j", SHAPED_RELU),
    Bad(
        "c_minus an array",
        relu(c_minus=jnp.ones(2)),
        ValueError,
        "c_minus",
        "shape (2,)",
        "Use `jax.vmap` for a sweep",
    ),
    Bad("a zero", smooth(a=0), ValueError, "a", "got 0", SHAPED_TANH),
    Bad("a negative", smooth(a=-1.0), ValueError, "a", "got -1.0", SHAPED_TANH),
    Bad("a infinite", smooth(a=INF), ValueError, "a", "got inf", SHAPED_TANH),
    Bad("a text", smooth(a="1"), TypeError, "a", "'1' (str)", SHAPED_TANH),
    Bad("center NaN", smooth(center=NAN), ValueError, "center", "got nan", "0.0 is usual"),
    Bad("fn a number", smooth(fn=3), TypeError, "fn", "got 3", SHAPED_TANH),
    Bad("fn text", smooth(fn="tanh"), TypeError, "fn", "got 'tanh'", SHAPED_TANH),
    Bad(
        "fn of NumPy",
        smooth(fn=np.tanh),
        TypeError,
        "fn",
        "tanh could not be differentiated",
        "Write it with `jax.numpy`",
    ),
    Bad(
        "fn of math",
        smooth(fn=math.tanh),
        TypeError,
        "fn",
        "tanh could not be differentiated",
        "Write it with `jax.numpy`",
    ),
    Bad(
        "fn of two numbers",
        smooth(fn=lambda x, y: x),
        TypeError,
        "fn",
        "<lambda> could not be differentiated",
        "Write it with `jax.numpy`",
    ),
    Bad(
        "fn returns an array",
        smooth(fn=lambda x: jnp.stack([x, x])),
        TypeError,
        "fn",
        "array of shape (2,)",
        "Write it elementwise",
    ),
    Bad("fn of slope 0", smooth(fn=jnp.cos), ValueError, "fn", "not 0", CENTRE),
    Bad("fn ReLU at 0", smooth(fn=jax.nn.relu), ValueError, "fn", "relu at", CENTRE),
    Bad(
        "fn with infinite derivatives",
        smooth(fn=jnp.sqrt),
        ValueError,
        "fn",
        "got nan, nan, nan",
        CENTRE,
    ),
    *(
        Bad(
            f"fn with a kink, {name}",
            smooth(fn=kinked),
            ValueError,
            "fn",
            "its derivatives jump there",
            "use `ShapedReLU`, or choose another `center`",
        )
        for name, kinked in {
            "|x| + x": lambda x: jnp.abs(x) + x,
            "leaky_relu": jax.nn.leaky_relu,
            "elu": jax.nn.elu,
            "x + |x|³": lambda x: x + jnp.abs(x) ** 3,
        }.items()
    ),
    *(
        Bad(
            f"width {width!r} for {type(activation).__name__}, {name}",
            lambda call=call, width=width: call(width),
            error,
            "width",
            f"got {width!r}",
            NEURONS,
        )
        for width, error in [(0, ValueError), (-1, ValueError), (8.0, TypeError)]
        for activation in (ShapedReLU(0.0, -1.0), ShapedSmooth(jnp.tanh, 1.0))
        for name, call in {
            "shaped": lambda n, activation=activation: activation.shaped(jnp.ones(2), n),
            "normalising_constant": activation.normalising_constant,
        }.items()
    ),
    Bad(
        "width 0 for Identity",
        lambda: Identity().normalising_constant(0),
        ValueError,
        "width",
        "got 0",
        NEURONS,
    ),
    # inputs
    Bad("x 1-d", inputs(x=jnp.ones(3)), ValueError, "x", "(3,)", RESHAPE),
    Bad("x images", inputs(x=jnp.ones((2, 3, 3))), ValueError, "x", "(2, 3, 3)", RESHAPE),
    Bad("x a number", inputs(x=2.0), ValueError, "x", "()", RESHAPE),
    Bad("x without rows", inputs(x=jnp.ones((0, 3))), ValueError, "x", "(0, 3)", RESHAPE),
    Bad("x zero row", inputs(x=jnp.eye(3, 2)), ValueError, "x", "row 2", "Remove it"),
    Bad(
        "x NaN",
        inputs(x=jnp.eye(2).at[0, 1].set(NAN)),
        ValueError,
        "x",
        "nan at index (0, 1)",
        "Remove that input",
    ),
    Bad("x huge", inputs(x=jnp.eye(2) * 1e170), ValueError, "x", "inf in row 0", "Scale"),
    Bad("x tiny", inputs(x=jnp.eye(2) * 1e-170), ValueError, "x", "0 in row 0", "Scale"),
    Bad("x text", inputs(x="x.npy"), TypeError, "x", "'x.npy'", "`numpy.load`"),
    Bad("x None", inputs(x=None), TypeError, "x", "None", ROWS),
    Bad("x texts", inputs(x=[["a", "b"]]), TypeError, "x", "[['a', 'b']]", ROWS),
    Bad("x ragged", inputs(x=[[1.0, 2.0], [3.0]]), TypeError, "x", "[3.0]]", ROWS),
    Bad("x complex", inputs(x=jnp.eye(2) * 1j), TypeError, "x", "complex128", ROWS),
    Bad("x truth values", inputs(x=jnp.eye(2) > 0), TypeError, "x", "bool", ROWS),
    # Brownian motion
    Bad(
        "ts unsorted",
        grid(ts=jnp.array([0.0, 1.0, 0.5])),
        ValueError,
        "ts",
        "got 1 and then 0.5",
        "`jnp.unique(ts)`",
    ),
    Bad(
        "ts duplicates",
        grid(ts=jnp.array([0.0, 0.5, 0.5])),
        ValueError,
        "ts",
        "got 0.5 and then 0.5",
        "`jnp.unique(ts)`",
    ),
    Bad("ts one time", grid(ts=jnp.zeros(1)), ValueError, "ts", "(1,)", GRID),
    Bad("ts 2-d", grid(ts=jnp.eye(2)), ValueError, "ts", "(2, 2)", GRID),
    Bad("ts NaN", grid(ts=jnp.array([0.0, NAN])), ValueError, "ts", "nan at", GRID),
    Bad("ts infinite", grid(ts=jnp.array([0.0, INF])), ValueError, "ts", "inf at", GRID),
    Bad("ts text", grid(ts="ts"), TypeError, "ts", "'ts' (str)", GRID),
    Bad("m zero", grid(m=0), ValueError, "m", "got 0", "number of inputs"),
    Bad("m 2.0", grid(m=2.0), TypeError, "m", "got 2.0", "number of inputs"),
    Bad(
        "num_paths of a grid",
        grid(num_paths=0),
        ValueError,
        "num_paths",
        "got 0",
        "Use None for a single matrix",
    ),
    Bad("key of a grid", grid(key=0), TypeError, "key", "got 0 (int)", ONE_KEY),
    Bad(
        "keys of a grid",
        grid(key=jax.random.split(KEY)),
        ValueError,
        "key",
        "shape (2,)",
        "Pass one",
    ),
    Bad(
        "key of a grid of another generator",
        grid(key=jax.random.key(0, impl="rbg")),
        ValueError,
        "key",
        "key<rbg>",
        "impl='threefry2x32'",
    ),
    Bad(
        "first_path negative",
        grid(first_path=-1),
        ValueError,
        "first_path",
        "got -1",
        "global index of the first path",
    ),
    Bad(
        "first_path 1.5",
        grid(first_path=1.5),
        TypeError,
        "first_path",
        "got 1.5",
        "global index of the first path",
    ),
    Bad("dtype int", grid(dtype=int), TypeError, "dtype", "class 'int'", "JAX's default"),
    Bad(
        "dtype half", grid(dtype="float16"), TypeError, "dtype", "float16", "JAX's default"
    ),
    Bad("dtype unknown", grid(dtype="f5"), TypeError, "dtype", "'f5'", "JAX's default"),
    Bad(
        "factor that divides not",
        lambda: grid()().coarsen(3),
        ValueError,
        "factor",
        "number of cells, 4; got 3",
        "a grid of 6 cells",
    ),
    # finite networks, and both together
    Bad("networks of width 0", networks(width=0), ValueError, "width", "0", "neurons"),
    Bad(
        "networks wider than an integer",
        networks(width=10**400),
        ValueError,
        "width",
        "at most 2^63 − 1; got an integer of 1329 bits",
        "neurons",
    ),
    Bad("networks of width 8.0", networks(width=8.0), TypeError, "width", "8.0", "neurons"),
    Bad(
        "no networks",
        networks(num_networks=0),
        ValueError,
        "num_networks",
        "got 0",
        "how many networks",
    ),
    Bad(
        "networks by another method",
        networks(method="exact"),
        ValueError,
        "method",
        "'exact'",
        '"gram" is fast',
    ),
    Bad(
        "networks too shallow",
        networks(t1=0.01),
        ValueError,
        "t1",
        "t1 = 0.01, which rounds to no layer",
        "at least 0.125",
    ),
    Bad(
        "heads beyond the floats",
        lambda: covsde.ShapedAttention(0.5, 1.0, heads=10**400),
        ValueError,
        "heads",
        "an integer of 1329 bits",
        "number of attention heads",
    ),
    Bad(
        "a time beyond the floats",
        networks(t1=10**400),
        TypeError,
        "t1",
        "an integer of 1329 bits",
        "depth d and width n",
    ),
    Bad("networks from NaN", networks(v0=V0 * NAN), ValueError, "v0", "nan", "Check"),
    Bad(
        "comparison of random starts",
        comparison(v0=jnp.stack([V0, V0])),
        ValueError,
        "v0",
        "(2, 2, 2)",
        "call `solve` and `oracles.sample` yourself",
    ),
    Bad(
        "comparison with one width twice",
        comparison(width=(8, 8)),
        ValueError,
        "width",
        "[8, 8]",
        "neurons",
    ),
    Bad(
        "comparison beyond the step's bound",
        comparison(limit=STEEP, dt0=0.23),
        ValueError,
        "dt0",
        "got 0.23",
        SMALLER,
    ),
]


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fails the test as soon as something is compiled to be simulated, or drawn."""

    def run(*_args, **_kwargs):
        pytest.fail("bad input was simulated")

    monkeypatch.setattr(sys.modules["covsde.solve._reuse"], "_simulate", run)
    monkeypatch.setattr(diffrax, "diffeqsolve", run)
    monkeypatch.setattr(oracles._gram, "run", run)
    monkeypatch.setattr(oracles._weights, "run", run)


def test_good_input_would_run(nothing_runs):
    for good in (solve, networks, comparison):
        with pytest.raises(pytest.fail.Exception, match="bad input was simulated"):
            good()()
    grid()(), relu()(), smooth()(), inputs(x=jnp.eye(2))()


@pytest.mark.parametrize("bad", TABLE, ids=[bad.id for bad in TABLE])
def test_bad_input(bad, nothing_runs):
    with pytest.raises(bad.error) as caught:
        bad.call()
    assert type(caught.value) is bad.error
    message = str(caught.value)
    name, _, accepted = message.partition(" must ")
    assert f"`{bad.name}`" in name
    assert accepted, message
    assert bad.found in message
    assert bad.way_out in message


def test_the_table_names_each_case_once():
    assert len(TABLE) >= 40
    assert len({bad.id for bad in TABLE}) == len(TABLE)


def test_what_a_program_is_compiled_for_is_plain():
    """Tests fail on the warning of a JAX array, or NumPy's number, in its place."""
    for x in (np.float64(0.5), np.array(0.5), jnp.asarray(0.5)):
        assert type(NinomiyaNinomiya(x).most) is float
    assert type(oracles.finite_network(RELU, np.int64(8)).width) is int


def test_bounds_are_accepted(nothing_runs):
    """What is refused just beyond a bound is accepted on it."""
    for good in (
        solve(limit=LINEAR, v0=jnp.eye(3), t1=10.0, dt0=4.0),
        solve(limit=LINEAR, v0=jnp.eye(3), dt0=0.5, solver=WishartEuler()),
        solve(limit=STEEP, dt0=4 / 36),
        solve(limit=STEEP, dt0=4 / 36, solver=WishartEuler()),
        solve(limit=LINEAR, v0=jnp.ones((1, 1)), dt0=1.0, solver=WishartEuler()),
        solve(saveat=[0.0, 1.0]),
        solve(v0=SINGULAR),
        solve(v0=np.eye(2, dtype=int)),
        solve(v0=[[1.0, 0.3], [0.3, 1.0]]),
        solve(t1=np.float32(1.0), dt0=jnp.asarray(0.5), num_paths=np.int64(2)),
        solve(key=jax.random.PRNGKey(0)),
        solve(stop_above=INF),
        solve(stop_above=1e300, v0=V0.astype(jnp.float32)),
    ):
        with pytest.raises(pytest.fail.Exception, match="bad input was simulated"):
            good()


class WrongShape(covsde.AbstractDrift):
    """A drift that returns a vector for a matrix."""

    def __call__(self, t, v, args):
        return -v[0]


class WrongLimit(covsde.AbstractLimit):
    drift: covsde.AbstractDrift = WrongShape()
    diffusion: covsde.AbstractDiffusion = covsde.CongruenceDiffusion(1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: covsde.CongruenceDiffusion(NAN),
        lambda: covsde.CongruenceDiffusion(-1.0),
        lambda: Identity().shaped(jnp.ones(2), 0),
        solve(solver=diffrax.HalfSolver(diffrax.Euler())),  # half steps are off the grid
        solve(limit=WrongLimit()),
    ],
    ids=["gain NaN", "gain negative", "width 0 shaped", "half solver", "drift a vector"],
)
def test_bad_parts_are_refused(call, nothing_runs):
    with pytest.raises((ValueError, TypeError), match="must"):
        call()


TOO_MANY = 2**32 + 1
SAMPLES: dict[str, tuple[str, Callable[..., Any]]] = {
    "solve": ("num_paths", lambda n: solve(num_paths=n)()),
    "ensemble": (
        "num_paths",
        lambda n: covsde.ensemble(
            RELU, V0, 1.0, key=KEY, num_paths=n, observables=RHO, shard=(0, n)
        ),
    ),
    "sweep": (
        "num_paths",
        lambda n: covsde.sweep(
            lambda c: ShapedMLP(ShapedReLU(0.0, c)),
            {"c": [-1.0]},
            V0,
            1.0,
            key=KEY,
            num_paths=n,
            observables=RHO,
        ),
    ),
    "nested": (
        "num_paths",
        lambda n: covsde.convergence.nested(RELU, V0, 1.0, key=KEY, num_paths=n),
    ),
    "study": (
        "num_paths",
        lambda n: covsde.convergence.study(
            RELU, [GeodesicStrang()], V0, 1.0, RHO, key=KEY, num_paths=n
        ),
    ),
    "grid": ("num_paths", lambda n: grid(num_paths=n)()),
    "networks": ("num_networks", lambda n: networks(num_networks=n)()),
    "comparison": ("num_networks", lambda n: comparison(num_networks=n)()),
    "unshaped": (
        "num_paths",
        lambda n: covsde.UnshapedMLP().solve(1.0, key=KEY, num_paths=n),
    ),
    "one input": (
        "num_paths",
        lambda n: laws.OneInput(1.0).sample(1.0, 1.0, key=KEY, num_paths=n),
    ),
    "angles": (
        "num_paths",
        lambda n: laws.AngleProcess([8, 8]).sample(1.0, key=KEY, num_paths=n),
    ),
    "finite NTKs": (
        "num_networks",
        lambda n: oracles.ntk.sample_ntks(
            RELU, V0, width=8, depth=2, key=KEY, num_networks=n
        ),
    ),
    "ReLU pairs": (
        "num_networks",
        lambda n: oracles.relu_pair.sample_relu_pairs(0.5, [8, 8], key=KEY, num_networks=n),
    ),
    "ReLU resnets": (
        "num_networks",
        lambda n: oracles.relu_resnet.sample_relu_resnets(
            0.5, width=8, depth=2, key=KEY, num_networks=n
        ),
    ),
}


@pytest.mark.parametrize("call", SAMPLES)
def test_paths_beyond_those_with_normals_of_their_own_are_refused(call, nothing_runs):
    """The 32 bits of an index would begin again at the first path."""
    if call == "sweep":
        pytest.importorskip("xarray")
    name, sample = SAMPLES[call]
    with pytest.raises(ValueError, match=rf"`{name}` must be at most 2\^32.*{TOO_MANY}"):
        sample(TOO_MANY)


def test_the_last_path_of_a_grid_is_the_last_with_normals_of_its_own():
    grid(num_paths=2, first_path=2**32 - 2)()
    grid(num_paths=2**32)()
    grid(first_path=2**32 - 1)()
    for paths, first in ((2, 2**32 - 1), (None, 2**32), (2**32, 1)):
        most = 2**32 - (paths or 1)
        with pytest.raises(ValueError, match=f"`first_path` must be at most {most}"):
            grid(num_paths=paths, first_path=first)()


def test_a_sweep_counts_its_paths_on_the_device():
    pytest.importorskip("xarray")
    name, sample = SAMPLES["sweep"]
    with pytest.raises(ValueError, match=rf"`{name}` must be at most 2\^31 − 1"):
        sample(2**31)
