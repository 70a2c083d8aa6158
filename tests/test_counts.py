"""What a step costs, counted in its program and not timed: it is the same everywhere."""

import functools
import re
from collections import Counter

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde.solve import plan, simulate

RELU = covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))
ARITHMETIC = {"add", "sub", "mul", "div", "sqrt", "integer_pow", "square", "log", "exp"}
PATHS = 64


def inner(eqn):
    """The programs that an equation runs; of a branch, the one taken."""
    if eqn.primitive.name == "cond":
        return [eqn.params["branches"][-1].jaxpr]
    if eqn.primitive.name == "while":  # of a step with one Brownian cell, never entered
        return []
    return [
        getattr(value, "jaxpr", value)
        for value in eqn.params.values()
        if hasattr(getattr(value, "jaxpr", value), "eqns")
    ]


def walk(jaxpr):
    """All equations of a program, once for each time that they are called."""
    for eqn in jaxpr.eqns:
        yield eqn
        for part in inner(eqn):
            yield from walk(part)


@functools.cache
def count(solver, m) -> Counter:
    """Per path and step: arithmetic, and numbers that some operations return."""
    run, _ = plan(
        RELU,
        0.7 * jnp.eye(m) + 0.3,
        0.5,
        key=jax.random.key(0),
        num_paths=PATHS,
        dt0=0.0625,
        solver=solver,
    )
    program = jax.make_jaxpr(lambda v0: simulate(run, PATHS)[0] + 0 * v0.sum())(run.v0)
    # the scan over the steps is the one that carries the paths
    scans = [e for e in walk(program.jaxpr) if e.primitive.name == "scan"]
    steps = next(e for e in scans if e.params["length"] == 8)
    counts = Counter()
    for eqn in walk(steps.params["jaxpr"].jaxpr):
        size = sum(np.prod(x.aval.shape) for x in eqn.outvars) / PATHS
        floating = jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)
        if floating and eqn.primitive.name in ARITHMETIC:
            counts["arithmetic"] += size
            counts[eqn.primitive.name] += size
        if eqn.primitive.name in ("jit", "pjit"):
            counts[eqn.params["name"]] += 1
            counts[eqn.params["name"], "returns"] += size
    return counts


def blocks(m):
    """Of random bits: each makes two of the m(m+1)/2 normals, by one radius."""
    return -(-(m * (m + 1) // 2) // 2)


@pytest.mark.parametrize(("m", "most"), [(2, 470), (4, 1_940), (8, 12_000)])
def test_the_default_step(m, most):
    counts = count(None, m)
    assert counts["_radius", "returns"] == blocks(m)
    assert counts["arithmetic"] <= most
    if m == 8:  # one factorisation of the noise, one of the drift's flow
        assert counts["_cholesky_column"] == 2 * m
        assert counts["_solved_row"] == m
        assert counts["_lower_of_product"] == 5


@pytest.mark.parametrize(("m", "most"), [(2, 265), (4, 900), (8, 4_600)])
def test_the_euler_step(m, most):
    counts = count(diffrax.Euler(), m)
    assert counts["_radius", "returns"] == blocks(m)
    assert counts["arithmetic"] <= most
    if m == 8:
        assert counts["_cholesky_column"] == m


@pytest.mark.parametrize("m", [4, 8])
def test_work_grows_like_the_cube_of_the_inputs(m):
    """Doubling the inputs takes at most about eight times the arithmetic of a step."""
    assert count(None, m)["arithmetic"] <= 9 * count(None, m // 2)["arithmetic"]


# of XLA's instructions, those that only name what is there
NAMES = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast"}
# as many kernels of a function does XLA on CPU run in turn, whatever they wait for
IN_TURN = 8


def functions(hlo: str) -> dict[str, list[tuple[str, str, list[str], list[str]]]]:
    """A compiled program's functions: each instruction's name, kind, operands, callees."""
    found = {}
    for name, body in re.findall(r"^(?:ENTRY )?%(\S+) .*?\{\n(.*?)^\}", hlo, re.M | re.S):
        found[name] = [
            (result, kind, re.findall(r"%([\w.\-]+)", operands), re.findall(_CALLEE, rest))
            for result, kind, operands, rest in re.findall(_INSTRUCTION, body, re.M)
        ]
    return found


_INSTRUCTION = r"^  (?:ROOT )?%(\S+) = .*? ([a-z\-]+)\((.*?)\)(?:,|$)(.*)$"
_CALLEE = r"(?:to_apply=|body=|branch_computations=\{|, )%([\w.\-]+)"


def runs_in_turn(instructions) -> bool:
    """Whether kernels are few, or each waits for the one before it."""
    waits, kernels = {}, []
    for name, kind, operands, _ in instructions:
        behind = set().union(*(waits.get(operand, set()) for operand in operands))
        if kind in NAMES:
            waits[name] = behind
            continue
        if kernels and kernels[-1] not in behind:
            return sum(kind not in NAMES for _, kind, _, _ in instructions) <= IN_TURN
        kernels.append(name)
        waits[name] = behind | {name}
    return True


@pytest.mark.parametrize("m", [2, 4, 8])
@pytest.mark.parametrize("solver", [None, diffrax.Euler()])
def test_no_kernel_of_a_step_waits_for_another_thread(m, solver):
    """Handing over such short kernels takes as long as they do."""
    v0, key = 0.7 * jnp.eye(m) + 0.3, jax.random.key(0)
    run, _ = plan(RELU, v0, 0.5, key=key, num_paths=PATHS, dt0=0.0625, solver=solver)
    program = jax.jit(lambda v0: simulate(run, PATHS)[0] + 0 * v0.sum())
    parts = functions(program.lower(run.v0).compile().as_text())
    todo = [c for part in parts.values() for i in part if i[1] == "while" for c in i[3]]
    assert todo
    seen = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [c for _, kind, _, cs in parts[name] if kind != "fusion" for c in cs]
    assert len(seen) > 10
    assert [name for name in seen if not runs_in_turn(parts[name])] == []
