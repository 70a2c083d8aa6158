"""Observed weak orders of the solvers, without Monte-Carlo noise.

    python -m benchmarks.weak_order [--out DIRECTORY]

Three tables: the whole error of two inputs under a shaped ReLU and of one input under
smooth activations (`_chain`), and what one step leaves of the equation for several inputs
under smooth activations (`_one_step`). Orders are slopes of log error against log step
with the regression's 95 % t-interval.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from covsde import (
    FactorEuler,
    GeodesicStrang,
    NinomiyaNinomiya,
    PalindromicStrang,
    ShapedAttention,
    ShapedMLP,
    ShapedReLU,
    ShapedSmooth,
    ShapedTransformer,
    WishartEuler,
)

from ._chain import Angle, Chain, Grid, Norm, exact_mean
from ._one_step import remainders

RHO0, T = 0.3, 1.0
STEPS = (2, 4, 8, 16, 32)
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


class Scheme(NamedTuple):
    """A solver, what ρ depends on among a step's normals, and the numerical resolution."""

    solver: object
    directions: np.ndarray
    # (nodes of the grid, spacing of the normals): the first is reported, and its
    # distance to the second is its numerical error
    resolutions: tuple[tuple[int, float], tuple[int, float]]


def _orthonormal(*rows: Sequence[float]) -> np.ndarray:
    rows = np.array(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ρ does not depend on the scale of V, so some normals drop out. Entries of a cell: 11, 21,
# 22; the palindrome's X and X' add up when m = 2.
_PALINDROME = _orthonormal((0, 1, 0, 0, 1, 0), (1, 0, -1, 1, 0, -1), (-1, 0, 1, 1, 0, -1))
SCHEMES = {
    "GeodesicStrang": Scheme(
        GeodesicStrang(),
        _orthonormal((0, 1, 0), (1, 0, -1)),
        ((64, 0.35), (48, 0.5)),
    ),
    "PalindromicStrang": Scheme(PalindromicStrang(), _PALINDROME, ((64, 0.45), (48, 0.6))),
    "WishartEuler": Scheme(WishartEuler(), np.eye(3), ((32, 0.8), (24, 1.1))),
    "FactorEuler": Scheme(FactorEuler(), np.eye(3), ((48, 0.5), (32, 0.7))),
}
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


class Order(NamedTuple):
    """A slope and the half-width of its 95 % interval."""

    slope: float
    margin: float

    def __str__(self):
        return f"{self.slope:.2f} ± {self.margin:.2f}"


def order(lengths: Sequence[float], errors: Sequence[float]) -> Order:
    """Regression of log |error| on log step."""
    fit = stats.linregress(np.log(lengths), np.log(np.abs(errors)))
    quantile = stats.t.ppf(0.975, len(lengths) - 2)
    return Order(float(fit.slope), float(quantile * fit.stderr))


class Errors(NamedTuple):
    """Errors of a mean for each number of steps, and how exactly they are known."""

    steps: tuple[int, ...]
    errors: np.ndarray
    numerical: np.ndarray

    def extrapolated(self) -> "Errors":
        """`(4 E_{h/2} − E_h)/3`, for steps that double; named by its coarse steps."""
        e = (4 * self.errors[1:] - self.errors[:-1]) / 3
        numerical = (4 * self.numerical[1:] + self.numerical[:-1]) / 3
        return Errors(self.steps[:-1], e, numerical)

    def order(self, first: int = 4) -> Order:
        """The order on `first` steps and more."""
        pairs = [(1 / n, e) for n, e in zip(self.steps, self.errors, strict=True)]
        return order(*zip(*[p for p in pairs if p[0] <= 1 / first], strict=True))


def relu_errors(name: str, steps=STEPS, resolutions=None) -> Errors:
    """Errors in `E ρ²`: two inputs, shaped ReLU (0, −1), `ρ_0 = .3`, `T = 1`."""
    scheme = SCHEMES[name]
    limit = ShapedMLP(ShapedReLU(0.0, -1.0))
    resolutions = scheme.resolutions if resolutions is None else resolutions
    return _errors(
        Angle(),
        limit,
        scheme.solver,
        scheme.directions,
        resolutions,
        lambda theta: np.cos(theta) ** 2,
        np.arccos(RHO0),
        steps,
    )


def smooth_errors(activation, solver, steps=STEPS, v0=0.5) -> Errors:
    """Errors in `E V/(1 + V)`: one input, smooth activation, `V_0 = .5`, `T = 1`.

    All that matters of the step's normals is their sum.
    """
    return _errors(
        Norm(),
        ShapedMLP(activation),
        solver,
        _orthonormal([1] * solver.cells_per_step),
        ((96, 0.25), (64, 0.35)),
        lambda x: x,
        v0 / (1 + v0),
        steps,
    )


def _errors(coordinate, limit, solver, directions, resolutions, f, start, steps):
    """Errors against the SDE itself."""
    exact = exact_mean(coordinate, limit, f, start, T)
    found = []
    for degree, spacing in resolutions:
        chain = Chain(Grid(coordinate, degree), limit, solver, directions, spacing)
        found.append([chain.mean(f, start, T, n) - exact for n in steps])
    fine, coarse = np.array(found)
    return Errors(tuple(steps), fine, np.abs(fine - coarse))


def _table(title: str, rows: dict[str, Errors], first: dict[str, int]) -> dict:
    print(f"\n{title}\n(in brackets: numerical error; order on the steps named)")
    out = {}
    for name, row in rows.items():
        least = first.get(name, 4)
        fitted = row.order(least)
        cells = [
            f"{n}: {e:+.3e} ({d:.0e})"
            for n, e, d in zip(row.steps, row.errors, row.numerical, strict=True)
        ]
        print(f"{name}\n  " + "  ".join(cells))
        print(f"  order {fitted} on n = {least} … {row.steps[-1]}", flush=True)
        out[name] = {
            "steps": list(row.steps),
            "errors": row.errors.tolist(),
            "numerical_errors": row.numerical.tolist(),
            "order": fitted.slope,
            "order_margin_95": fitted.margin,
            "order_from_steps": least,
        }
    return out


def relu_table() -> dict:
    """Two inputs under a shaped ReLU."""
    rows = {name: relu_errors(name) for name in SCHEMES if name != "PalindromicStrang"}
    palindromic = relu_errors("PalindromicStrang", (*STEPS, 64))
    rows["PalindromicStrang"] = palindromic
    rows["PalindromicStrang, extrapolated"] = palindromic.extrapolated()
    title = f"E ρ² of two inputs, shaped ReLU (0, −1), ρ_0 = {RHO0}, T = {T:g}"
    return _table(title, rows, {})


def smooth_table() -> dict:
    """One input under smooth activations."""
    rows = {
        f"{type(solver).__name__}, {name}": smooth_errors(activation, solver)
        for name, activation in SMOOTH.items()
        for solver in (GeodesicStrang(), PalindromicStrang())
    }
    return _table("E V/(1 + V) of one input, V_0 = 0.5, T = 1", rows, {})


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
        fitted = order(LENGTHS, left)
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
        "relu_two_inputs": relu_table(),
        "smooth_one_input": smooth_table(),
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
