"""Nobody outside `matrices/` knows how the entries of a matrix lie in memory.

Others ask a matrix for its `entries` row by row, for a dense array, or for a row vector,
which has one number a row: its shape is the layout's, so it is only moved elementwise.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [
    path
    for room in ("covsde", "benchmarks", "examples")
    for path in (ROOT / room).rglob("*.py")
    if path.parent.name != "matrices" and path.name != "crossover.py"  # it moves layouts
]
OF_LAYOUT = {"data", "packed", "paths_last", "row_axis"}
SIZES = {"PACKED_MAX", "ROWS_MAX"}
KINDS = {"Lower", "Square", "Symmetric", "Triangle"}
# methods that return row vectors, and what an array's axes are called
ROWS = {"diagonal", "nonzero_pivots", "per_row", "pivot_numbers", "squared_rows"}
AXES = {"axes", "axis", "axis1", "axis2"}


def leaks(tree: ast.AST) -> Iterator[str]:
    """What a module knows of the layout, with the lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in OF_LAYOUT:
                yield f"{node.lineno}: .{name}"
            case ast.Call(func=ast.Name(id=kind)) if kind in KINDS:
                yield f"{node.lineno}: {kind}(…), made of an array as it lies"
            case ast.ClassDef(bases=bases) if KINDS & {ast.unparse(b) for b in bases}:
                yield f"{node.lineno}: class {node.name}, which has such an array"
            case ast.ImportFrom(module=str(module)) if "matrices._" in module:
                yield f"{node.lineno}: from {module}"
            case ast.ImportFrom(names=names) if SIZES & {alias.name for alias in names}:
                yield f"{node.lineno}: where layouts meet"
            case ast.FunctionDef():
                yield from _of_rows(node)


def _of_rows(function: ast.FunctionDef) -> Iterator[str]:
    """Where a function takes a row vector apart, or reduces one along an axis."""
    has_rows = _row_vectors(function)
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=value) if has_rows(value):
                yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Assign(targets=[ast.Tuple()], value=ast.Call(args=[]) as value):
                if has_rows(value):
                    yield f"{node.lineno}: {ast.unparse(node)}"
            case ast.Call(args=args, keywords=keywords):
                along = AXES & {keyword.arg for keyword in keywords}
                if along and any(map(has_rows, args)):
                    yield f"{node.lineno}: {ast.unparse(node)}"


def _row_vectors(function: ast.FunctionDef) -> Callable[[ast.AST], bool]:
    """Whether an expression has row vectors in it, by their methods or their names."""

    def is_made(node: ast.AST) -> bool:
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=name)):
                return name in ROWS and ast.unparse(value) not in ("jnp", "np")
        return False

    names = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and any(map(is_made, ast.walk(node.value)))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return lambda expression: any(
        is_made(node) or (isinstance(node, ast.Name) and node.id in names)
        for node in ast.walk(expression)
    )


def test_only_matrices_knows_the_layout():
    known = {
        str(path.relative_to(ROOT)): found
        for path in MODULES
        if (found := set(leaks(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert not known


@pytest.mark.parametrize(
    "leak",
    [
        "Symmetric(2 * a * v.data**2, v.m)",
        "l11, l21, l22 = y.data",
        "class Pending(Lower): pass",
        "from covsde.matrices._layout import is_packed",
        "from covsde.matrices import PACKED_MAX",
        "rows = (-1, 1) if y.paths_last else (1, -1)",
        "def f(v):\n    return jnp.any(v.diagonal() ** 2 <= 1, axis=0)",
        "def f(v):\n    r = v.squared_rows()\n    return r - jnp.mean(r, axis=0)",
        "def f(v):\n    return v.diagonal()[0]",
        "def f(v):\n    one, other = v.diagonal()",
    ],
)
def test_what_a_leak_is(leak):
    assert list(leaks(ast.parse(leak)))


@pytest.mark.parametrize(
    "fine",
    [
        "def f(v):\n    return jnp.diagonal(v)[:, None] * np.moveaxis(v, 0, -1)",
        "def f(y):\n    l11, l21, l22 = y.entries()",
        "def f(v):\n    return v.scale(1 / jnp.sqrt(v.diagonal()))",
        "Lower.from_entries(entries, m)",
    ],
)
def test_what_none_is(fine):
    assert not list(leaks(ast.parse(fine)))
