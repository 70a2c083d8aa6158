"""The examples run as a reader runs them: as programs, in a folder of their own.

`examples/digits.py` is run by `tests/test_cli.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    "quickstart.py": (["--out", "results"], "n = 64", "results/densities.png"),
    "new_activation.py": ([], "n = 64", None),
    "extensions.py": ([], "an architecture: 29 lines of code", None),
}


def test_each_example_is_listed():
    found = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert found == {*EXAMPLES, "digits.py"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path):
    arguments, words, file = EXAMPLES[name]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert file is None or (tmp_path / file).stat().st_size > 0
