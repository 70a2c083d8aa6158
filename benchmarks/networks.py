"""Networks: the limit against finite networks with literal weights, as width grows.

`python -m benchmarks.networks` prints, for ρ and log V of a pair of inputs, the
Kolmogorov–Smirnov distance between the limit and literal-weight networks, its 5 % level,
and the bias expected at that width: the distance measured with many networks drawn by
the Gram-level sampler, which has the same law. Where paths explode, both sides stop at
`tr V/m = 15`; laws are of those that did not, and the shares that did stand beside them.
A second table compares the two samplers.
"""

import argparse
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import covsde
from covsde import ShapedAttention, ShapedMLP, ShapedReLU, ShapedResNet, ShapedSmooth
from covsde.observables import correlation, log_diagonal

PAIR = jnp.array([[1.0, 0.3], [0.3, 1.0]])
TOKENS_2 = 0.7 * jnp.eye(2) + 0.3
TOKENS_3 = 0.7 * jnp.eye(3) + 0.3


class Case(NamedTuple):
    """A limit, where it starts and ends, and the widths to compare it at."""

    limit: covsde.AbstractLimit
    v0: jax.Array
    t1: float
    widths: tuple[int, ...] = (32, 64, 128)
    stop_above: float | None = None


CASES = {
    "MLP, ReLU(0, -3)": Case(ShapedMLP(ShapedReLU(0.0, -3.0)), PAIR, 0.5, (64, 128, 256)),
    "MLP, tanh, a .6": Case(
        ShapedMLP(ShapedSmooth(jnp.tanh, 0.6)), PAIR, 0.5, (64, 128, 256)
    ),
    "ResNet, ReLU(0, -3), γ .8": Case(
        ShapedResNet(ShapedReLU(0.0, -3.0), 0.8), PAIR, 0.5, (64, 128, 256)
    ),
    "ResNet, tanh, a .6, γ .8": Case(
        ShapedResNet(ShapedSmooth(jnp.tanh, 0.6), 0.8), PAIR, 0.5, (64, 128, 256)
    ),
    "attention, γ .8, τ₀ 1": Case(
        ShapedAttention(0.8, 1.0), TOKENS_3, 0.3, stop_above=15.0
    ),
    "attention, γ 1, τ₀ 1": Case(ShapedAttention(1.0, 1.0), TOKENS_2, 1.0, stop_above=15.0),
    "attention, γ .5, τ₀ .4": Case(
        ShapedAttention(0.5, 0.4), TOKENS_3, 0.5, stop_above=15.0
    ),
    "Transformer, γ .7, τ₀ .8": Case(
        covsde.ShapedTransformer(ShapedReLU(1.0, -1.0), 0.7, 0.8),
        TOKENS_3,
        0.5,
        stop_above=15.0,
    ),
}


def observed(solution) -> dict[str, np.ndarray]:
    """ρ and log V of the first input at the final time, of those that did not stop."""
    v = solution.vs[~jnp.isfinite(solution.stopped_at), -1]
    return {
        "ρ": np.asarray(correlation(v)[:, 0, 1]),
        "log V": np.asarray(log_diagonal(v)[:, 0]),
    }


def stopped(solution) -> float:
    """The share of paths or networks that stopped."""
    return float(jnp.mean(jnp.isfinite(solution.stopped_at)))


def level(n: int, k: int, alpha: float = 0.05) -> float:
    """The two-sample distance exceeded with probability `alpha` if the laws are equal."""
    return float(scipy.stats.kstwobign.isf(alpha) * np.sqrt((n + k) / (n * k)))


def networks(case: Case, width, key, count, method):
    """Finite networks."""
    return covsde.oracles.sample(
        case.limit,
        case.v0,
        case.t1,
        width=width,
        key=key,
        num_networks=count,
        method=method,
        stop_above=case.stop_above,
    )


def solve(case: Case, key, num_paths: int):
    """Paths of the limit; where it explodes, with short steps near the explosion."""
    explosive = case.stop_above is not None
    return covsde.solve(
        case.limit,
        case.v0,
        case.t1,
        key=key,
        num_paths=num_paths,
        dt0=1 / 256 if explosive else 1 / 64,
        stop_above=case.stop_above,
    )


def compare(name: str, case: Case, arguments, keys) -> None:
    """Prints the rows of one limit."""
    solution = solve(case, next(keys), arguments.paths)
    law, share = observed(solution), stopped(solution)
    for width in case.widths:
        literal = networks(case, width, next(keys), arguments.networks, "weights")
        many = networks(case, width, next(keys), arguments.bias_networks, "gram")
        first, second = observed(literal), observed(many)
        for observable, values in law.items():
            distance = scipy.stats.ks_2samp(first[observable], values).statistic
            bias = scipy.stats.ks_2samp(second[observable], values).statistic
            bar = level(len(first[observable]), len(values))
            within = "yes" if distance <= bar + bias else "NO"
            print(
                f"{name:28}{observable:8}{width:6}{distance:9.4f}{bar:9.4f}{bias:9.4f}"
                f"  {within:4}"
                f"{values.mean():9.4f} ± {values.std():.4f}"
                f"{second[observable].mean():9.4f} ± {second[observable].std():.4f}",
                flush=True,
            )
        if case.stop_above is not None:
            count = arguments.networks
            error = np.sqrt(share * (1 - share) / count)
            print(
                f"{name:28}stopped {width:6}{'':33}{share:9.4f} limit"
                f"{stopped(literal):9.4f} ± {error:.4f} literal{stopped(many):9.4f} many"
            )


def compare_samplers(count: int, keys) -> None:
    """Prints the distances of the two samplers."""
    print(
        f"\nthe two samplers at width 32, {count} networks each: "
        f"5 % level {level(count, count):.4f}"
    )
    for name in ("MLP, ReLU(0, -3)", "MLP, tanh, a .6"):
        literal = observed(networks(CASES[name], 32, next(keys), count, "weights"))
        chain = observed(networks(CASES[name], 32, next(keys), count, "gram"))
        for observable in literal:
            distance = scipy.stats.ks_2samp(
                literal[observable], chain[observable]
            ).statistic
            print(f"{name:28}{observable:8}{distance:9.4f}")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4_000)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--bias-networks", type=int, default=100_000)
    parser.add_argument("--sampler-networks", type=int, default=30_000)
    parser.add_argument("--cases", default="", help="only those whose name has this")
    arguments = parser.parse_args()
    keys = iter(jax.random.split(jax.random.key(2), 64))
    print(
        f"{arguments.networks} literal networks against {arguments.paths} paths of the "
        f"limit; bias by {arguments.bias_networks} networks; means ± deviations"
    )
    print(
        f"{'limit':36}{'width':>6}{'KS':>9}{'level':>9}{'bias':>9}  within level + bias"
        f"{'limit':>10}{'networks':>19}"
    )
    for name, case in CASES.items():
        if arguments.cases in name:
            compare(name, case, arguments, keys)
    if not arguments.cases:
        compare_samplers(arguments.sampler_networks, keys)


if __name__ == "__main__":
    main()
