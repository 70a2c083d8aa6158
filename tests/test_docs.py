"""The documentation is true: its code runs, its commands parse, its pointers point."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import jax
import pytest
import typer

import covsde
from covsde.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def blocks(page: Path, language: str):
    """The first line (from 0) and the text of each fenced block of a language."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(
        rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    ):
        yield text.count("\n", 0, match.start(1)), match[1]


PROGRAMS = [page for page in PAGES if any(blocks(page, "python"))]
# run for longer than compiling them quickly saves
LONG = {"attention", "log_gaussian", "mlp", "unshaped"}


@pytest.mark.parametrize("page", PROGRAMS, ids=[str(p.relative_to(ROOT)) for p in PROGRAMS])
def test_code_runs(page, tmp_path, monkeypatch, request):
    """Each page is a program, run from top to bottom in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    if page.stem in LONG:
        request.getfixturevalue("optimised")
    namespace = {"__name__": page.stem}
    with jax.numpy_rank_promotion("allow"):  # as for its readers
        for line, text in blocks(page, "python"):
            exec(compile("\n" * line + text, str(page), "exec"), namespace)


def test_most_pages_have_code():
    assert {page.stem for page in PROGRAMS} >= {
        "README",
        "activations",
        "index",
        "mlp",
        "solvers",
    }


# Commands


def commands(page: Path):
    for _, text in blocks(page, "sh"):
        for line in text.splitlines():
            yield shlex.split(line, comments=True)


@every_page
def test_commands_exist(page):
    """Options are parsed by the program; targets, modules and files exist."""
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands(page):
        match command:
            case []:
                pass
            case ["make", target]:
                assert target in targets
            case ["covsde", *arguments]:
                parse(arguments)
            case ["python", "-m", module, *_]:
                path = ROOT / module.replace(".", "/")
                assert path.with_suffix(".py").exists() or path.is_dir()
            case ["python", script, *_]:
                assert (ROOT / script).exists()
            case ["pip", "install", package]:
                assert re.fullmatch(r"\.(\[[a-z,]+\])?", package)
            case _:
                raise AssertionError(f"{page}: who checks {' '.join(command)!r}?")


def parse(arguments):
    """Parses a command line of covsde without running it."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    command = group.commands[name]
    return command.make_context(name, list(rest)).params


def test_commands_are_really_parsed():
    assert parse(["solve", "--t1", "2"])["t1"] == 2.0
    with pytest.raises(Exception, match="No such option"):
        parse(["solve", "--no-such-option"])


# Pointers


@every_page
def test_pointers_point(page):
    """Every test, benchmark and example that is named exists."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\b((?:tests|benchmarks|examples)/\w+\.py)(?:::(\w+))?", text)
    for path, function in named:
        assert (ROOT / path).exists(), f"{page.name} names {path}"
        if function:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {function}(" in source, f"{page.name} names {path}::{function}"


def test_every_public_name_is_in_the_reference():
    listed = re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    for name in covsde.__all__:
        public = getattr(covsde, name)
        if not hasattr(public, "__path__") and hasattr(public, "__module__"):
            assert any(entry.split(".")[-1] == name for entry in listed), name
    for module in (covsde.oracles, covsde.solvers, covsde.activations, covsde.laws):
        for name in module.__all__:
            if inspect.ismodule(getattr(module, name)):
                continue
            assert any(entry.split(".")[-1] == name for entry in listed), name


def test_the_activation_on_the_page_is_that_of_the_example():
    (example,) = re.findall(
        r"^    def shaped.*?(?=^\n\n|^def |\Z)",
        (ROOT / "examples/new_activation.py").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert example.strip() in (DOCS / "activations.md").read_text()


# The floors of the house


def floors() -> dict[str, int]:
    """The table of `docs/design.md`: the floor of each module."""
    rows = re.findall(
        r"^\| (\d+) \| ([^|]+) \|", (DOCS / "design.md").read_text(), re.MULTILINE
    )
    return {
        name.rstrip("/"): int(floor)
        for floor, names in rows
        for name in re.findall(r"`([\w/]+)`", names)
    }


def test_every_module_has_a_floor():
    package = ROOT / "covsde"
    modules = {p.stem for p in package.glob("*.py")} | {
        p.parent.name for p in package.glob("*/__init__.py")
    }
    assert modules - {"__init__"} == set(floors())


def test_imports_go_down():
    package = ROOT / "covsde"
    floor = floors()
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        here = parts[0]
        if here == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.level != len(parts):
                continue  # not an import from another module of the package
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                there = name.split(".")[0]
                if there in floor:  # else a name that the package itself defines
                    assert floor[there] < floor[here], f"{path} imports {there}"


def test_rooms_are_entered_by_their_doors():
    """Nothing private of another room is imported."""
    package = ROOT / "covsde"
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.level != len(parts):
                continue  # not an import from another module of the package
            room, *inside = (node.module or "").split(".")
            if (package / room).is_dir() and room:
                names = [*inside, *(alias.name for alias in node.names)]
                private = [name for name in names if name.startswith("_")]
                assert not private, f"{path} imports {private} of {room}"
