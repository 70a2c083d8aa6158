"""Unshaped networks against their laws, as width grows.

`python -m benchmarks.unshaped` prints:

- `u = 1/(n √(1−ρ))` of ReLU networks against the process of `UnshapedMLP`: the bias of the
  mean and the Kolmogorov–Smirnov distance, which fall like `log n/n`;
- log-Gaussian ResNets: mean, variance and the deficit of active units, in standard errors;
- the angle chain: the largest deviation of mean and variance over the layers.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import covsde
from covsde.laws import AngleProcess, LogGaussianResNet
from covsde.oracles.relu_pair import sample_relu_pairs
from covsde.oracles.relu_resnet import sample_relu_resnets
from covsde.oracles.unshaped import sample_unshaped

KEY = jax.random.key(0)
TIMES = (0.25, 0.5)
WIDTHS = (100, 200, 400, 800)


def mean_and_error(x) -> tuple[float, float]:
    """Of a sample."""
    return float(np.mean(x)), float(np.std(x, ddof=1) / np.sqrt(len(x)))


def network_u(limit, width: int, u0: float | None, num_networks: int) -> np.ndarray:
    """`u` of networks, `(num_networks, times)`; u0 None starts at ρ₀ = 0."""
    rho0 = 0.0 if u0 is None else limit.correlation(u0, width)
    networks = sample_unshaped(
        limit,
        rho0,
        TIMES[-1],
        width=width,
        key=KEY,
        num_networks=num_networks,
        saveat=jnp.asarray(TIMES),
    )
    return np.asarray(networks.us)


def print_u(num_networks: int) -> None:
    """The trend in the width."""
    limit = covsde.UnshapedMLP()
    times = jnp.asarray(TIMES)
    print(f"{'u₀':>5}{'t':>6}{'n':>6}{'E u':>9}{'networks':>20}{'bias':>8}{'KS':>9}")
    for u0 in (None, 0.1):
        start = 0.0 if u0 is None else u0
        law = np.asarray(
            limit.solve(
                TIMES[-1], key=KEY, num_paths=100_000, u0=start, saveat=times, dt0=1 / 256
            ).us
        )
        networks = {n: network_u(limit, n, u0, num_networks) for n in WIDTHS}
        for i, t in enumerate(TIMES):
            exact = float(limit.mean(t, start))
            for width, us in networks.items():
                mean, error = mean_and_error(us[:, i])
                ks = scipy.stats.ks_2samp(us[:, i], law[:, i]).statistic
                print(
                    f"{start:5}{t:6}{width:6}{exact:9.4f}{mean:11.4f} ± {error:.4f}"
                    f"{mean / exact - 1:8.1%}{ks:9.4f}",
                    flush=True,
                )


def print_log_gaussian(num_networks: int) -> None:
    """Mean, variance and deficit of ReLU ResNets of depth = width, α² = .9."""
    print(f"\n{'ReLU ResNet':14}{'n':>5}{'law':>10}{'networks':>19}{'in s.e.':>9}")
    for balanced in (False, True):
        print("balanced" if balanced else "plain")
        for n in (50, 100, 200):
            law = LogGaussianResNet(n, n, 0.9, balanced=balanced)
            networks = sample_relu_resnets(
                0.9, width=n, depth=n, key=KEY, num_networks=num_networks, balanced=balanced
            )
            r = np.asarray(networks.log_growth[:, -1])
            share = np.asarray(networks.active_share).mean(axis=1) - 0.5
            rows = {
                "mean": (law.mean, r),
                "variance": (law.variance, (r - r.mean()) ** 2),
                "n · deficit": (n * jnp.mean(law.active_share - 0.5), n * share),
            }
            for name, (expected, sample) in rows.items():
                mean, error = mean_and_error(sample)
                print(
                    f"{name:14}{n:5}{float(expected):10.4f}"
                    f"{mean:10.4f} ± {error:.4f}{(mean - float(expected)) / error:9.2f}",
                    flush=True,
                )


def print_angles(num_networks: int) -> None:
    """Mean and variance of `log sin²θ_l` over 50 layers, from θ₀ = 1.2."""
    print(f"\n{'angle chain':14}{'n':>5}{'largest |z|: mean':>20}{'variance':>10}")
    for n in (100, 200, 400):
        chain = AngleProcess([n] * 50).sample(1.2, key=KEY, num_paths=num_networks)
        pairs = sample_relu_pairs(
            1.2, [n] * 50, key=jax.random.key(1), num_networks=num_networks
        )
        ys = [2 * np.log(np.sin(np.asarray(x)[:, 1:])) for x in (chain, pairs.theta)]
        z = []
        for of in (lambda y: y, lambda y: (y - y.mean(axis=0)) ** 2):
            first, second = (of(y) for y in ys)
            error = np.hypot(first.std(axis=0), second.std(axis=0)) / np.sqrt(len(first))
            gap = np.abs(first.mean(axis=0) - second.mean(axis=0)) / error
            z.append(float(gap.max()))
        print(f"{'':14}{n:5}{z[0]:20.2f}{z[1]:10.2f}", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=10_000)
    arguments = parser.parse_args()
    print_u(arguments.networks)
    print_log_gaussian(arguments.networks)
    print_angles(arguments.networks)


if __name__ == "__main__":
    main()
