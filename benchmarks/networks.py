"""Networks: the limit against finite networks with literal weights, as width grows.

`python -m benchmarks.networks` prints, for ρ and log V of a pair of inputs, the
Kolmogorov–Smirnov distance between the limit and literal-weight networks, its 5 % level,
and the bias expected at that width: the distance measured with many networks drawn by
the Gram-level sampler, which has the same law. A second table compares the two samplers.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import covsde
from covsde.observables import correlation, log_diagonal

WIDTHS = (64, 128, 256)
T = 0.5
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
ACTIVATIONS = {
    "ReLU(0, -3)": covsde.ShapedReLU(0.0, -3.0),
    "tanh, a = 0.6": covsde.ShapedSmooth(jnp.tanh, 0.6),
}


def observed(solution) -> dict[str, np.ndarray]:
    """ρ and log V of the first input at the final time."""
    v = solution.vs[:, -1]
    return {
        "ρ": np.asarray(correlation(v)[:, 0, 1]),
        "log V": np.asarray(log_diagonal(v)[:, 0]),
    }


def level(n: int, k: int, alpha: float = 0.05) -> float:
    """The two-sample distance exceeded with probability `alpha` if the laws are equal."""
    return float(scipy.stats.kstwobign.isf(alpha) * np.sqrt((n + k) / (n * k)))


def networks(limit, width, key, count, method):
    """Observables of finite networks."""
    return observed(
        covsde.oracles.sample(
            limit, V0, T, width=width, key=key, num_networks=count, method=method
        )
    )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4_000)
    parser.add_argument("--paths", type=int, default=200_000)
    parser.add_argument("--bias-networks", type=int, default=100_000)
    parser.add_argument("--sampler-networks", type=int, default=30_000)
    arguments = parser.parse_args()
    keys = iter(jax.random.split(jax.random.key(2), 64))
    bar = level(arguments.networks, arguments.paths)
    print(
        f"T = {T}, ρ0 = {float(V0[0, 1])}, {arguments.networks} literal networks against "
        f"{arguments.paths} paths of the limit; 5 % level {bar:.4f}"
    )
    print(f"{'activation':16}{'':8}{'width':>6}{'KS':>9}{'bias':>9}  within level + bias")
    for name, activation in ACTIVATIONS.items():
        limit = covsde.ShapedMLP(activation)
        solution = covsde.solve(
            limit, V0, T, key=next(keys), num_paths=arguments.paths, dt0=1 / 64
        )
        law = observed(solution)
        for width in WIDTHS:
            literal = networks(limit, width, next(keys), arguments.networks, "weights")
            many = networks(limit, width, next(keys), arguments.bias_networks, "gram")
            for observable, values in law.items():
                distance = scipy.stats.ks_2samp(literal[observable], values).statistic
                bias = scipy.stats.ks_2samp(many[observable], values).statistic
                within = "yes" if distance <= bar + bias else "NO"
                print(
                    f"{name:16}{observable:8}{width:6}{distance:9.4f}{bias:9.4f}  {within}",
                    flush=True,
                )
    count = arguments.sampler_networks
    print(
        f"\nthe two samplers at width 32, {count} networks each: "
        f"5 % level {level(count, count):.4f}"
    )
    for name, activation in ACTIVATIONS.items():
        limit = covsde.ShapedMLP(activation)
        literal = networks(limit, 32, next(keys), count, "weights")
        chain = networks(limit, 32, next(keys), count, "gram")
        for observable in literal:
            distance = scipy.stats.ks_2samp(
                literal[observable], chain[observable]
            ).statistic
            print(f"{name:16}{observable:8}{distance:9.4f}")


if __name__ == "__main__":
    main()
