"""Quick start: from inputs to correlations, and a check against finite networks.

    python examples/quickstart.py

prints both, and writes figures and data to out/quickstart/.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp

import covsde

jax.config.update("jax_enable_x64", True)  # float64 for the whole program

parser = argparse.ArgumentParser(description="From inputs to correlations.")
parser.add_argument("--out", type=Path, default=Path("out/quickstart"))
out = parser.parse_args().out

# Three inputs of dimension 100, one a row; the first two are correlated.
x = jax.random.normal(jax.random.key(0), (3, 100))
x = x.at[1].add(x[0])
v0 = covsde.gram(x)

# Which network: an MLP whose activation has slopes 1 and 1 - 1/√n.
limit = covsde.ShapedMLP(covsde.ShapedReLU(c_plus=0.0, c_minus=-1.0))

# The random covariances of infinitely deep and wide ones, up to depth/width = 0.5.
t1 = 0.5
times = jnp.linspace(0, t1, 5)
solution = covsde.solve(
    limit, v0, t1, key=jax.random.key(1), num_paths=10_000, saveat=times
)
rho = covsde.observables.correlation(solution.vs)[:, :, 0, 1]
print("correlation of inputs 0 and 1")
for t, values in zip(solution.ts, rho.T, strict=True):
    low, middle, high = jnp.quantile(values, jnp.array([0.05, 0.5, 0.95]))
    print(f"  t = {t:.3f}   median {middle:+.2f}   90 % in [{low:+.2f}, {high:+.2f}]")

# The same, of finite networks: as they widen, they approach the limit.
report = covsde.validate(
    limit,
    v0,
    t1,
    width=(16, 64),
    key=jax.random.key(2),
    num_networks=2_000,
    saveat=times,
)
print(f"\n{report}\n")
for path in (*report.figures(out), *report.save(out)):
    print(path)
