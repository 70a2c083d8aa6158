"""The command line: what it prints and writes, and how it refuses bad input."""

import importlib
import inspect
import re
import subprocess
import sys
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Scalar

import covsde
from covsde.equations import Equation

pytest.importorskip("typer")
pytest.importorskip("rich")

import typer
from typer.testing import CliRunner

from covsde.cli import (
    _catalogue,
    _describe,
    _ensemble,
    _groups,
    _inputs,
    _parameters,
    _solve,
    _validate,
    app,
)

X = np.array([[1.0, 0.2, 0.0], [0.3, 1.0, -0.4]])
SMALL = ["--paths", "200", "--t1", "0.5"]
RESNET, ATTENTION, TRANSFORMER, UNSHAPED, KERNEL_RESNET = (
    ("--architecture", name)
    for name in ("resnet", "attention", "transformer", "unshaped", "kernel-resnet")
)


@pytest.fixture
def inputs(tmp_path):
    """A folder with inputs, good and bad."""
    np.save(tmp_path / "x.npy", X)
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    np.save(tmp_path / "one.npy", X[:1])
    np.save(tmp_path / "equal.npy", X[[0, 0]])
    np.save(tmp_path / "nan.npy", np.where(X == 0.2, np.nan, X))
    np.save(tmp_path / "zero.npy", X * [[1.0], [0.0]])
    np.save(tmp_path / "flat.npy", X.ravel())
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "many.npy", np.ones((101, 2)))
    np.save(tmp_path / "huge.npy", X * 1e200)
    np.save(tmp_path / "complex.npy", X * 1j)
    np.savez(tmp_path / "archive.npz", X)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04")
    (tmp_path / "comment.csv").write_text("# a\n")
    (tmp_path / "torn.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:150])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "words.csv").write_text("a,b\n1,2\n")
    (tmp_path / "ragged.csv").write_text("1,2\n3\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "x.txt").write_text("1 2\n")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain(result):
    """What was printed, without the frame around errors and its line breaks."""
    return " ".join(result.output.translate(str.maketrans("│╭╮╰╯─", "      ")).split())


# what it does


def test_help_teaches():
    result = run("--help")
    assert result.exit_code == 0
    text = plain(result)
    assert text.count("covsde validate") >= 2 and "covsde solve" in text
    assert "covsde describe" in text
    assert "depth/width" in text


@pytest.mark.parametrize("command", ["validate", "solve"])
def test_the_help_of_a_command_names_choices_and_defaults(command):
    text = plain(run(command, "--help"))
    assert "softplus" in text and "geodesic" in text and "ninomiya" in text
    assert "mlp, resnet, attention, transformer" in text and "(default: 0.5)" in text
    assert "unshaped, kernel-resnet" in text and "size 1/√depth" in text
    assert "default: 0.5" in text and "(default: 7, or 2 for unshaped)" in text


def test_solve_writes_a_solution(inputs):
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    file = inputs / "new" / "v.nc"
    arguments = ["--inputs", inputs / "x.csv", "--activation", "linear", *SMALL]
    result = run("solve", *arguments, "--save-times", 3, "--seed", 5, "--out", file)
    assert result.exit_code == 0, result.output
    assert "ρ[0,1]" in result.output and "stopped: 0 of 200" in result.output
    assert str(file) in plain(result).replace(" ", "")
    with xarray.open_dataset(file, engine="h5netcdf") as data:
        assert data.sizes == {"path": 200, "time": 3, "a": 2, "b": 2}
        np.testing.assert_allclose(data.time, [0, 0.25, 0.5])
        np.testing.assert_allclose(data.v[0, 0], X @ X.T / 3)


def test_validate_writes_and_prints_everything(inputs):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("matplotlib")
    out = inputs / "out"
    arguments = ["--inputs", inputs / "x.npy", "--activation", "linear", *SMALL]
    sizes = ["--networks", 150, "--widths", "16,8", "--out", out, "--float32"]
    result = run("validate", *arguments, *sizes)
    assert result.exit_code == 0, result.output
    assert "ShapedMLP(Identity())" in result.output
    assert "KS distance, n =" in result.output
    assert {file.name for file in (out / "linear").iterdir()} == {
        "correlations.png",
        "densities.png",
        "fan.png",
        "report.nc",
        "table.txt",
        "limit.nc",
        "networks-8.nc",
        "networks-16.nc",
    }
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(out / "linear" / "limit.nc", engine="h5netcdf") as data:
        assert data.v.dtype == np.float32


def test_solve_knows_other_architectures(inputs):
    pytest.importorskip("h5netcdf")
    out = inputs / "v.nc"
    small = ["--inputs", inputs / "x.csv", "--paths", 20, "--t1", 0.1, "--out", out]
    result = run("solve", *small, *TRANSFORMER, "--hidden-ratio", 4, "--gamma", 0.25)
    assert result.exit_code == 0, result.output
    assert "ShapedFeedForward(ShapedReLU(c_plus=0, c_minus=-1), gamma=0.25" in result.output
    assert "hidden_ratio=4)) at t = 0.1" in result.output
    assert "transformer-relu may explode; paths stop at tr V/m > 8." in plain(result)


@pytest.mark.parametrize(
    ("arguments", "folder", "solver"),
    [
        (
            ["attention", "--tau0", "2", "--output-projection"],
            "attention",
            "NinomiyaNinomiya",
        ),
        (["resnet", "--activation", "linear"], "resnet-linear", "GeodesicStrang"),
    ],
    ids=["attention", "resnet"],
)
def test_validate_has_a_folder_for_each_table(arguments, folder, solver, inputs):
    for module in ("h5netcdf", "matplotlib"):
        pytest.importorskip(module)
    out = inputs / "out"
    small = ["--inputs", inputs / "x.npy", "--paths", 50, "--t1", 0.25, "--out", out]
    sizes = ["--networks", 40, "--widths", "8"]
    result = run("validate", *small, *sizes, "--architecture", *arguments)
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.iterdir()] == [folder]
    assert result.output.count("KS distance, n =") == 1 and solver in result.output
    explosive = "attention may explode; paths stop at tr V/m > 8." in plain(result)
    assert explosive == (folder == "attention")


def test_solve_writes_the_nearness_of_two_inputs(inputs):
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    out = inputs / "u.nc"
    arguments = [*UNSHAPED, "--inputs", inputs / "x.csv", "--slope-minus", "-0.3", *SMALL]
    result = run("solve", *arguments, "--save-times", 3, "--seed", 5, "--out", out)
    assert result.exit_code == 0, result.output
    assert "UnshapedMLP(slope_plus=1, slope_minus=-0.3) at t = 0.5" in result.output
    with xarray.open_dataset(out, engine="h5netcdf") as data:
        assert data.sizes == {"path": 200, "time": 3}
        u = data.u.values[:, -1]
        np.testing.assert_allclose(data.time, [0, 0.25, 0.5])
    printed = {line.split()[0]: line.split() for line in result.output.splitlines() if line}
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    ours = [0, u.mean(), *np.quantile(u, levels)]
    assert printed["u"][1:] == [f"{x:.3f}" for x in ours]
    ours = [np.mean((0.5 / u) ** 2), *np.quantile((0.5 / u) ** 2, levels)]
    assert printed["q"][4:] == [f"{x:.3f}" for x in ours]


def test_an_ensemble_of_the_nearness_is_kept_merged_and_printed(inputs):
    pytest.importorskip("h5netcdf")
    small = [*UNSHAPED, "--inputs", inputs / "x.npy", "--paths", 200, "--seed", 5]
    files = [inputs / f"{i}.nc" for i in range(2)]
    for i, file in enumerate(files):
        state = ["--checkpoint", inputs / "state", "--chunk-size", 50, "--save-times", 3]
        result = run("ensemble", *small, *state, "--shard", f"{i}/2", "--out", file)
        assert result.exit_code == 0, result.output
    result = run("merge", *files, "--out", inputs / "whole.nc")
    assert result.exit_code == 0, result.output
    v0 = covsde.gram(jnp.asarray(X))
    options = {"key": jax.random.key(5), "num_paths": 200, "saveat": [0.0, 0.25, 0.5]}
    u = np.asarray(covsde.solve(covsde.UnshapedMLP(), v0, 0.5, **options).us)
    whole = covsde.Ensemble.load(inputs / "whole.nc")
    np.testing.assert_allclose(whole["u"]["mean"], u.mean(axis=0), rtol=1e-12)
    last = [line.split() for line in result.output.splitlines() if line.startswith("u ")]
    assert last[-1][1] == f"{u[:, -1].mean():.4g}" and last[0][1] == "0"


def test_validate_holds_the_unshaped_limit_against_its_networks(tmp_path):
    for module in ("h5netcdf", "matplotlib", "sklearn"):
        pytest.importorskip(module)
    sizes = ["--paths", 200, "--networks", 50, "--widths", "16,32", "--t1", "0.25"]
    how = ["--method", "weights", "--float32"]
    result = run("validate", *UNSHAPED, *sizes, *how, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "2 handwritten digits" in result.output and "O(log n/n)" in plain(result)
    assert result.output.count("KS distance, n =") == 1
    assert {file.name for file in (tmp_path / "unshaped").iterdir()} == {
        "densities.png",
        "fan.png",
        "report.nc",
        "table.txt",
        "limit.nc",
        "networks-16.nc",
        "networks-32.nc",
    }


def test_what_cannot_be_drawn_is_told_in_words_of_the_command_line(inputs):
    for module in ("h5netcdf", "matplotlib"):
        pytest.importorskip(module)
    small = ["--inputs", inputs / "x.npy", "--paths", 2, "--networks", 2, "--t1", 40]
    out = inputs / "out"
    result = run("validate", *UNSHAPED, *small, "--widths", "2", "--out", out)
    assert result.exit_code == 2 and (out / "unshaped" / "table.txt").exists()
    assert "Pass a larger --widths, or an earlier --t1. All data" in plain(result)


def test_validate_holds_the_kernel_of_a_resnet_against_its_networks(inputs):
    for module in ("h5netcdf", "matplotlib"):
        pytest.importorskip(module)
    xarray = pytest.importorskip("xarray")
    out = inputs / "out"
    options = ["--activation", "linear", "--branch-variance", "0.75", "--t1", "1"]
    sizes = ["--paths", 10, "--networks", 100, "--widths", "32", "--out", out]
    result = run("validate", *KERNEL_RESNET, "--inputs", inputs / "x.npy", *options, *sizes)
    assert result.exit_code == 0, result.output
    assert "KernelODE(BranchCovariance(LeakyReLU(slope_plus=1" in result.output
    assert "no noise" in plain(result) and "may explode" not in result.output
    table = out / "kernel-resnet-linear" / "report.nc"
    with xarray.open_dataset(table, engine="h5netcdf") as data:
        # dV = c V dt
        row = data.sel(observable="log V[0,0]", width=32)
        np.testing.assert_allclose(row.limit_mean, row.initial + 0.75, atol=1e-3)
        assert abs(row.network_mean - row.limit_mean) < 4 * row.network_se + 1 / 32


def test_describe_prints_the_library_s_description():
    limit = covsde.ShapedTransformer(
        covsde.ShapedSmooth(jnp.tanh, a=2.0), 0.4, 1.5, heads=3, hidden_ratio=4.0
    )
    ours = covsde.describe(limit)
    options = ["--activation", "tanh", "--a", "2", "--gamma", "0.4", "--tau0", "1.5"]
    command = ["describe", "transformer", *options, "--heads", "3", "--hidden-ratio", "4"]
    assert run(*command).output == f"{ours}\n"
    assert run(*command, "--latex").output == f"{ours.latex}\n"
    assert run(*command, "--bibtex").output == f"{ours.bibtex}\n"


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ([], covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))),
        (["mlp", "--activation", "linear"], covsde.ShapedMLP(covsde.Identity())),
        (["resnet"], covsde.ShapedResNet(covsde.ShapedReLU(0.0, -1.0), 0.5)),
        (["attention"], covsde.ShapedAttention(0.5, 1.0)),
        (
            ["mlp", "--p", "0.25"],
            covsde.KernelODE(covsde.ActivationDrift(covsde.ShapedReLU(0.0, -1.0, 0.25))),
        ),
        (["unshaped"], covsde.UnshapedMLP()),
        (
            ["unshaped", "--slope-plus", "0.5", "--slope-minus", "-1"],
            covsde.UnshapedMLP(0.5, -1.0),
        ),
        (
            ["kernel-resnet", "--slope-minus", "-0.3", "--branch-variance", "2"],
            covsde.KernelODE(covsde.BranchCovariance(covsde.LeakyReLU(1.0, -0.3), 2.0)),
        ),
        (
            ["kernel-resnet", "--activation", "erf"],
            covsde.KernelODE(covsde.BranchCovariance(jax.scipy.special.erf)),
        ),
        (
            ["kernel-resnet", "--activation", "linear"],
            covsde.KernelODE(covsde.BranchCovariance(covsde.LeakyReLU(1.0, 1.0))),
        ),
        (
            ["transformer", "--feed-forward-gamma", "0.75"],
            covsde.ShapedTransformer(
                covsde.ShapedReLU(0.0, -1.0), 0.5, 1.0, feed_forward_gamma=0.75
            ),
        ),
        (
            ["attention", "--output-projection", "--heads", "2"],
            covsde.ShapedAttention(0.5, 1.0, 2, output_projection=True),
        ),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_the_options_make_the_limit(arguments, limit):
    assert run("describe", *arguments).output == f"{covsde.describe(limit)}\n"


class Toy(covsde.AbstractLimit):
    """A limit that the command line has never heard of."""

    mlp: covsde.ShapedMLP
    said: str

    def __init__(
        self,
        activation: covsde.AbstractActivation,
        bias_variance: float | Scalar = 0.0,
        weights: Literal["gaussian", "orthogonal"] = "gaussian",
        *,
        layers: int | None = None,
        mask: Literal["causal"] | Bool[Array, "m m"] | None = None,
        tied: bool = True,
    ):
        """**Arguments:**

        - `activation`: the shaped activation.
        - `bias_variance`: variance `σ_b^2` of the biases, over `n`; see
          [`covsde.ShapedMLP`][].
        - `weights`: their law ([`covsde.oracles`][]).
        - `layers`, `mask`: as for others; None is that of `bias_variance`.
        - `tied`: whether weights are tied.

        **Raises:** `ValueError`.
        """
        if not float(bias_variance) >= 0:
            raise ValueError(f"`bias_variance` must not be negative; got {bias_variance}.")
        self.mlp = covsde.ShapedMLP(activation)
        self.said = f"{bias_variance} {weights} {layers} {mask} {tied}"

    drift = property(lambda self: self.mlp.drift)
    diffusion = property(lambda self: self.mlp.diffusion)

    @property
    def equations(self):
        return (Equation(self.said, (), ()),)


def test_a_new_limit_has_its_options_from_its_signature(monkeypatch):
    """One line names it; types, defaults, help and refusals are its own."""
    monkeypatch.setitem(_catalogue.ARCHITECTURES, "toy", Toy)
    program = typer.Typer()
    program.command()(_groups.command(inspect.unwrap(_describe.describe)))

    def run(*arguments):
        return CliRunner().invoke(program, arguments, terminal_width=200)

    text = plain(run("--help"))
    assert "--bias-variance X toy: variance σ_b² of the biases, over n; see " in text
    assert "see ShapedMLP. (default: 0)" in text
    assert "--weights gaussian|orthogonal toy: their law. (default: gaussian)" in text
    assert "--layers N toy: as for others. (default: that of --bias-variance)" in text
    assert "--mask causal toy: as for others." in text
    assert "--no-tied" in text and "toy: whether weights are tied." in text
    assert "0.0 gaussian None None True" in run("toy", "--activation", "sin").output
    options = ["--bias-variance", "2", "--weights", "orthogonal", "--layers", "3"]
    result = run("toy", *options, "--mask", "causal", "--no-tied", "--c-plus", "1")
    assert "2.0 orthogonal 3 causal False" in result.output
    for arguments, words in (
        (["toy", "--bias-variance", "-1"], "--bias-variance must not be negative"),
        (["toy", "--weights", "iid"], "must be one of gaussian, orthogonal; got 'iid'"),
        (["mlp", "--mask", "causal"], "--mask: acts on toy only"),
        (["toy", "--a", "1"], "--a: acts on a smooth activation only"),
        (["toy", "--gamma", "1"], "resnet, attention, transformer only"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and words in plain(result), result.output


def test_every_option_of_a_limit_has_words():
    """No constructor's docstring is silent about what a person may set."""
    for name, takers in _parameters.users().items():
        assert any(one.text for one in takers), name
        required = any(one.parameter.default is inspect.Parameter.empty for one in takers)
        assert required == (name in _catalogue.DEFAULTS), name


def test_figure_times_are_layers_of_every_width():
    times = _validate.figure_times(0.5, 32)
    np.testing.assert_allclose(times * 32, [1, 2, 4, 8, 12, 16])
    for t1, width in ((0.5, 2), (0.1, 8), (0.37, 33), (1.0, 1)):
        times = _validate.figure_times(t1, width)
        assert times[-1] == t1 and np.all(np.diff(times) > 0) and times[0] > 0
        layers = np.rint(times * width)
        assert np.all(np.diff(layers) > 0)


def test_the_digits_are_centred_and_of_unit_size():
    pytest.importorskip("sklearn")
    x, words = _inputs.handwritten_digits(7)
    assert x.shape == (7, 64) and "7 handwritten digits" in words
    v0 = covsde.gram(jnp.asarray(x))
    assert np.trace(v0) / 7 == pytest.approx(1)
    rho = np.asarray(covsde.observables.correlation(v0))[np.triu_indices(7, 1)]
    assert rho.min() < -0.5 and rho.max() > 0.4


def test_it_runs_as_a_module_and_importing_it_switches_nothing_on():
    """In a process of its own: no float64, no devices and no matplotlib by import."""
    code = (
        "import sys, jax, covsde.cli, covsde.plotting, runpy\n"
        "assert not jax.config.jax_enable_x64\n"
        "assert jax.config.jax_num_cpu_devices == -1\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from covsde.cli import _cores\n"
        "_cores.use_cores(None)\n"  # as a command does, one of each core
        "assert jax.local_device_count() == _cores.processors()\n"
        "sys.argv = ['covsde', '--version']\n"
        "runpy.run_module('covsde', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"covsde {covsde.__version__}"


# what it refuses

# each option is given all of the first, and some of the others in turn
WORST = ["nan", "1e-320", "9" * 400]
EXTREME = ["0", "-1", "inf", "1e6", "1e-300", "x", "", "9" * 30]
# of a run of few paths, what is not solved here
BARE = {
    "describe": [],
    "solve": ["--paths", "2", "--t1", "0.1", "--out", "{}/out.nc"],
    "ensemble": ["--paths", "2", "--t1", "0.1", "--out", "{}/out.nc"],
    "validate": ["--paths", "2", "--networks", "2", "--widths", "16", "--out", "{}/out"],
}
SCANNED = [
    ("describe", "transformer"),
    ("describe", "kernel-resnet"),
    ("solve", "mlp"),
    ("solve", "unshaped"),
    ("ensemble", "attention"),
    ("validate", "transformer"),
]


class Begun(Exception):
    """A simulation would begin now."""


@pytest.mark.parametrize(("command", "architecture"), SCANNED)
def test_no_value_of_any_option_shows_a_traceback(
    command, architecture, inputs, monkeypatch
):
    """It is taken, or refused by one message that names an option."""

    def begin(*_, **__):
        raise Begun

    monkeypatch.setattr(_solve, "_library_solve", begin)
    monkeypatch.setattr(_ensemble, "_library_ensemble", begin)
    monkeypatch.setattr(_validate, "compare", begin)
    program = typer.main.get_command(app)
    first = [architecture] if command == "describe" else ["--architecture", architecture]
    given = [word.replace("{}", str(inputs)) for word in [*first, *BARE[command]]]
    folders = {"--inputs", "--out", "--checkpoint", "--help"}
    for index, parameter in enumerate(program.commands[command].params):
        option = parameter.opts[-1]
        if not option.startswith("--") or option in folders:
            continue
        own = [] if option == "--digits" else ["--inputs", str(inputs / "x.npy")]
        own = own if command != "describe" else []
        values = [*WORST, EXTREME[index % 8], EXTREME[(3 * index + 1) % 8]]
        for value in [None] if getattr(parameter, "is_flag", False) else values:
            words = [option] if value is None else [option, value]
            result = run(command, *given, *own, *words)
            begun = isinstance(result.exception, Begun)
            assert begun or result.exit_code in (0, 2), (words, result.exception)
            if result.exit_code == 2:
                assert plain(result).count("Invalid value") == 1, (words, result.output)
                assert re.search(rf"{option}(?![\w-])|--t1", plain(result)), result.output


def test_numbers_that_end_at_long_times_are_told_without_warnings(inputs):
    """Tests fail on a warning: log det V is −∞ where inputs became one."""
    pytest.importorskip("h5netcdf")
    arguments = ["--inputs", inputs / "x.npy", "--paths", 2, "--out", inputs / "v.nc"]
    result = run("solve", *ATTENTION, *arguments, "--t1", 1000)
    assert result.exit_code == 0, result.exception
    assert "inf" in result.output and "nan" not in result.output


BOTH = [
    (["--inputs", "{}/missing.npy"], "--inputs", "does not exist"),
    (["--inputs", "{}/folder.npy"], "--inputs", "is a folder"),
    (["--inputs", "{}/x.txt"], "--inputs", ".npy or .csv"),
    (["--inputs", "{}/nan.npy"], "--inputs", "row 1"),
    (["--inputs", "{}/zero.npy"], "--inputs", "row 2"),
    (["--inputs", "{}/flat.npy"], "--inputs", "shape (6,)"),
    (["--inputs", "{}/text.npy"], "--inputs", "real numbers"),
    (["--inputs", "{}/objects.npy"], "--inputs", "numpy.save"),
    (["--inputs", "{}/torn.npy"], "--inputs", "numpy.save"),
    (["--inputs", "{}/empty.npy"], "--inputs", "numpy.save"),
    (["--inputs", "{}/empty.csv"], "--inputs", "empty"),
    (["--inputs", "{}/archive.npy"], "--inputs", "numpy.save"),
    (["--inputs", "{}/zip.npy"], "--inputs", "numpy.save"),
    (["--inputs", "{}/comment.csv"], "--inputs", "empty"),
    (["--inputs", f"{'n' * 300}.npy"], "--inputs", "cannot read"),
    (["--inputs", "{}/words.csv"], "--inputs", "heading"),
    (["--inputs", "{}/ragged.csv"], "--inputs", "as many numbers"),
    (["--inputs", "{}/binary.csv"], "--inputs", "as many numbers"),
    (["--inputs", "{}/many.npy"], "--inputs", "at most 100"),
    (["--inputs", "{}/huge.npy"], "--inputs", "ordinary size"),
    (["--inputs", "{}/complex.npy"], "--inputs", "complex"),
    (["--inputs", "{}/x.npy", "--digits", "3"], "--digits", "Choose one"),
    (["--digits", "0"], "--digits", "1 to 10"),
    (["--digits", "11"], "--digits", "got 11"),
    (["--t1", "-0.5"], "--t1", "got -0.5"),
    (["--t1", "nan"], "--t1", "positive"),
    (["--t1", "half"], "--t1", "half"),
    (["--dt0", "0"], "--dt0", "positive"),
    (["--activation", "relu", "--dt0", "9", "--t1", "9"], "--dt0", "at most"),
    (["--solver", "milstein"], "--solver", "geodesic"),
    (["--activation", "swish"], "--activation", "silu"),
    (["--activation", "tanh", "--a", "0"], "--a", "positive"),
    (["--activation", "tanh", "--a", "inf"], "--a", "finite"),
    (["--activation", "tanh", "--center", "1000"], "--activation", "slope"),
    (["--activation", "tanh", "--a", "1e-5"], "--activation", "a larger --a"),
    (["--activation", "tanh", "--a", "1e-160"], "--a", "Pass a larger one"),
    (
        ["--activation", "tanh", "--a", "1e-5", "--p", "0.25"],
        "--activation",
        "a larger --a",
    ),
    (["--dt0", "1e-9"], "--dt0", "at most 100000 steps"),
    (["--activation", "relu", "--c-plus", "nan"], "--c-plus", "finite"),
    (["--activation", "tanh", "--c-minus", "1"], "--c-minus", "relu only"),
    (["--activation", "relu", "--a", "2"], "--a", "smooth"),
    (["--activation", "linear", "--p", "0.6"], "--p", "shaped activation only"),
    (["--p", "0"], "--p", "positive"),
    ([*RESNET, "--p", "0.25"], "--p", "at least 0.5"),
    ([*ATTENTION, "--feed-forward-gamma", "1"], "--feed-forward-gamma", "transformer only"),
    ([*TRANSFORMER, "--feed-forward-gamma", "2"], "--feed-forward-gamma", "in (0, 1]"),
    (["--paths", "0"], "--paths", "at least 2"),
    (["--paths", "1000000000000"], "--paths", "GB"),
    (["--t1", "1e9"], "--t1", "shorter time"),
    (["--t1", "1000"], "--t1", "must leave norms"),
    ([*KERNEL_RESNET, "--t1", "2000"], "--t1", "here at most"),
    (["--t1", "60", "--float32"], "--t1", "float32 ends"),
    (["--paths", "1.5"], "--paths", "1.5"),
    (["--seed", "-1"], "--seed", "from 0"),
    (["--cores", "0"], "--cores", "at least 1"),
    (["--stop-above", "0"], "--stop-above", "positive"),
    (["--stop-above", "1e-6"], "--stop-above", "tr V0/m"),
    (["--no-such-option"], "--no-such-option", "No such option"),
    (["--architecture", "lstm"], "--architecture", "transformer"),
    (["--gamma", "0.5"], "--gamma", "resnet, attention, transformer only"),
    (["--tau0", "2"], "--tau0", "got --architecture mlp"),
    ([*RESNET, "--heads", "2"], "--heads", "attention, transformer only"),
    ([*RESNET, "--output-projection"], "--output-projection", "got --architecture resnet"),
    ([*ATTENTION, "--hidden-ratio", "2"], "--hidden-ratio", "transformer only"),
    ([*ATTENTION, "--activation", "relu"], "--activation", "mlp, resnet, transformer"),
    ([*ATTENTION, "--c-plus", "0"], "--c-plus", "got --architecture attention"),
    ([*RESNET, "--activation", "relu", "--a", "2"], "--a", "smooth"),
    ([*RESNET, "--gamma", "1.5"], "--gamma", "in (0, 1]"),
    ([*RESNET, "--gamma", "nan"], "--gamma", "in (0, 1]"),
    ([*ATTENTION, "--tau0", "0"], "--tau0", "positive"),
    ([*ATTENTION, "--heads", "0"], "--heads", "at least 1"),
    ([*TRANSFORMER, "--hidden-ratio", "-1"], "--hidden-ratio", "positive"),
    ([*TRANSFORMER, "--hidden-ratio", "1e-9"], "--hidden-ratio", "noise so strong"),
    ([*ATTENTION, "--solver", "geodesic"], "--solver", "ninomiya or projected"),
    ([*TRANSFORMER, "--solver", "wishart", "--dt0", "0.01"], "--solver", "got wishart"),
    ([*ATTENTION, "--tau0", "1e-4"], "--tau0", "lower --gamma"),
    ([*ATTENTION, "--gamma", "1e-200"], "--gamma", "Pass a larger γ"),
    ([*ATTENTION, "--tau0", "1e-309"], "--tau0", "are 0 here"),
    ([*TRANSFORMER, "--tau0", "1e308"], "--tau0", "Pass a smaller τ₀"),
    ([*TRANSFORMER, "--tau0", "1e-4"], "--tau0", "Raise it"),
    ([*TRANSFORMER, "--activation", "sin", "--a", "1e-5"], "--activation", "a larger --a"),
    (["--slope-plus", "2"], "--slope-plus", "unshaped, kernel-resnet only"),
    ([*RESNET, "--branch-variance", "2"], "--branch-variance", "kernel-resnet only"),
    ([*UNSHAPED, "--digits", "3"], "--digits", "2 inputs"),
    ([*UNSHAPED, "--inputs", "{}/one.npy"], "--inputs", "got 1. Give 2 rows"),
    ([*UNSHAPED, "--inputs", "{}/equal.npy"], "--inputs", "correlation below 1"),
    ([*UNSHAPED, "--activation", "relu"], "--activation", "got --architecture unshaped"),
    ([*UNSHAPED, "--c-minus", "0"], "--c-minus", "mlp, resnet, transformer only"),
    ([*UNSHAPED, "--p", "0.25"], "--p", "mlp, resnet, transformer only"),
    ([*UNSHAPED, "--gamma", "0.5"], "--gamma", "got --architecture unshaped"),
    ([*UNSHAPED, "--branch-variance", "2"], "--branch-variance", "kernel-resnet only"),
    ([*UNSHAPED, "--solver", "ninomiya"], "--solver", "LinearParabola() for UnshapedMLP"),
    ([*UNSHAPED, "--stop-above", "8"], "--stop-above", "must be None for UnshapedMLP"),
    ([*UNSHAPED, "--slope-plus", "0"], "--slope-plus", "--slope-minus must not both be 0"),
    ([*UNSHAPED, "--slope-plus", "1e-320"], "--slope-plus", "must not both be 0"),
    ([*UNSHAPED, "--slope-minus", "1"], "--slope-plus", "--slope-minus must differ"),
    ([*UNSHAPED, "--slope-minus", "inf"], "--slope-minus", "finite"),
    ([*UNSHAPED, "--dt0", "1e-9"], "--dt0", "at most 100000 steps"),
    ([*UNSHAPED, "--t1", "1e9"], "--t1", "shorter time"),
    ([*UNSHAPED, "--t1", "1000"], "--t1", "float64 ends"),
    ([*KERNEL_RESNET, "--branch-variance", "-1"], "--branch-variance", "positive"),
    ([*KERNEL_RESNET, "--branch-variance", "1e6"], "--branch-variance", "Lower it"),
    ([*KERNEL_RESNET, "--slope-minus", "-1e300"], "--slope-minus", "Lower it"),
    ([*KERNEL_RESNET, "--slope-plus", "1e4"], "--slope-plus", "got 10000"),
    ([*KERNEL_RESNET, "--a", "2"], "--a", "got --architecture kernel-resnet"),
    ([*KERNEL_RESNET, "--gamma", "1"], "--gamma", "got --architecture kernel-resnet"),
    (
        [*KERNEL_RESNET, "--activation", "tanh", "--slope-plus", "2"],
        "--slope-plus",
        "acts on relu only; got --activation tanh",
    ),
]
VALIDATE = [
    (["--widths", "64,x"], "--widths", "integers"),
    (["--widths", ""], "--widths", "integers"),
    (["--widths", "0,8"], "--widths", "at least 1"),
    (["--widths", "8,8"], "--widths", "different"),
    (["--widths", "2", "--t1", "0.1"], "--widths", "at least 10"),
    (["--networks", "0"], "--networks", "at least 2"),
    (["--networks", "10000000000"], "--networks", "GB"),
    (["--method", "exact"], "--method", "gram"),
    ([*UNSHAPED, "--widths", "1", "--t1", "1"], "--widths", "number of inputs, 2"),
    ([*KERNEL_RESNET, "--widths", "1", "--t1", "1"], "--widths", "number of inputs, 2"),
    ([*RESNET, "--widths", "1,8", "--t1", "1"], "--widths", "number of inputs, 2"),
    (
        [*ATTENTION, "--output-projection", "--heads", "3", "--widths", "8"],
        "--widths",
        "multiple of the 3 heads",
    ),
    (["--out", "{}/file"], "--out", "cannot write"),
    (["--out", "{}/file/below"], "--out", "cannot write"),
    (["--out", "/proc/nothing"], "--out", "cannot write"),
]
SOLVE = [
    (["--save-times", "1000000000"], "--save-times", "at most 10000"),
    (["--save-times", "10000", "--paths", "1000000000"], "--paths", "fewer times"),
    (["--save-times", "0"], "--save-times", "at least 1"),
    (["--out", "{}/v.csv"], "--out", ".nc"),
    (["--out", f"{'n' * 300}.nc"], "--out", "cannot write"),
    (["--out", "{}/file/v.nc"], "--out", "cannot write"),
]
ENSEMBLE = [
    (["--shard", "2/2"], "--shard", "0/2 and 1/2"),
    (["--shard", f"0/{'9' * 5000}"], "--shard", "0/2 and 1/2"),
]
CASES = [
    *(("solve", *case) for case in BOTH + SOLVE),
    *(("ensemble", *case) for case in ENSEMBLE),
    *(("validate", *case) for case in BOTH[:3] + VALIDATE),
]
DESCRIBE = [
    (["lstm"], "ARCHITECTURE", "transformer"),
    (["mlp", "--gamma", "0.5"], "--gamma", "resnet, attention, transformer only"),
    (["attention", "--activation", "tanh"], "--activation", "got --architecture attention"),
    (["resnet", "--gamma", "2"], "--gamma", "in (0, 1]"),
    (["mlp", "--latex", "--bibtex"], "--bibtex", "Choose one"),
    (["unshaped", "--a", "2"], "--a", "got --architecture unshaped"),
    (["kernel-resnet", "--branch-variance", "0"], "--branch-variance", "positive"),
]


@pytest.mark.parametrize(("command", "arguments", "option", "message"), CASES)
def test_bad_input_is_refused_in_words(command, arguments, option, message, inputs):
    given = [argument.replace("{}", str(inputs)) for argument in arguments]
    if "--inputs" not in given and "--digits" not in given:
        given += ["--inputs", str(inputs / "x.npy")]
    if "--out" not in given:
        given += ["--out", str(inputs / "out.nc")]
    result = run(command, *given)
    text = plain(result)
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in text
    assert option in text and message in text


@pytest.mark.parametrize(("arguments", "option", "message"), DESCRIBE)
def test_what_cannot_be_described_is_refused_in_words(arguments, option, message):
    result = run("describe", *arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert option in plain(result) and message in plain(result)


def test_an_unwritable_result_is_told_in_words(inputs, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(covsde.Solution, "save", full)
    arguments = ["--inputs", inputs / "x.csv", "--activation", "linear", *SMALL]
    result = run("solve", *arguments, "--save-times", 3, "--out", inputs / "v.nc")
    assert result.exit_code == 2
    assert "--out" in plain(result) and "No space left" in plain(result)


@pytest.mark.parametrize(
    ("module", "extra"), [("xarray", "io"), ("sklearn.datasets", "examples")]
)
def test_what_is_not_installed_is_named(module, extra, inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    arguments = [] if extra == "examples" else ["--inputs", inputs / "x.csv"]
    arguments += ["--activation", "linear", *SMALL, "--save-times", 3]
    result = run("solve", *arguments, "--out", inputs / "v.nc")
    assert result.exit_code == 2
    assert f"covsde[{extra}]" in plain(result)


def test_without_typer_the_program_tells_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.setattr(covsde, "cli", None)  # and what it was afterwards
    for name in [*sys.modules]:
        if name.startswith("covsde.cli"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match=r"typer and rich.*covsde\[cli\]"):
        importlib.import_module("covsde.cli").app()
