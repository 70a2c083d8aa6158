"""Observed weak orders of the solvers, without Monte-Carlo noise.

    python -m benchmarks.weak_order [--out DIRECTORY]

The whole error of two inputs under a shaped ReLU and of one input under smooth
activations (`covsde.convergence.study` by quadrature), and what one step leaves of the
equation for several inputs under smooth activations (`_one_step`), with 95 % intervals of
the orders.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from covsde import (
    FactorEuler,
    GeodesicStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    ProjectedEuler,
    ShapedAttention,
    ShapedMLP,
    ShapedReLU,
    ShapedSmooth,
    ShapedTransformer,
    WishartEuler,
)
from covsde.convergence import Errors, Extrapolated, Order, Study, study
from covsde.convergence._order import numerical_errors
from covsde.observables import correlation

from ._one_step import remainders

RHO0, T = 0.3, 1.0
STEPS = (2, 4, 8, 16)
# Start of the one-step table: its leading m×m block.
V0 = np.array(
    [
        [1.2, 0.3, -0.2, 0.4],
        [0.3, 0.8, 0.1, 0.2],
        [-0.2, 0.1, 1.0, 0.3],
        [0.4, 0.2, 0.3, 1.1],
    ]
)
LENGTHS = tuple(2.0**-k for k in range(6, 12))


SOLVERS = (
    ProjectedEuler(),
    WishartEuler(),
    FactorEuler(),
    PalindromicStrang(),
    GeodesicStrang(),
    Extrapolated(PalindromicStrang(drift_order=4)),
)
SMOOTH = {
    "tanh, a = 1.2": ShapedSmooth(jnp.tanh, a=1.2),
    "SiLU, a = 1, about 0.8": ShapedSmooth(jax.nn.silu, a=1.0, center=0.8),
}

SOFTMAX = {
    "attention, γ 1, τ₀ 1": ShapedAttention(1.0, 1.0),
    "attention, γ .6, τ₀ .7, 2 heads, W^O": ShapedAttention(0.6, 0.7, 2, True),
    "transformer, SiLU about .8, γ .7, τ₀ .8": ShapedTransformer(
        ShapedSmooth(jax.nn.silu, 1.0, 0.8), 0.7, 0.8
    ),
}


def relu_study(solvers=SOLVERS, steps=STEPS) -> Study:
    """Errors in `E ρ²`: two inputs, shaped ReLU (0, −1), `ρ_0 = .3`, `T = 1`."""
    return study(
        ShapedMLP(ShapedReLU(0.0, -1.0)),
        solvers,
        jnp.array([[1.0, RHO0], [RHO0, 1.0]]),
        T,
        lambda v: correlation(v)[:, 0, 1] ** 2,
        steps=steps,
        quadrature=True,
    )


def smooth_study(activation, solvers, steps=(4, 8, 16, 32), v0=0.5) -> Study:
    """Errors in `E V/(1 + V)`: one input, smooth activation, `V_0 = .5`, `T = 1`."""
    return study(
        ShapedMLP(activation),
        solvers,
        jnp.array([[v0]]),
        T,
        lambda v: v[:, 0, 0] / (1 + v[:, 0, 0]),
        steps=steps,
        quadrature=True,
    )


def one_step_order(left: np.ndarray) -> Order:
    """The power of `h` that one step leaves."""
    steps = tuple(round(1 / h) for h in LENGTHS)
    return numerical_errors("", steps, 1.0, left, np.zeros(len(steps)), 0.95).order


def _row(errors: Errors) -> dict:
    return {
        "solver": errors.solver,
        "steps": list(errors.steps),
        "errors": errors.errors.tolist(),
        "numerical_errors": errors.standard_errors.tolist(),
        "order": errors.order.slope,
        "order_margin_95": errors.order.margin,
    }


def relu_tables() -> list[dict]:
    """Two inputs under a shaped ReLU: with few steps, and with more for the order."""
    print(f"E ρ² of two inputs, ρ_0 = {RHO0}", flush=True)
    studies = relu_study(), relu_study(SOLVERS[1:], (4, 8, 16, 32))
    for one in studies:
        print(f"{one}\n", flush=True)
    return [_row(row) for one in studies for row in one.rows]


def smooth_tables() -> dict[str, list[dict]]:
    """One input under smooth activations."""
    out = {}
    for name, activation in SMOOTH.items():
        found = smooth_study(activation, [GeodesicStrang(), PalindromicStrang()])
        print(f"E V/(1 + V) of one input, V_0 = 0.5, {name}\n{found}\n", flush=True)
        out[name] = [_row(row) for row in found.rows]
    return out


def one_step_table() -> dict:
    """Several inputs under smooth activations, and tokens under attention."""
    solvers = [
        (GeodesicStrang(), 2, 5),
        (GeodesicStrang(), 3, 3),
        (GeodesicStrang(), 4, 3),
        (PalindromicStrang(), 2, 5),
        (PalindromicStrang(), 3, 3),
        (WishartEuler(), 2, 5),
        (FactorEuler(), 2, 5),
    ]
    cases = [
        (solver, m, nodes, label, ShapedMLP(activation))
        for solver, m, nodes in solvers
        for label, activation in SMOOTH.items()
    ]
    cases += [
        (NinomiyaNinomiya(), m, 0, label, limit)
        for label, limit in SOFTMAX.items()
        for m in (2, 3, 4)
    ]
    print(
        "\nOne step of length h: what is left after h² of the norm and correlation of the "
        "last inputs\n(slope 3 is weak order 2; on all the h shown)"
    )
    out = {}
    for solver, m, nodes, label, limit in cases:
        name = f"{type(solver).__name__}, m = {m}, {label}"
        left = remainders(limit, solver, jnp.asarray(V0[:m, :m]), LENGTHS, nodes)
        fitted = one_step_order(left)
        cells = "  ".join(
            f"1/{1 / h:.0f}: {e:.2e}" for h, e in zip(LENGTHS, left, strict=True)
        )
        print(f"{name}\n  {cells}\n  slope {fitted}", flush=True)
        out[name] = {
            "lengths": list(LENGTHS),
            "left": left.tolist(),
            "slope": fitted.slope,
            "slope_margin_95": fitted.margin,
        }
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables, and writes them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="directory for weak_order.json")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    results = {
        "relu_two_inputs": relu_tables(),
        "smooth_one_input": smooth_tables(),
        "one_step": one_step_table(),
    }
    results["seconds"] = time.perf_counter() - begin
    print(f"\n{results['seconds']:.0f} s")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "weak_order.json"
        path.write_text(json.dumps(results, indent=1))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
