"""The examples run as a reader runs them: as programs, in a folder of their own.

They share a process with one another, and what it has imported and compiled.
"""

import runpy
import sys
from pathlib import Path

import jax
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
# arguments, what is printed, and a file that is written
RUNS = {
    "digits.py": (
        ["--quick", "--out", "results"],
        "ShapedSmooth(tanh, a=1",
        "results/tanh/report.nc",
    ),
    "extensions.py": ([], "an architecture: 29 lines of code", None),
    "new_activation.py": ([], "n = 64", None),
    "quickstart.py": (["--out", "results"], "n = 64", "results/densities.png"),
}


@pytest.fixture
def settings_of_a_reader():
    """Those of JAX as they come, and what an example changes of them is forgotten."""
    with jax.numpy_rank_promotion("allow"):
        jax.config.update("jax_enable_x64", False)
        yield
        jax.config.update("jax_enable_x64", True)


def test_each_example_is_listed():
    assert {path.name for path in EXAMPLES.glob("*.py")} == RUNS.keys()


@pytest.mark.usefixtures("settings_of_a_reader")
@pytest.mark.parametrize("name", RUNS)
def test_example(name, tmp_path, monkeypatch, capsys):
    for module in ("sklearn", "h5netcdf", "matplotlib"):
        pytest.importorskip(module)
    arguments, words, file = RUNS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert words in capsys.readouterr().out
    assert file is None or (tmp_path / file).stat().st_size > 0
