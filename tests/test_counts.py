"""What a step costs, counted in its program and not timed: it is the same everywhere."""

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
    return counts


def blocks(m):
    """Of random bits: each makes two of the m(m+1)/2 normals, by one logarithm."""
    return -(-(m * (m + 1) // 2) // 2)


@pytest.mark.parametrize(("m", "most"), [(2, 430), (4, 1_850), (8, 12_500)])
def test_the_default_step(m, most):
    counts = count(None, m)
    assert counts["log"] == blocks(m)
    assert counts["arithmetic"] <= most
    if m == 8:  # one factorisation of the noise, one of the drift's flow
        assert counts["_scaled_column"] == 2 * m
        assert counts["_solved_row"] == m
        assert counts["_lower_of_product"] == 5


@pytest.mark.parametrize(("m", "most"), [(2, 300), (4, 940), (8, 4_650)])
def test_the_euler_step(m, most):
    counts = count(diffrax.Euler(), m)
    assert counts["log"] == blocks(m)
    assert counts["arithmetic"] <= most
    if m == 8:
        assert counts["_scaled_column"] == m


@pytest.mark.parametrize("m", [4, 8])
def test_work_grows_like_the_cube_of_the_inputs(m):
    """Doubling the inputs takes at most about eight times the arithmetic of a step."""
    assert count(None, m)["arithmetic"] <= 9 * count(None, m // 2)["arithmetic"]
