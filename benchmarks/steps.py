"""Whether the automatic step keeps the accuracy that it states, on 100 random problems.

`python -m benchmarks.steps` draws limits, numbers of inputs, starts and times, and prints
for each the weak errors of `default_step` in units of the stated accuracy, from steps that
are four times shorter, extrapolated, on the same Brownian path (`benchmarks._coupled`): of
all entries the worst, and the largest standard error of any. Then it counts the problems
that are within, and those that are not beyond doubt.

Where all norms are geometric Brownian motions, as under a shaped ReLU, `log V^{aa}` is a
sum of independent steps of one law, and its errors are those of one step.
"""

import argparse
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde import (
    AbstractLimit,
    Block,
    Identity,
    ShapedAttention,
    ShapedMLP,
    ShapedReLU,
    ShapedResNet,
    ShapedSmooth,
    ShapedTransformer,
)
from covsde.diffusions import CongruenceDiffusion
from covsde.drifts import AbstractDrift

from ._coupled import Error, errors

# What `default_step` states.
ACCURACY = {
    "E log V": 2e-3,
    "sd log V": 2e-3,
    "E ρ": 1e-3,
    "E ρ²": 1e-3,
    "E log det / m": 2e-3,
}
# How many problems of each kind, and their numbers of inputs in turn.
KINDS = {
    "ReLU": (24, (1, 2, 3, 5, 8)),
    "linear": (8, (2, 3, 5, 8)),
    "ReLU ResNet": (14, (2, 3, 5)),
    "saturating": (16, (1, 2, 4)),
    "growing": (10, (1, 2, 4)),
    "attention": (10, (2, 4)),
    "transformer": (6, (2, 4)),
    "block": (6, (2, 3)),
    "own drift": (6, (1, 2, 4)),
}
_PATHS = {1: 2**15, 2: 2**14, 3: 2**14, 4: 2**13, 5: 2**13, 8: 2**12}
# How often a problem is run at most until its noise is small.
_AGAIN = 8
_SMOOTH = {
    "saturating": (jnp.tanh, jax.scipy.special.erf),
    "growing": (jax.nn.silu, jax.nn.softplus, jax.nn.gelu),
}


class Random(NamedTuple):
    """A problem that was drawn."""

    kind: str
    limit: AbstractLimit
    v0: np.ndarray
    t1: float


class Polynomial(eqx.Module):
    """What a limit sees of an activation, as parameters: one program for all of them."""

    phi2: jax.Array
    phi3: jax.Array

    def __call__(self, x):
        """`x + φ₂ x²/2 + φ₃ x³/6`."""
        return x + self.phi2 * x**2 / 2 + self.phi3 * x**3 / 6


class Pull(AbstractDrift):
    """`b = k (c I − V)`: a drift of one's own, which gives no rate."""

    strength: jax.Array
    target: jax.Array

    def __call__(self, t, v, args):
        """The drift of one matrix."""
        return self.strength * (self.target * jnp.eye(v.shape[-1], dtype=v.dtype) - v)


class Pulled(AbstractLimit):
    """A linear network under it."""

    drift: Pull  # pyright: ignore[reportIncompatibleVariableOverride]
    diffusion: CongruenceDiffusion  # pyright: ignore[reportIncompatibleVariableOverride]


def problems(seed: int = 0) -> list[Random]:
    """The problems of a seed."""
    rng = np.random.default_rng(seed)
    return [
        _drawn(kind, sizes[i % len(sizes)], rng)
        for kind, (count, sizes) in KINDS.items()
        for i in range(count)
    ]


def _drawn(kind: str, m: int, rng: np.random.Generator) -> Random:
    relu = ShapedReLU(*rng.uniform(-1.5, 1.5, 2))
    gamma, tau0, longest, spread = rng.uniform(0.2, 1.0), rng.uniform(0.8, 2), 2.0, 0.5
    if kind in ("ReLU", "linear"):
        limit, spread = ShapedMLP(relu if kind == "ReLU" else Identity()), 0.8
    elif kind == "ReLU ResNet":
        limit, spread = ShapedResNet(relu, gamma), 0.8
    elif kind == "saturating":
        limit = ShapedMLP(_smooth(kind, rng.uniform(0.5, 2), rng))
    elif kind == "growing":  # away from explosion
        limit, longest = ShapedResNet(_smooth(kind, rng.uniform(1.5, 4), rng), gamma), 0.7
    elif kind == "attention":
        limit, longest = ShapedAttention(gamma / 2, tau0), 1.0
    elif kind == "transformer":
        limit, longest = ShapedTransformer(relu, gamma / 2, tau0), 1.0
    elif kind == "block":
        tanh = _smooth("saturating", rng.uniform(0.8, 2), rng)
        limit = Block(ShapedMLP(tanh), ShapedResNet(relu, gamma))
    else:
        pull = Pull(jnp.asarray(rng.uniform(0.2, 4)), jnp.asarray(rng.uniform(0, 2)))
        limit = Pulled(pull, CongruenceDiffusion(gamma))
    t1 = 10 ** rng.uniform(-1, np.log10(longest))
    return Random(kind, limit, _start(m, spread, rng), t1)


def _smooth(kind: str, a: float, rng: np.random.Generator) -> ShapedSmooth:
    fn = _SMOOTH[kind][rng.integers(len(_SMOOTH[kind]))]
    phi2, phi3 = ShapedSmooth(fn, 1.0).derivatives
    return ShapedSmooth(Polynomial(phi2, phi3), a)


def _start(m: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """A correlation matrix, mixed with equal inputs up to 1 − ρ of 1 %, and variances."""
    x = rng.normal(size=(m, m + 2))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    gap = 10 ** rng.uniform(-2, 0)
    scales = np.exp(spread * rng.normal(size=m) / 2)
    return (gap * x @ x.T + (1 - gap)) * np.outer(scales, scales)


def of_default_step(
    problem: Random, num_paths: int | None = None, seed: int = 0
) -> tuple[dict[str, Error], float, float]:
    """Errors of the automatic step, the steps of a path, and the step."""
    limit, v0, t1 = problem.limit, problem.v0, problem.t1
    m, key = v0.shape[-1], jax.random.key(seed)
    solver = covsde.default_solver(limit)
    dt0 = covsde.default_step(solver, limit, m, jnp.asarray(v0), t1)
    num_paths = _PATHS[m] if num_paths is None else num_paths
    found, steps = errors(limit, v0, t1, dt0, key=key, num_paths=num_paths)
    growth = limit.drift.growth
    if growth is not None and float(growth) == 0 and limit.diffusion.is_congruence:
        one, _ = errors(limit, v0, t1 / steps, dt0, key=key, num_paths=num_paths)
        for name, factor in (("E log V", steps), ("sd log V", steps**0.5)):
            found[name] = Error(*(factor * x for x in one[name]))
    return found, steps, dt0


def _resolved(problem: Random, seed: int) -> tuple[dict[str, Error], float, float]:
    """`of_default_step`, of more paths where the noise is above half of an accuracy."""
    found, steps, dt0 = of_default_step(problem, seed=seed)
    runs = [found]
    while len(runs) < _AGAIN and _noise(found) > 0.5:
        runs.append(of_default_step(problem, seed=seed + 1000 * len(runs))[0])
        found = {name: _combined([run[name] for run in runs]) for name in found}
    return found, steps, dt0


def _noise(found: dict[str, Error]) -> float:
    return max(of.standard_error.max() / ACCURACY[name] for name, of in found.items())


def _combined(runs: list[Error]) -> Error:
    return Error(
        np.mean([one.error for one in runs], axis=0),
        np.sqrt(np.sum([one.standard_error**2 for one in runs], axis=0)) / len(runs),
    )


def _in_units(found: dict[str, Error]) -> dict[str, tuple[float, float, float]]:
    """Of each mean the worst error and the largest standard error, and what is certain."""
    return {
        name: (
            float(np.max(np.abs(of.error)) / ACCURACY[name]),
            float(np.max(of.standard_error) / ACCURACY[name]),
            float(np.max(np.abs(of.error) - 2 * of.standard_error) / ACCURACY[name]),
        )
        for name, of in found.items()
    }


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="which problems")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="only these")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print("errors in units of " + ", ".join(f"{n}: {a:g}" for n, a in ACCURACY.items()))
    print(f"{'':12}{'m':>2}{'T':>6}{'step':>8}{'steps':>7}", end="")
    print("".join(f"{name:>16}" for name in ACCURACY), flush=True)
    begin, rows, work = time.perf_counter(), [], 0.0
    for number, one in enumerate(problems(arguments.seed)):
        if one.kind not in arguments.kinds:
            continue
        found, steps, dt0 = _resolved(one, number)
        row = _in_units(found)
        rows.append(row)
        work += steps
        print(f"{one.kind:12}{len(one.v0):2}{one.t1:6.2f}{dt0:8.4f}{steps:7.1f}", end="")
        cells = (row.get(name) for name in ACCURACY)
        print(
            "".join(f"{f'{c[0]:.2f} ± {c[1]:.2f}' if c else '':>16}" for c in cells),
            flush=True,
        )
    within = sum(all(e <= 1 for e, _, _ in row.values()) for row in rows)
    beyond = sum(any(c > 1 for _, _, c in row.values()) for row in rows)
    for name in ACCURACY:
        of = [row[name] for row in rows if name in row]
        print(
            f"{name}: within on {sum(e <= 1 for e, _, _ in of)} of {len(of)}, beyond by "
            f"two standard errors on {sum(c > 1 for _, _, c in of)}, median error "
            f"{np.median([e for e, _, _ in of]):.2f}"
        )
    print(
        f"all of them: within on {within} of {len(rows)}, beyond by two standard errors on "
        f"{beyond}; {work:.0f} steps of a path in all, {time.perf_counter() - begin:.0f} s"
    )


if __name__ == "__main__":
    main()
