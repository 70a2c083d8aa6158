"""Weak orders for more than two inputs, by simulation against exact laws.

    python -m benchmarks.orders [--paths N] [--out DIRECTORY]

Under a shaped ReLU every input is a log-normal by itself and any two of m inputs are a
pair by themselves, so `E log V^{aa}` and `E ρ²` are known for every m. The observables are
the means over all inputs and over all pairs, which start alike: that is less noisy than
one of them. Steps are long, so that errors stand out of the noise.
"""

import argparse
import dataclasses
import itertools
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
    PalindromicStrang,
    ShapedMLP,
    ShapedReLU,
    WishartEuler,
    laws,
)
from covsde.convergence import Study, study
from covsde.observables import Correlation, LogNorm, correlation, log_diagonal

LIMIT = ShapedMLP(ShapedReLU(0.0, -1.0))
RHO0, T = 0.3, 1.0
# Solvers of one order, and steps that they can take with eight inputs
SECOND = (PalindromicStrang(), GeodesicStrang()), (2, 4, 8)
FIRST = (WishartEuler(), FactorEuler()), (8, 16, 32)


def mean_square(v):
    """ρ² averaged over all pairs."""
    squares = correlation(v)[:, *np.triu_indices(v.shape[-1], 1)] ** 2
    return jnp.mean(squares, axis=1)


def mean_log_norm(v):
    """`log V^{aa}` averaged over all inputs."""
    return jnp.mean(log_diagonal(v), axis=1)


def exact_square(v0) -> float:
    """`E ρ²`."""
    law = laws.of(LIMIT, Correlation(0, 1), v0, T)
    return float(law.expectation(np.square))


def exact_log_norm(v0) -> float:
    """`E log V^{aa}`."""
    return float(laws.of(LIMIT, LogNorm(0), v0, T).mean)


OBSERVABLES = {
    "E ρ²": (mean_square, exact_square),
    "E log V^{aa}": (mean_log_norm, exact_log_norm),
}


def order_study(m: int, name: str, solvers, steps, num_paths: int) -> Study:
    """Of m inputs of norm 1, each two of them at the same correlation."""
    v0 = (1 - RHO0) * jnp.eye(m) + RHO0
    observable, exact = OBSERVABLES[name]
    return study(
        LIMIT,
        solvers,
        v0,
        T,
        observable,
        key=jax.random.key(0),
        steps=steps,
        num_paths=num_paths,
        exact=exact(v0),
    )


def as_json(found: Study) -> dict:
    """A study as plain lists and numbers."""
    return jax.tree.map(
        lambda x: x.tolist() if isinstance(x, np.ndarray) else x, dataclasses.asdict(found)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables, and writes them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=500_000)
    parser.add_argument("--out", type=Path, help="directory for orders.json")
    options = parser.parse_args(arguments)
    results = {}
    for m, name in itertools.product((4, 8), OBSERVABLES):
        # the errors of order 1 are large
        for (solvers, steps), share in ((SECOND, 1), (FIRST, 5)):
            begin = time.process_time()
            found = order_study(m, name, solvers, steps, options.paths // share)
            seconds = time.process_time() - begin
            print(f"{name}, m = {m}\n{found}\n{seconds:.0f} CPU-s\n", flush=True)
            results[f"{name}, m = {m}, from {steps[0]} steps"] = as_json(found)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "orders.json"
        path.write_text(json.dumps(results, indent=1))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
