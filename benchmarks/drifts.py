"""A user's drifts that are linear in V, against the mean of V that each of them has.

`python -m benchmarks.drifts`: random drifts `A V + V Aᵀ + Σ C V Cᵀ + c(t) B`, B ⪰ 0, as a
class of one's own, under the noise of a linear network. It has no mean, so `E V` solves
`dE/dt = b(t, E)`, by an ODE solver to 1e-12. Some starts are singular, or almost.

By the default call: the largest distance of the estimated mean from the exact one, over
the entries, in standard errors. In steps of .1, where the method's own error shows: the
scheme's mean less the exact one, the distance of the estimate from the exact one, and, in
standard errors, from the scheme's. This is Heun's for the flow of a drift, times a number
for each step of the noise; it need not be where flows had to take the nearest covariance,
and how many did is counted. Last, the largest entry of the estimated mean, and of any
path, over that of the exact mean.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import covsde
from covsde.matrices import factorise, gram

T, COARSE = 0.8, 0.1


class LinearDrift(covsde.AbstractDrift):
    """`A V + V Aᵀ + Σ C V Cᵀ + c(t) B`, of which c is a polynomial."""

    a: jax.Array
    c: jax.Array
    b: jax.Array
    factor: jax.Array

    def __call__(self, t, v, args):
        moved = self.a @ v
        within = jnp.sum(self.c @ v @ jnp.swapaxes(self.c, -1, -2), axis=0)
        return moved + moved.T + within + jnp.polyval(self.factor, t) * self.b


MOVED = Counter()


class Counted(LinearDrift):
    """The same, which counts the flows that are not Heun's method for V."""

    def flow(self, t, h, factor, args):
        moved = super().flow(t, h, factor, args)
        v, middle = gram(factor).to_dense(), t + jnp.max(h) / 2
        b = jax.vmap(lambda v: self(middle, v, args))
        h = jnp.max(h)
        first = b(v)
        heun = v + h / 2 * (first + b(v + h * first))
        error = jnp.max(jnp.abs(gram(moved).to_dense() - heun), axis=(1, 2))
        other = error > 1e-6 * jnp.max(jnp.abs(heun), axis=(1, 2))
        jax.debug.callback(_count, jnp.sum(other), other.size)
        return moved


def _count(moved, of) -> None:
    MOVED.update(moved=int(moved), all=int(of))


class Own(covsde.AbstractLimit):
    """A limit of one's own."""

    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion


class Case(NamedTuple):
    """A drift and a start, in words and numbers."""

    words: str
    v0: np.ndarray
    a: np.ndarray
    c: np.ndarray
    b: np.ndarray
    factor: np.ndarray

    def limit(self, kind=LinearDrift) -> Own:
        """The limit that has this drift."""
        parts = map(jnp.asarray, (self.a, self.c, self.b, self.factor))
        return Own(kind(*parts), covsde.CongruenceDiffusion())

    @property
    def matrix(self) -> np.ndarray:
        """What the drift does to V as a vector."""
        unit = np.eye(len(self.v0))
        by_a = np.kron(self.a, unit) + np.kron(unit, self.a)
        return by_a + sum(np.kron(c, c) for c in self.c)

    def velocity(self, t: float, mean: np.ndarray) -> np.ndarray:
        """`b(t, E)` of E as a vector."""
        return self.matrix @ mean + np.polyval(self.factor, t) * self.b.ravel()


FACTORS = {
    "": (0.0, 0.0, 1.0),
    "3t²": (3.0, 0.0, 0.0),
    "2t": (0.0, 2.0, 0.0),
    "(1−t)²": (1.0, -2.0, 1.0),
}
# singular ones are of three inputs, for each kind compiles programs of its own
REGULAR, SINGULAR = ("regular", "1e-6", "1e-12"), ("duplicates", "rank 1")


def cases(number: int, seed: int) -> Iterator[Case]:
    """Random ones, of two to six inputs in turn."""
    rng = np.random.default_rng(seed)
    for i in range(number):
        m = 2 + i % 5
        kind = str(rng.choice(SINGULAR if m == 3 else REGULAR))
        a, by_a = _outer(rng, m)
        c, by_c = _inner(rng, m)
        b, by_b = _added(rng, m, needed=not (by_a or by_c))
        factor = rng.choice(list(FACTORS)) if by_b else ""
        words = " + ".join(filter(None, (by_a, by_c, f"{factor} {by_b}".strip())))
        start = _start(rng, m, kind)
        yield Case(f"{m}, {kind:11}{words}", start, a, c, b, np.array(FACTORS[factor]))


def _start(rng, m: int, kind: str) -> np.ndarray:
    """A Gram matrix; one of nearly equal inputs for a kind that is a number, `1 − ρ`."""
    x = rng.normal(size=(m, m + 2)) / math.sqrt(m + 2)
    if kind == "rank 1":
        x = x[:, :1]
    elif kind == "duplicates":
        x[-1] = x[0]
    elif kind != "regular":
        x[-1] = x[0] + math.sqrt(2 * float(kind)) * x[-1]
    return x @ x.T


def _outer(rng, m: int) -> tuple[np.ndarray, str]:
    kind = rng.choice(["", "V", "AV"])
    rate = rng.uniform(-0.8, 0.5)
    if kind == "V":
        return rate / 2 * np.eye(m), f"{rate:.1f} V"
    a = rng.normal(size=(m, m)) * 0.5 / math.sqrt(m)
    return (a, "AV + VAᵀ") if kind else (0 * a, "")


def _inner(rng, m: int) -> tuple[np.ndarray, str]:
    """`m` of them, of which some are zero; `w diag V` is the sum of all `√w eₖeₖᵀ`."""
    kind = rng.choice(["", "diag V", "CVCᵀ"])
    c = np.zeros((m, m, m))
    if kind == "diag V":
        weight = rng.uniform(0.2, 1.0)
        c[np.arange(m), np.arange(m), np.arange(m)] = math.sqrt(weight)
        return c, f"{weight:.1f} diag V"
    if kind == "CVCᵀ":
        some = rng.integers(1, m + 1)
        c[:some] = rng.normal(size=(some, m, m)) * 0.6 / math.sqrt(m * some)
        return c, f"{some} CVCᵀ"
    return c, ""


def _added(rng, m: int, needed: bool) -> tuple[np.ndarray, str]:
    kind = rng.choice(["", "11ᵀ", "xxᵀ", "B", "diag x"][needed:])
    size, x = rng.uniform(0.2, 1.0), rng.normal(size=(m, m))
    if kind == "11ᵀ":
        return np.full((m, m), size), f"{size:.1f} 11ᵀ"
    if kind == "xxᵀ":
        return size * np.outer(x[0], x[0]), kind
    if kind == "B":
        return size * x @ x.T / m, kind
    if kind == "diag x":
        return size * np.diag(x[0] ** 2), kind
    return 0 * x, ""


def exact_mean(case: Case) -> np.ndarray:
    """`E V` at T."""
    solved = solve_ivp(
        case.velocity, (0, T), case.v0.ravel(), "DOP853", rtol=1e-12, atol=1e-14
    )
    return solved.y[:, -1].reshape(case.v0.shape)


def mean_of_scheme(case: Case, steps: int) -> np.ndarray:
    """`E V` in so many steps: Heun's, of half a step at both ends, and the noise's."""
    h, m = T / steps, len(case.v0)
    regular = not bool(factorise(jnp.asarray(case.v0)).is_singular())
    mean = _heun(case, case.v0.ravel(), 0.0, h / 2)
    for number in range(1, steps + 1):
        rank = np.linalg.matrix_rank(mean.reshape(m, m), tol=1e-9 * np.max(np.abs(mean)))
        mean = mean * noise_mean(m if regular else int(rank), h)
        length = h if number < steps else h / 2
        mean = _heun(case, mean, number * h - h / 2, length)
    return mean.reshape(m, m)


def _heun(case: Case, mean: np.ndarray, t: float, h: float) -> np.ndarray:
    """A step of Heun's method; time stands in its middle."""
    first = case.velocity(t + h / 2, mean)
    return mean + h / 2 * (first + case.velocity(t + h / 2, mean + h * first))


def noise_mean(rank: int, h: float) -> float:
    """The number μ of `E e^W = μ I` for a step of `GeodesicStrang`; `1 + O(h³)`.

    `S` and its trace, a Gaussian of variance 2m that is independent of the rest, are
    exponentiated with `h' = h/(1 − mh/12)` and with `h`.
    """
    longer = h / (1 - rank * h / 12)
    terms = (longer**k / math.factorial(2 * k) * moment(rank, 2 * k) for k in range(9))
    return math.exp((h - longer) / rank - h * (rank + 1) / 2) * sum(terms)


@cache
def moment(m: int, power: int) -> float:
    """`E (Sᵖ)₁₁` of the Gaussian symmetric matrix: variances 2 on the diagonal, 1 off it.

    That of the tridiagonal one with N(0, 2) on the diagonal and χ_{m−1}, …, χ₁ beside it,
    summed over the walks from the first row to itself.

    Source: Dumitriu and Edelman (2002), "Matrix models for beta ensembles".
    """
    walks: Counter = Counter({(0, (0,) * m, (0,) * m): 1})
    for _ in range(power):
        longer: Counter = Counter()
        for (row, stays, ups), number in walks.items():
            longer[row, _one_more(stays, row), ups] += number
            if row + 1 < m:
                longer[row + 1, stays, _one_more(ups, row)] += number
            if row:
                longer[row - 1, stays, ups] += number
        walks = longer
    return sum(
        number * _weight(m, stays, ups)
        for (row, stays, ups), number in walks.items()
        if row == 0
    )


def _one_more(counts: tuple[int, ...], row: int) -> tuple[int, ...]:
    return (*counts[:row], counts[row] + 1, *counts[row + 1 :])


def _weight(m: int, stays: tuple[int, ...], ups: tuple[int, ...]) -> float:
    """`Π E N(0, 2)^s E χ²ᵘ`."""
    if any(s % 2 for s in stays):
        return 0.0
    diagonal = math.prod(math.prod(range(1, s, 2)) * 2 ** (s // 2) for s in stays)
    beside = (math.prod(m - 1 - row + 2 * i for i in range(u)) for row, u in enumerate(ups))
    return float(diagonal * math.prod(beside))


def distance(vs: np.ndarray, mean: np.ndarray) -> float:
    """The largest distance of the estimated mean, over the entries, in standard errors."""
    error = vs.std(axis=0) / math.sqrt(len(vs))
    return float(np.max(np.abs(vs.mean(axis=0) - mean) / error))


def simulated(case: Case, key, num_paths: int, dt0: float | None, kind=LinearDrift):
    """V at T, and the number of steps."""
    limit, v0 = case.limit(kind), jnp.asarray(case.v0)
    call = dict(key=key, num_paths=num_paths, dt0=dt0)
    solution = covsde.solve(limit, v0, T, **call)
    jax.effects_barrier()
    return np.asarray(solution.vs[:, -1]), math.ceil(T / solution.dt0 - 1e-9)


def row(case: Case, key, num_paths: int) -> tuple:
    """All that is printed of a case."""
    exact = exact_mean(case)
    size = np.max(np.abs(exact))
    fine, steps = simulated(case, key, num_paths, None)
    MOVED.clear()
    coarse, few = simulated(case, jax.random.fold_in(key, 1), num_paths, COARSE, Counted)
    discrete = mean_of_scheme(case, few)
    relative = np.max(np.std(fine, axis=0)) / math.sqrt(num_paths) / size
    return (
        steps,
        relative,
        distance(fine, exact),
        np.max(np.abs(discrete - exact)) / size,
        np.max(np.abs(coarse.mean(axis=0) - exact)) / size,
        distance(coarse, discrete),
        MOVED["moved"] / MOVED["all"],
        max(np.max(np.abs(vs.mean(axis=0))) for vs in (fine, coarse)) / size,
        max(np.max(np.abs(vs)) for vs in (fine, coarse)) / size,
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drifts", type=int, default=32)
    parser.add_argument("--paths", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.process_time()
    print(
        f"{arguments.paths:,} paths, T = {T}\n{'':44}{'default':>21}{'steps of .1':>31}\n"
        f"{'m, start, drift':44}{'steps':>6}{'1 s.e.':>8}{'s.e.':>7}"
        f"{'bias':>8}{'off':>8}{'s.e.':>7}{'moved':>8}{'mean':>7}{'path':>8}"
    )
    rows = []
    for number, case in enumerate(cases(arguments.drifts, arguments.seed)):
        found = row(case, jax.random.key(number), arguments.paths)
        rows.append(found)
        steps, one, fine, bias, off, coarse, moved, mean, path = found
        print(
            f"{case.words:44}{steps:6}{one:8.2%}{fine:7.2f}{bias:8.2%}{off:8.2%}{coarse:7.2f}"
            f"{moved:8.1%}{mean:7.2f}{path:8.0f}",
            flush=True,
        )
    _, _, fine, _, off, coarse, moved, mean, path = np.transpose(rows)
    same = moved == 0
    print(
        f"largest: {fine.max():.2f} s.e. by default; {coarse[same].max():.2f} s.e. from "
        f"the scheme's mean in the {same.sum()} of {len(rows)} whose flows are all Heun's, "
        f"{off.max():.2%} from the exact mean; {mean.max():.2f} and {path.max():.0f} times "
        f"the exact mean\n{time.process_time() - began:.0f} CPU-s"
    )


if __name__ == "__main__":
    main()
