"""Strong orders, with the Lévy areas of the noise and without.

`python -m benchmarks.strong_order` prints `E|ρ_T − ρ_T'|`, from a solution with four times
the most steps on the same Brownian paths, for two and four inputs.
"""

import argparse

import jax
import jax.numpy as jnp

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.convergence import study
from covsde.observables import correlation


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=4096)
    arguments = parser.parse_args()
    for m in (2, 4):
        found = study(
            ShapedMLP(ShapedReLU(0.0, -1.0)),
            [covsde.MagnusStrang(), covsde.PalindromicStrang(), covsde.GeodesicStrang()],
            0.7 * jnp.eye(m) + 0.3,
            0.5,
            lambda v: correlation(v)[:, -2, -1],
            key=jax.random.key(0),
            num_paths=arguments.paths,
            steps=(2, 4, 8, 16),
            strong=True,
        )
        print(f"m = {m}\n{found}\n", flush=True)


if __name__ == "__main__":
    main()
