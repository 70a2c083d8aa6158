"""Explosion of two tokens under attention, against the scale function.

`python -m benchmarks.explosion`: of opposite tokens, `V = s [[1, −1], [−1, 1]]`, and
`d = 4 s` follows an equation of its own. The share of paths whose d reaches a level is
compared with its exact probability.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde.laws import TwoTokens

D0, LEVEL = 1.6, 1e6
CASES = ((0.5, 0.1), (0.5, 0.5), (0.5, 1.0), (0.6, 0.7), (0.3, 0.3))


def simulated(gamma, tau0, num_paths: int, dt0: float, key) -> float:
    """The share of paths whose d reaches the level, while others die out."""
    gain = gamma**2 * (2 - gamma**2)
    one = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    solved = covsde.solve(
        covsde.ShapedAttention(gamma, tau0),
        D0 / 4 * one,
        20 / gain,  # log d falls by Γ t: by then it is e^{-20}
        key=key,
        num_paths=num_paths,
        dt0=dt0,
        solver=covsde.NinomiyaNinomiya(most=1 / 16),
        stop_above=LEVEL,
    )
    return float(jnp.mean(jnp.isfinite(solved.stopped_at)))


def deviation(gamma, tau0, num_paths: int, dt0: float, key) -> tuple[float, float, float]:
    """The simulated and the exact probability, and their distance in standard errors."""
    # tr V/m = d/4 for opposite tokens
    tokens = TwoTokens(covsde.ShapedAttention(gamma, tau0))
    exact = float(tokens.hitting_probability(D0, 4 * LEVEL))
    share = simulated(gamma, tau0, num_paths, dt0, key)
    return share, exact, (share - exact) / np.sqrt(exact * (1 - exact) / num_paths)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=10_000)
    parser.add_argument("--dt0", type=float, default=1 / 64)
    arguments = parser.parse_args()
    print(f"{arguments.paths:,} paths, steps of {arguments.dt0:g}")
    print(f"{'γ':>5}{'τ₀':>6}{'simulated':>12}{'exact':>9}{'in s.e.':>9}")
    for number, (gamma, tau0) in enumerate(CASES):
        key = jax.random.key(number)
        share, exact, z = deviation(gamma, tau0, arguments.paths, arguments.dt0, key)
        print(f"{gamma:5}{tau0:6}{share:12.4f}{exact:9.4f}{z:9.2f}", flush=True)


if __name__ == "__main__":
    main()
