"""Explosions, levels and their times at the automatic step, against what is known.

`python -m benchmarks.explosion`: the shares of paths that have exploded, and that have
reached a level, by a time. Of two tokens under attention they are exact: their squared
distance follows an equation of its own. Of one input under a smooth activation, too. Of
more tokens they are compared with steps that are 64 times shorter, on other paths.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde import NinomiyaNinomiya, ShapedAttention, ShapedMLP, ShapedSmooth
from covsde.laws import OneInput, TwoTokens

# γ, τ₀, d₀, T, a level of d, and H where it is not 1
TOKENS = (
    (0.5, 0.5, 2.0, 1.0, 16.0),
    (0.5, 0.3, 2.0, 0.4, 16.0),
    (0.3, 0.1, 1.0, 0.5, 8.0),
    (0.3, 0.3, 1.6, 2.0, 8.0),
    (0.5, 0.1, 1.6, 0.05, 16.0),
    (0.6, 0.7, 3.0, 1.0, 16.0),
    (0.4, 0.2, 1.0, 1.0, 8.0),
    (0.65, 0.4, 2.0, 0.5, 16.0),
    (0.7, 1.0, 4.0, 1.0, 12.0),
)
# the same near γ² = H/2, beyond which nothing explodes
BORDER = (
    (0.67, 1.0, 4.0, 1.0, 12.0),
    (0.69, 1.0, 4.0, 1.0, 12.0),
    (0.69, 0.5, 2.0, 0.5, 16.0),
    (0.705, 1.0, 4.0, 1.0, 12.0),
    (0.705, 0.3, 4.0, 0.3, 40.0),
    (0.71, 1.0, 4.0, 1.0, 12.0),
    (0.75, 1.0, 4.0, 1.0, 12.0),
    (0.75, 0.5, 2.0, 4.0, 16.0),
    (0.95, 1.0, 4.0, 1.0, 12.0, 2),
    (0.99, 0.5, 4.0, 1.0, 16.0, 2),
)
# function, a, V₀, T, and a level of V
SMOOTH = (
    (jax.nn.silu, 0.5, 1.0, 2.0, 4.0),
    (jax.nn.silu, 0.5, 4.0, 0.5, 15.0),
    (jax.nn.softplus, 0.4, 1.5, 0.5, 15.0),
)
# more tokens: γ, τ₀, V₀ = s (1 − ρ) I + s ρ 11ᵀ, T, and a level of tr V/m
MORE = (
    (3, 0.5, 0.2, 2.0, -0.3, 0.5, 15.0),
    (3, 0.4, 0.3, 1.5, 0.3, 1.0, 8.0),
    (4, 0.5, 0.3, 2.0, 0.0, 0.5, 15.0),
    (4, 0.3, 0.2, 1.0, 0.0, 1.0, 8.0),
)


def shares(limit, v0, t1, level, num_paths: int, key, **how) -> list[float]:
    """Of paths that have exploded by a time; and, of a level, that have reached it."""
    found = []
    for stop_above in (None,) if level is None else (None, level):
        solved = covsde.solve(
            limit, v0, t1, key=key, num_paths=num_paths, stop_above=stop_above, **how
        )
        lost = solved.lost.mean()
        if lost:
            print(f"  {lost:.2%} of the paths were lost")
        found.append(float(np.mean(np.isfinite(solved.stopped_at)) - lost))
    return found


def tokens(case, num_paths: int, key):
    """Of two opposite tokens, for which `tr V/m = d/4`: simulated, and exact."""
    gamma, tau0, d0, t1, level, *heads = case
    limit = ShapedAttention(gamma, tau0, *heads)
    law = TwoTokens(limit)
    exact = 1 - law.survival_probability(d0, t1), law.reached_probability(d0, level, t1)
    opposite = d0 / 4 * jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    return shares(limit, opposite, t1, level / 4, num_paths, key), exact


def independent(case, num_paths: int, key):
    """Of two independent tokens, whose d is the same: explosions alone."""
    gamma, tau0, d0, t1, _, *heads = case
    limit = ShapedAttention(gamma, tau0, *heads)
    exact = 1 - TwoTokens(limit).survival_probability(d0, t1)
    found = shares(limit, d0 / 2 * jnp.eye(2), t1, None, num_paths, key)
    return found[:1], (exact,)


def smooth(case, num_paths: int, key):
    """Of one input under a smooth activation: simulated, and exact."""
    fn, a, v0, t1, level = case
    activation = ShapedSmooth(fn, a)
    law = OneInput(activation.stability_index)
    exact = 1 - law.survival_probability(v0, t1), law.reached_probability(v0, level, t1)
    limit = ShapedMLP(activation)
    return shares(limit, jnp.array([[v0]]), t1, level, num_paths, key), exact


def more(case, num_paths: int, key):
    """Of several tokens: at the automatic step, and by steps 64 times shorter."""
    m, gamma, tau0, size, rho, t1, level = case
    limit = ShapedAttention(gamma, tau0)
    v0 = size * ((1 - rho) * jnp.eye(m) + rho)
    coarse = shares(limit, v0, t1, level, num_paths, key)
    step = covsde.default_step(NinomiyaNinomiya(), limit, m, v0, t1)
    fine = shares(
        limit,
        v0,
        t1,
        level,
        num_paths,
        jax.random.fold_in(key, 1),
        dt0=step / 64,
        solver=NinomiyaNinomiya(most=1 / 8 / 64),
    )
    return coarse, fine


def rows(cases, compared, num_paths: int, sampled: bool):
    """Prints a row for each case; `sampled`: whether what it is held against is, too."""
    for number, case in enumerate(cases):
        began = time.perf_counter()
        found, known = compared(case, num_paths, jax.random.key(number))
        words = ", ".join(getattr(x, "__name__", str(x)) for x in case)
        line = f"{words:36}"
        for share, exact in zip(found, map(float, known), strict=True):
            error = np.sqrt(max(exact * (1 - exact), 1e-9) / num_paths * (1 + sampled))
            line += f"{share:9.4f}{exact:9.4f}{(share - exact) / error:7.2f}"
        print(f"{line}{time.perf_counter() - began:8.0f} s", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=20_000)
    parser.add_argument("--more", type=int, default=4_000, help="paths of more tokens")
    arguments = parser.parse_args()
    head = f"{'exploded':>9}{'known':>9}{'s.e.':>7}{'at level':>9}{'known':>9}{'s.e.':>7}"
    print(f"{arguments.paths:,} paths\n{'opposite tokens: γ, τ₀, d₀, T, level':36}{head}")
    rows(TOKENS, tokens, arguments.paths, sampled=False)
    rows(BORDER, tokens, arguments.paths, sampled=False)
    print("independent tokens: γ, τ₀, d₀, T, —")
    rows(BORDER, independent, arguments.paths, sampled=False)
    print(f"{'one input: function, a, V₀, T, level':36}{head}")
    rows(SMOOTH, smooth, arguments.paths, sampled=False)
    print(f"{arguments.more:,} paths\n{'m, γ, τ₀, s, ρ, T, level':36}{head}")
    rows(MORE, more, arguments.more, sampled=True)


if __name__ == "__main__":
    main()
