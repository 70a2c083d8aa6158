"""Every law of the limits against an independent computation, and against simulations.

    python -m benchmarks.laws [--paths N] [--out DIRECTORY]

A row holds a mean under a law: as `covsde.laws` has it, how far apart another deterministic
method is, and as independent paths have it, of a solver with steps so short that its bias
is far below the standard error, or of an exact sampler. `z` is the distance of the last to
the first, in standard errors. The spectrum is a limit of many inputs; its rows are of as
many as stand there, whose exact moments differ from the law's by the bias that is printed.
"""

import argparse
import functools
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy import special, stats
from scipy.integrate import quad

import covsde
from covsde import Identity, ShapedAttention, ShapedMLP, ShapedReLU, ShapedSmooth, laws
from covsde.convergence._coordinates import Angle, exact_mean
from covsde.observables import correlation

from ._monomials import ito_moment, layers_moment

LINEAR = ShapedMLP(Identity())
RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
TANH = ShapedMLP(ShapedSmooth(jnp.tanh, a=0.8))
TOKENS = ShapedAttention(0.5, 0.5)
V0 = np.array([[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]])
CORRELATED = np.array([[1.0, 0.9, -0.4], [0.9, 1.0, -0.1], [-0.4, -0.1, 1.0]])
FOUR = [(0, 1), (1, 2), (0, 0), (0, 2)]
EARLY, HALF, NORM_T, LATE = 0.1, 0.5, 0.8, 6.0
NORM0, KAPPA, D0 = 1.5, 3.0, 1.6
WIDTH, DEPTH = 12, 3
INPUTS, TAU = 32, 1.0
_CHUNK = 2**15


class Row(NamedTuple):
    """A mean: exact, by another method if there is one, and of what a sampler returns."""

    law: str
    statistic: str
    exact: float
    independent: float | None
    sample: Callable[[np.ndarray], np.ndarray]


class Sampler(NamedTuple):
    """How paths are drawn, how many for each that was asked for, and the rows from them."""

    title: str
    draw: Callable  # (key, num) -> array, paths first
    share: float
    rows: list[Row]


def from_finite_networks(mean: Callable[[int], float]) -> float:
    """The limit of a mean over networks of width n, extrapolated in powers of 1/n."""
    values = [mean(2**k) for k in range(6, 14)]
    for order in itertools.count(1):
        if len(values) == 1:
            return values[0]
        pairs = itertools.pairwise(values)
        values = [(2**order * fine - coarse) / (2**order - 1) for coarse, fine in pairs]
    raise AssertionError


def log_chi_square(rows: Sequence[int], t: float, power: int) -> float:
    """Mean (1) or variance (2) of the sum over rows of log-pivots, `Σ log χ²_{n−i}/n`."""

    def cumulant(n: int) -> float:
        shift = np.log(2 / n) if power == 1 else 0.0
        return n * t * sum(special.polygamma(power - 1, (n - i) / 2) + shift for i in rows)

    return from_finite_networks(cumulant)


def gaussian_rows(name, law, start, rows, t, scale, sample) -> list[Row]:
    """Mean and variance of a log-Gaussian law, from pivots of finite linear networks."""
    mean, variance = float(law.mean), float(law.variance)
    return [
        Row(name, "mean", mean, start + scale * log_chi_square(rows, t, 1), sample),
        Row(
            name,
            "variance",
            variance,
            scale**2 * log_chi_square(rows, t, 2),
            lambda v: (sample(v) - mean) ** 2,
        ),
    ]


def pair_rows(limit, name, v0, a, b, t, sample_of) -> list[Row]:
    """Moments and the distribution function of one correlation."""
    law = laws.of(limit, covsde.observables.Correlation(a, b), v0, t)
    rho0 = float(correlation(jnp.asarray(v0))[a, b])
    name = f"{name}, ρ₀ = {rho0:.2g}"

    def generator(f):
        return exact_mean(Angle(), limit, lambda c: f(np.cos(c)), np.arccos(rho0), t)

    def rho(v):
        return np.asarray(correlation(jnp.asarray(sample_of(v))))[:, a, b]

    return [
        Row(name, "E ρ", float(law.mean), generator(lambda r: r), rho),
        Row(
            name,
            "E ρ²",
            float(law.expectation(np.square)),
            generator(np.square),
            lambda v: rho(v) ** 2,
        ),
        Row(name, "P(ρ ≤ ½)", float(law.cdf(0.5)), None, lambda v: rho(v) <= 0.5),
    ]


def solver(limit, v0, t1, dt0, saveat=None, **options) -> Callable:
    """Paths of a limit."""

    def draw(key, num: int) -> np.ndarray:
        times = None if saveat is None else jnp.asarray(saveat)
        solved = covsde.solve(
            limit,
            jnp.asarray(v0),
            t1,
            key=key,
            num_paths=num,
            dt0=dt0,
            saveat=times,
            **options,
        )
        return np.asarray(solved.vs)

    return draw


def linear() -> Sampler:
    """Three inputs of a linear network."""

    def late(v):
        return v[:, 1]

    def pivot(i):
        def log_pivot(v):
            return np.log(np.linalg.cholesky(late(v))[:, i, i])

        return log_pivot

    rows = gaussian_rows(
        "log_norm_law, linear",
        laws.log_norm_law(V0[1, 1], HALF),
        np.log(V0[1, 1]),
        [0],
        HALF,
        1.0,
        lambda v: np.log(late(v)[:, 1, 1]),
    )
    rows += gaussian_rows(
        "log_det_law",
        laws.log_det_law(V0, HALF),
        np.log(np.linalg.det(V0)),
        range(3),
        HALF,
        1.0,
        lambda v: np.linalg.slogdet(late(v))[1],
    )
    for i in (1, 2):
        start = np.log(np.linalg.cholesky(V0)[i, i])
        law = laws.log_pivot_law(V0, i, HALF)
        rows += gaussian_rows(
            f"log_pivot_law, L_{i + 1}{i + 1}", law, start, [i], HALF, 0.5, pivot(i)
        )
    for pairs in (FOUR[:1], [(0, 1)] * 2, FOUR[:3], FOUR):
        exact = float(laws.zero_drift_moment(V0, EARLY, pairs))
        name = f"zero_drift_moment, degree {len(pairs)}"
        moment = functools.partial(monomial, pairs)
        rows.append(
            Row(
                name,
                written(pairs),
                exact,
                ito_moment(V0, EARLY, pairs),
                lambda v, moment=moment: moment(v[:, 0]),
            )
        )
    rows += pair_rows(LINEAR, "PairLaw, linear", V0, 0, 2, HALF, late)
    draw = solver(LINEAR, V0, HALF, 1 / 64, (EARLY, HALF))
    title = f"linear network, m = 3, T = {HALF:g} (moments {EARLY:g}), steps of 1/64"
    return Sampler(title, draw, 1.0, rows)


def monomial(pairs, v: np.ndarray) -> np.ndarray:
    """`Π V^{ab}`."""
    return np.prod([v[:, a, b] for a, b in pairs], axis=0)


def written(pairs) -> str:
    """E.g. `E V⁰¹ V¹²`."""
    digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "E " + " ".join("V" + f"{a}{b}".translate(digits) for a, b in pairs)


def relu() -> Sampler:
    """Three pairs under a shaped ReLU."""

    def last(v):
        return v[:, 0]

    rows = gaussian_rows(
        "log_norm_law, shaped ReLU",
        laws.log_norm_law(1.0, 1.0),
        0.0,
        [0],
        1.0,
        1.0,
        lambda v: np.log(last(v)[:, 0, 0]),
    )
    for a, b in ((0, 1), (0, 2), (1, 2)):
        rows += pair_rows(RELU, "PairLaw, shaped ReLU", CORRELATED, a, b, 1.0, last)
    draw = solver(RELU, CORRELATED, 1.0, 1 / 32)
    return Sampler("shaped ReLU (0, −1), m = 3, T = 1, steps of 1/32", draw, 1.0, rows)


def tanh() -> Sampler:
    """One input under a smooth activation, early and when it is stationary."""
    kappa = float(TANH.drift.activation.stability_index)
    law, stationary = laws.NormLaw(kappa, NORM0, NORM_T), laws.OneInput(kappa).stationary

    def backward(f):
        """The backward equation in log V on Chebyshev's points, noise off at the ends."""
        nodes, (low, high) = 201, (-20.0, 3.2)
        y = np.cos(np.pi * np.arange(nodes) / (nodes - 1))
        signs = (-1.0) ** np.arange(nodes)
        signs[[0, -1]] *= 0.5
        d = signs / signs[:, None] / (y[:, None] - y + np.eye(nodes))
        np.fill_diagonal(d, 0.0)
        np.fill_diagonal(d, -d.sum(axis=1))
        d *= 2 / (high - low)
        y = low + (y + 1) / 2 * (high - low)
        noise = np.ones(nodes)
        noise[[0, -1]] = 0.0
        drift = kappa * (np.exp(y) - 1) - 1
        values = scipy.linalg.expm(NORM_T * (drift[:, None] * d + noise[:, None] * d @ d))
        row = signs / (np.log(NORM0) - y)
        return row / row.sum() @ values @ f(np.exp(y))

    def speed_measure(f):
        def density(v):
            return v ** (-kappa - 2) * np.exp(kappa * v)

        above = quad(lambda v: f(v) * density(v), 0, np.inf, epsabs=0, epsrel=1e-12)[0]
        return above / quad(density, 0, np.inf, epsabs=0, epsrel=1e-12)[0]

    def bounded(v):
        return v / (1 + v)

    def early(v):
        return v[:, 0, 0, 0]

    def late(v):
        return v[:, 1, 0, 0]

    name, gamma = f"NormLaw, κ = {kappa:g}", f"GammaLaw, κ = {kappa:g}"
    median = float(law.quantile(0.5))
    mean = float(stationary.mean)
    rows = [
        Row(
            name,
            "E V/(1+V)",
            float(law.expectation(bounded)),
            backward(bounded),
            lambda v: bounded(early(v)),
        ),
        Row(name, "E V", float(law.mean), backward(lambda v: v), early),
        Row(name, "P(V ≤ median)", 0.5, None, lambda v: early(v) <= median),
        Row(gamma, "E V", mean, speed_measure(lambda v: v), late),
        Row(
            gamma,
            "Var V",
            float(stationary.variance),
            speed_measure(lambda v: (v - mean) ** 2),
            lambda v: (late(v) - mean) ** 2,
        ),
        Row(
            gamma,
            "P(V ≤ ½)",
            float(stationary.cdf(0.5)),
            speed_measure(lambda v: float(v <= 0.5)),
            lambda v: late(v) <= 0.5,
        ),
    ]
    draw = solver(TANH, [[NORM0]], LATE, 1 / 128, (NORM_T, LATE))
    title = f"tanh, a = 0.8, m = 1, T = {NORM_T:g} and {LATE:g}, steps of 1/128"
    return Sampler(title, draw, 1.0, rows)


def explosion() -> Sampler:
    """One input that may explode, by its formula in the Brownian motion."""
    one = laws.OneInput(KAPPA)
    scale = [
        quad(lambda v: v**KAPPA * np.exp(-KAPPA * v), 0, end, epsrel=1e-13)[0]
        for end in (1.0, np.inf)
    ]

    def draw(key, num: int) -> np.ndarray:
        paths = one.sample(1.0, 6.0, key=key, num_paths=num, steps=768)
        return np.asarray(paths.exploded_at)

    row = Row(
        f"OneInput, κ = {KAPPA:g}",
        "P(explosion)",
        float(one.explosion_probability(1.0)),
        scale[0] / scale[1],
        np.isfinite,
    )
    return Sampler("one input from V = 1, by its formula", draw, 1.0, [row])


def tokens() -> Sampler:
    """Two tokens under attention."""
    law = laws.TwoTokens(TOKENS)
    alpha, theta = float(law.alpha), float(law.theta)

    def scale(end):
        return quad(lambda x: (1 + theta * x**2) ** -alpha, 0, end, epsrel=1e-13)[0]

    def distance(v):
        return v[:, 0, 0, 0] - 2 * v[:, 0, 0, 1] + v[:, 0, 1, 1]

    rows = [
        Row(
            "TwoTokens",
            "P(explosion), as E of itself at T",
            float(law.explosion_probability(D0)),
            scale(D0) / scale(np.inf),
            lambda v: np.asarray(law.explosion_probability(distance(v))),
        ),
        Row(
            "TwoTokens",
            "E 1/(1+d)",
            float(law.surviving(lambda d: 1 / (1 + d), D0, HALF)),
            None,
            lambda v: 1 / (1 + distance(v)),
        ),
    ]
    v0 = D0 / 4 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    # shorter where V moves fast: what is left of the law would show, else
    steps = covsde.NinomiyaNinomiya(most=1 / 32)
    draw = solver(TOKENS, v0, HALF, 1 / 128, stop_above=1e8, solver=steps)
    title = f"attention, γ = τ₀ = ½, T = {HALF:g}, steps of 1/128 or less"
    return Sampler(title, draw, 1.0, rows)


def spectrum() -> Sampler:
    """Many inputs of a linear network."""
    law, t, m = laws.FreeLogNormal(TAU), TAU / INPUTS, INPUTS
    low, high = law.edges
    # a rule that is exact for the square roots at the edges
    angle = (np.arange(400) + 0.5) * np.pi / 400
    x = low * (high / low) ** ((1 - np.cos(angle)) / 2)
    weights = np.asarray(law.density(x)) * x * np.sin(angle)
    weights *= np.log(high / low) / 2 * np.pi / 400

    def moment(pairs):
        return float(laws.zero_drift_moment(np.eye(3), t, pairs))

    # E tr V^k/m by which of the indices are equal
    exact = {
        2: moment([(0, 0)] * 2) + (m - 1) * moment([(0, 1)] * 2),
        3: moment([(0, 0)] * 3)
        + 3 * (m - 1) * moment([(0, 0), (0, 1), (0, 1)])
        + (m - 1) * (m - 2) * moment([(0, 1), (1, 2), (0, 2)]),
    }
    rows = []
    for k, finite in exact.items():
        bias = finite - law.moment(k)
        rows.append(
            Row(
                f"FreeLogNormal, τ = {TAU:g}",
                f"E λ^{k} (bias {bias:+.4f} taken off)",
                law.moment(k),
                float(weights @ x**k),
                lambda v, k=k, bias=bias: (
                    np.mean(np.linalg.eigvalsh(v[:, 0]) ** k, axis=1) - bias
                ),
            )
        )
    draw = solver(LINEAR, np.eye(m), t, t / 64)
    return Sampler(f"linear network, m = {m}, T = τ/m, steps of T/64", draw, 1 / 256, rows)


def unshaped() -> Sampler:
    """The unshaped ReLU."""
    limit, t = covsde.UnshapedMLP(), 0.25
    chi, k = float(limit.spread), float(limit.attraction)
    # d E(1, u, u²)
    matrix = np.array([[0, 0, 0], [k / 2, chi, 0], [0, k, 3 * chi]])
    moments = scipy.linalg.expm(t * matrix)[:, 0]

    def draw(key, num: int) -> np.ndarray:
        return np.asarray(limit.solve(t, key=key, num_paths=num, dt0=t / 128)[1])[:, 0]

    rows = [
        Row("UnshapedMLP", "E u", float(limit.mean(t)), moments[1], lambda u: u),
        Row("UnshapedMLP", "E u²", float(limit.second_moment(t)), moments[2], np.square),
    ]
    return Sampler(f"unshaped ReLU, T = {t:g}, 128 steps", draw, 1.0, rows)


def wishart() -> Sampler:
    """A finite linear network is a chain of Wishart matrices."""

    def draw(key, num: int) -> np.ndarray:
        t = DEPTH / WIDTH
        solved = covsde.oracles.sample(
            LINEAR, jnp.asarray(V0), t, width=WIDTH, key=key, num_networks=num
        )
        return np.asarray(solved.vs[:, 0])

    rows = [
        Row(
            f"linear_network_moment, degree {len(pairs)}",
            written(pairs),
            float(laws.linear_network_moment(V0, WIDTH, DEPTH, pairs)),
            layers_moment(V0, WIDTH, DEPTH, pairs),
            functools.partial(monomial, pairs),
        )
        for pairs in ([(0, 1)] * 2, FOUR[:3])
    ]
    return Sampler(f"linear networks of width {WIDTH}, depth {DEPTH}", draw, 1.0, rows)


def products() -> Sampler:
    """Log-norms of finite networks without shaping."""
    n, d = 8, 4

    def draw(key, num: int) -> np.ndarray:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        whole = rng.chisquare(n, (num, d)) / n
        # a layer without an active unit ends the network, and is left out
        active = stats.binom.ppf(rng.uniform(2.0**-n, 1, (num, d)), n, 0.5)
        halved = 2 * rng.chisquare(active) / n
        return np.log(np.stack([whole, halved], axis=1)).sum(axis=-1)

    def log_moment(freedom, power):
        law = stats.chi2(freedom)
        return quad(
            lambda x: np.log(law.ppf(special.ndtr(x))) ** power * stats.norm.pdf(x),
            -12,
            8,
            epsabs=1e-12,
            limit=400,
        )[0]

    b = np.arange(1, n + 1)
    weights = stats.binom.pmf(b, n, 0.5) / (1 - 2.0**-n)
    one, two = (np.array([log_moment(x, power) for x in b]) for power in (1, 2))
    relu_mean = weights @ one
    relu_variance = weights @ two - relu_mean**2
    rows = []
    for column, (law, mean, variance) in enumerate(
        (
            (laws.LinearProduct(n, d), one[-1] - np.log(n), two[-1] - one[-1] ** 2),
            (laws.ReLUProduct(n, d), relu_mean + np.log(2 / n), relu_variance),
        )
    ):
        name, centre = type(law).__name__, float(law.mean)
        rows += [
            Row(name, "mean", centre, d * mean, lambda x, i=column: x[:, i]),
            Row(
                name,
                "variance",
                float(law.variance),
                d * variance,
                lambda x, i=column, c=centre: (x[:, i] - c) ** 2,
            ),
        ]
    return Sampler(f"products of {d} factors, width {n}", draw, 1.0, rows)


SAMPLERS = (
    linear,
    relu,
    tanh,
    explosion,
    tokens,
    spectrum,
    unshaped,
    wishart,
    products,
)


def simulated(sampler: Sampler, num_paths: int) -> list[tuple[float, float]]:
    """Mean and standard error of each row, over chunks of paths."""
    chunk = min(_CHUNK, num_paths)
    sums = np.zeros((2, len(sampler.rows)))
    count = 0
    while count < num_paths:
        values = sampler.draw(jax.random.fold_in(jax.random.key(0), count), chunk)
        for i, row in enumerate(sampler.rows):
            rest = np.asarray(row.sample(values), float) - row.exact
            sums[:, i] += np.sum(rest), np.sum(rest**2)
        count += chunk
    mean, square = sums / count
    errors = np.sqrt((square - mean**2) / (count - 1))
    return [
        (row.exact + m, e) for row, m, e in zip(sampler.rows, mean, errors, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="directory for laws.json")
    options = parser.parse_args(arguments)
    head = ("law", "statistic", "exact", "apart by", "simulated", "z")
    print("| " + " | ".join(head) + " |\n|---|---|--:|--:|--:|--:|")
    results, begin = [], time.process_time()
    for make in SAMPLERS:
        sampler = make()
        num_paths = max(1, round(sampler.share * options.paths))
        means = simulated(sampler, num_paths)
        print(f"| *{sampler.title}; {num_paths:,} paths* | | | | | |")
        for row, (mean, error) in zip(sampler.rows, means, strict=True):
            apart = None if row.independent is None else abs(row.independent - row.exact)
            z = (mean - row.exact) / error
            cells = (
                row.law,
                row.statistic,
                f"{row.exact:.10g}",
                "–" if apart is None else f"{apart:.0e}",
                f"{mean:.6g} ± {error:.1g}",
                f"{z:+.1f}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)
            results.append(
                dict(
                    law=row.law,
                    statistic=row.statistic,
                    exact=row.exact,
                    independent=row.independent,
                    simulated=mean,
                    standard_error=error,
                    z=z,
                    paths=num_paths,
                )
            )
    worst = max(abs(one["z"]) for one in results)
    seconds = time.process_time() - begin
    print(f"\n{len(results)} rows, the largest |z| {worst:.1f}; {seconds:.0f} CPU-s")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "laws.json"
        path.write_text(json.dumps(results, indent=1))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
