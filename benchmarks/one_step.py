"""One layer of finite networks against the limit's drift and noise, entry by entry.

`python -m benchmarks.one_step` draws literal layers at a random V, and compares
`n E[V' − V]` and `n Cov V'`, extrapolated in 1/n from two widths, with `b` and Σ. It prints
for each limit the largest and the root mean square of the deviations in standard errors:
if the limit is right, about 3 and 1 for the number of entries that there are.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde import ShapedAttention, ShapedFeedForward, ShapedReLU, ShapedSmooth

RELU = ShapedReLU(1.0, -1.0)  # symmetric: its bias in the width is 1/n, not 1/√n
TANH = ShapedSmooth(jnp.tanh, 1.0)
SILU = ShapedSmooth(jax.nn.silu, 1.0, 0.6)

LIMITS = {
    "MLP, ReLU": covsde.ShapedMLP(RELU),
    "MLP, SiLU": covsde.ShapedMLP(SILU),
    "ResNet, ReLU, γ .7": covsde.ShapedResNet(RELU, 0.7),
    "ResNet, tanh, γ .9": covsde.ShapedResNet(TANH, 0.9),
    "attention, γ .8, τ₀ 1": ShapedAttention(0.8, 1.0),
    "attention, γ .5, τ₀ .4": ShapedAttention(0.5, 0.4),
    "attention, γ 1, τ₀ .7, 2 heads": ShapedAttention(1.0, 0.7, 2),
    "attention, γ .6, τ₀ .5, 4 heads, W^O": ShapedAttention(0.6, 0.5, 4, True),
    "feed-forward, ReLU, γ .8, n_h 4n": ShapedFeedForward(RELU, 0.8, 4.0),
    "transformer, ReLU, γ .7, τ₀ .8": covsde.ShapedTransformer(RELU, 0.7, 0.8),
    "transformer, SiLU, γ .6, τ₀ .6, own γ .9": covsde.ShapedTransformer(
        SILU, 0.6, 0.6, heads=2, output_projection=True, feed_forward_gamma=0.9
    ),
}


def random_covariance(m: int, seed: int) -> np.ndarray:
    """A covariance of m inputs, of no special form."""
    x = np.random.default_rng(seed).normal(size=(m, m + 3))
    return x @ x.T / (m + 3)


def moments(limit, v0, width: int, networks: int, method: str, key):
    """`n E[V' − V]` and `n Cov V'` of one layer, with their standard errors."""
    layer = covsde.oracles.sample(
        limit,
        v0,
        1 / width,
        width=width,
        key=key,
        num_networks=networks,
        method=method,
    )
    m = len(v0)
    rows, columns = np.tril_indices(m)
    moved = (np.asarray(layer.vs[:, 0]) - np.asarray(v0))[:, rows, columns]
    drift = width * moved.mean(axis=0)
    centred = moved - moved.mean(axis=0)
    products = width * centred[:, :, None] * centred[:, None, :]
    root = np.sqrt(networks)
    return (
        (drift, width * moved.std(axis=0) / root),
        (products.mean(axis=0), products.std(axis=0) / root),
    )


def deviations(limit, m: int, widths, networks: int, method: str, seed: int) -> np.ndarray:
    """Deviations of drift and noise from the limit, in standard errors."""
    v0 = jnp.asarray(random_covariance(m, seed))
    first, second = widths
    keys = jax.random.split(jax.random.key(seed))
    at_first = moments(limit, v0, first, networks, method, keys[0])
    at_second = moments(limit, v0, second, networks, method, keys[1])
    rows, columns = np.tril_indices(m)
    b = np.asarray(limit.drift(jnp.zeros(()), v0, None))[rows, columns]
    sigma = np.asarray(limit.diffusion.covariance(v0))
    sigma = sigma[rows, columns][:, rows, columns]
    z = []
    weight = second / (second - first)
    for expected, one, two in zip((b, sigma), at_first, at_second, strict=True):
        value = weight * two[0] + (1 - weight) * one[0]
        error = np.hypot(weight * two[1], (1 - weight) * one[1])
        z.append(((value - expected) / error)[np.isfinite(error) & (error > 0)].ravel())
    return np.concatenate(z)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--method", default="weights", choices=("weights", "gram"))
    parser.add_argument("--widths", type=int, nargs=2, default=(32, 64))
    parser.add_argument("--sizes", type=int, nargs="*", default=(2, 3, 4, 5))
    parser.add_argument("--limits", default="", help="only those whose name has this")
    arguments = parser.parse_args()
    print(f"{arguments.networks:,} layers each, widths {arguments.widths}")
    print(f"{'limit':42}{'m':>3}{'entries':>9}{'largest |z|':>13}{'rms z':>8}")
    everything = []
    chosen = {name: one for name, one in LIMITS.items() if arguments.limits in name}
    for name, limit in chosen.items():
        for m in arguments.sizes:
            z = deviations(
                limit, m, arguments.widths, arguments.networks, arguments.method, m
            )
            everything.append(z)
            largest, rms = np.abs(z).max(), np.sqrt(np.mean(z**2))
            print(f"{name:42}{m:3}{z.size:9}{largest:13.2f}{rms:8.2f}", flush=True)
    z = np.concatenate(everything)
    largest, rms = np.abs(z).max(), np.sqrt(np.mean(z**2))
    print(f"{'all':42}{'':3}{z.size:9}{largest:13.2f}{rms:8.2f}")


if __name__ == "__main__":
    main()
