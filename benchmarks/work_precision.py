"""Work against precision: the CPU time that a solver takes to a weak error.

`python -m benchmarks.work_precision` runs every program on the problems of
`covsde.problems` with several numbers of steps. It measures weak errors from the exact
mean, and CPU time per path, and prints how long each program takes per path to an error of
1e-3 (1e-5 too for two inputs, 1e-2 for the unshaped limit): the number of paths that go
with it is the same for all. With `--out` it writes JSON and a figure for each problem.

Another solver is an entry of `programs`, another problem one of `PROBLEMS`.
"""

import argparse
import functools
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import diffrax
import jax
import numpy as np

import covsde
from covsde import problems
from covsde._jit import jit
from covsde.plotting._style import LIGHT, styled
from covsde.problems import Problem

from ._baselines import (
    first_program,
    first_unshaped,
    stock_on_factor,
    stock_unshaped,
    users_on_factor,
)

KEY = jax.random.key(0)
# An error counts as seen if it exceeds this many standard errors.
NOISE = 3.0

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "relu-pair": problems.relu_pair,
    "relu-4": lambda: problems.relu(4),
    "relu-8": lambda: problems.relu(8),
    "near-singular": problems.near_singular,
    "smooth": problems.smooth,
    "explosive": problems.explosive,
    "attention": problems.attention,
    "unshaped": problems.unshaped,
}


@dataclass(frozen=True)
class Program:
    """`values(problem, steps, num_paths)` is a function of a key: f on every path."""

    values: Callable[[Problem, int, int], Callable]
    steps: tuple[int, ...]
    paths: int


@dataclass
class Points:
    """What one program does on one problem."""

    steps: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    standard_errors: list[float] = field(default_factory=list)
    cpu_ns_per_path: list[float] = field(default_factory=list)

    def steps_to(self, tolerance: float) -> tuple[float, str]:
        """Steps that leave this error: `=` between two points, `≤` a point, `~` beyond."""
        n, error = np.array(self.steps, float), np.abs(self.errors)
        noise = NOISE * np.array(self.standard_errors)
        seen = error > noise
        for i in range(len(n)):
            if error[i] + np.where(seen[i], 0.0, noise[i]) <= tolerance:
                if i == 0 or not seen[i] or not seen[i - 1]:
                    return n[i], "≤"
                return self._steps(i - 1, i, tolerance), "="
        first, last = ([-1, -1, *np.flatnonzero(seen)])[-2:]
        wanted = math.nan if first < 0 else self._steps(first, last, tolerance)
        return wanted, "~"

    def _steps(self, first: int, last: int, tolerance: float) -> float:
        """By the power of the steps that two points show; NaN if errors do not fall."""
        n, error = np.array(self.steps, float), np.abs(self.errors)
        order = np.log(error[first] / error[last]) / np.log(n[last] / n[first])
        if order < 0.5:
            return math.nan
        return math.ceil(n[last] * (error[last] / tolerance) ** (1 / order) - 1e-9)

    def time(self, steps: float) -> float:
        """CPU ns per path, by the time of the steps beyond the first ones."""
        n, cpu = np.array(self.steps, float), np.array(self.cpu_ns_per_path)
        each = (cpu[-1] - cpu[0]) / (n[-1] - n[0])
        return float(cpu[0] + each * (steps - n[0]))

    def with_errors(self, steps: tuple[int, ...], errors: list[float]) -> "Points":
        """The same program with errors that are known, at other numbers of steps."""
        exact = [0.0] * len(steps)
        return Points(list(steps), errors, exact, [self.time(n) for n in steps])

    def time_to(self, tolerance: float) -> tuple[float, str]:
        """CPU ns per path that leave this error, and how the steps are known."""
        steps, how = self.steps_to(tolerance)
        return self.time(steps), how


def ours(solver) -> Callable:
    """`covsde.solve` with a solver of covsde, or `diffrax.Euler()`."""

    def values(problem: Problem, steps: int, num_paths: int):
        @jit
        def running(vs, stopped_at):
            f = problem.observable(vs[:, -1])
            return jax.numpy.where(jax.numpy.isinf(stopped_at), f, 0.0)

        def run(key):
            solved = covsde.solve(
                problem.limit,
                problem.v0,
                problem.t1,
                key=key,
                num_paths=num_paths,
                dt0=problem.t1 / steps,
                solver=solver,
            )
            return running(solved.vs, solved.stopped_at)

        return run

    return values


def observed(problem: Problem, run: Callable) -> Callable:
    """f of what a program returns, compiled."""
    f = jit(problem.observable)
    return lambda key: f(run(key))


def first(root: str, brownian: str) -> Callable:
    """What a user of Diffrax writes first."""

    def values(problem: Problem, steps: int, num_paths: int):
        run = first_program(
            problem.limit,
            problem.v0,
            problem.t1,
            steps,
            num_paths,
            root=root,
            brownian=brownian,
        )
        return observed(problem, run)

    return values


def stock(solver, make: Callable = stock_on_factor) -> Callable:
    """A Stratonovich solver of Diffrax on the factor."""

    def values(problem: Problem, steps: int, num_paths: int):
        run = make(problem.limit, problem.v0, problem.t1, steps, num_paths, solver)
        return observed(problem, run)

    return values


def unshaped(make: Callable) -> Callable:
    """A program for the number `u` of the unshaped limit."""

    def values(problem: Problem, steps: int, num_paths: int):
        return observed(problem, make(problem, steps, num_paths))

    return values


def our_unshaped(problem: Problem, steps: int, num_paths: int) -> Callable:
    """`covsde.solve`, whose solver is `LinearParabola`."""
    start = problem.limit, problem.v0, problem.t1
    options = dict(num_paths=num_paths, dt0=problem.t1 / steps)

    def run(key):
        return covsde.solve(*start, key=key, **options).us[:, -1]

    return run


def unshaped_programs() -> dict[str, Program]:
    """Those for the unshaped limit."""

    def stock(solver):
        return unshaped(functools.partial(stock_unshaped, solver=solver))

    few, many = 40_000, 4_000_000
    return {
        "first program": Program(unshaped(first_unshaped), (32, 64, 128), few),
        "Euler on u": Program(stock(diffrax.Euler()), (16, 32, 64), many // 10),
        "ItoMilstein on u": Program(stock(diffrax.ItoMilstein()), (16, 32, 64), many // 10),
        "LinearParabola": Program(unshaped(our_unshaped), (1, 2, 4), many),
    }


def programs(problem: Problem) -> dict[str, Program]:
    """Those that apply to a problem."""
    if isinstance(problem.limit, covsde.UnshapedMLP):
        return unshaped_programs()
    m, attention = problem.m, isinstance(problem.limit, covsde.ShapedAttention)
    few = {1: 40_000, 2: 40_000, 4: 10_000, 8: 1_000}[m]
    some = {1: 400_000, 2: 400_000, 4: 200_000, 8: 50_000}[m]
    many = {1: 1_600_000, 2: 1_600_000, 4: 3_200_000, 8: 1_600_000}[m]
    if attention:
        return {
            "first program": Program(first("eigh", "tree"), (16, 64), few // 2),
            "diffrax.Euler": Program(ours(diffrax.Euler()), (8, 16, 32, 64), some // 2),
            "NinomiyaNinomiya": Program(
                ours(covsde.NinomiyaNinomiya()), (2, 4, 8, 16, 32), some
            ),
        }
    return {
        "first program": Program(first("eigh", "tree"), (32, 64, 128), few),
        "second program": Program(first("cholesky", "unsafe"), (32, 64, 128), few),
        "Heun on dense L": Program(
            stock(diffrax.Heun(), users_on_factor), (8, 16, 32), some // 2
        ),
        "Midpoint on dense L": Program(
            stock(diffrax.Midpoint(), users_on_factor), (8, 16, 32), some // 2
        ),
        "EulerHeun on L": Program(stock(diffrax.EulerHeun()), (4, 8, 16, 32), some),
        "Heun on L": Program(stock(diffrax.Heun()), (4, 8, 16, 32), some),
        "Midpoint on L": Program(stock(diffrax.Midpoint()), (4, 8, 16, 32), some),
        "SPaRK on L": Program(stock(diffrax.SPaRK()), (4, 8, 16, 32), some),
        "SlowRK on L": Program(stock(diffrax.SlowRK()), (4, 8, 16), some),
        "diffrax.Euler": Program(ours(diffrax.Euler()), (16, 32, 64), some),
        "WishartEuler": Program(ours(covsde.WishartEuler()), (8, 16, 32), some // 4),
        "FactorEuler": Program(ours(covsde.FactorEuler()), (4, 8, 16, 32), some),
        "PalindromicStrang": Program(ours(covsde.PalindromicStrang()), (1, 2, 4, 8), many),
        "GeodesicStrang": Program(ours(covsde.GeodesicStrang()), (1, 2, 3, 4, 8), many),
    }


def run(problem, program: Program, scale: float) -> Points:
    """All numbers of steps; where a path is not finite, it counts as 0."""
    points = Points()
    num_paths = max(100, round(program.paths * scale))
    for steps in program.steps:
        values = program.values(problem, steps, num_paths)
        jax.block_until_ready(values(KEY))  # compile
        begin = time.process_time()
        f = jax.block_until_ready(values(jax.random.fold_in(KEY, steps)))
        seconds = time.process_time() - begin
        f = np.nan_to_num(np.asarray(f), nan=0.0, posinf=0.0, neginf=0.0)
        points.steps.append(steps)
        points.errors.append(float(f.mean() - problem.exact))
        points.standard_errors.append(float(f.std() / math.sqrt(num_paths)))
        points.cpu_ns_per_path.append(seconds / num_paths * 1e9)
    return points


def by_quadrature(problem: Problem, solver, steps) -> list[float]:
    """Errors of one of our solvers on two inputs, without noise."""
    study = covsde.convergence.study(
        problem.limit,
        [solver],
        problem.v0,
        problem.t1,
        problem.observable,
        steps=steps,
        exact=problem.exact,
        quadrature=True,
    )
    return study.rows[0].errors.tolist()


def show(name: str, problem, results: dict[str, Points], tolerances) -> dict:
    """Prints the table of a problem, and returns its ratios."""
    print(f"\n{name}: {problem.exact:.7f} = E f(V_T)")
    head = f"  {'program':20}{'errors (standard error), by steps':60}"
    print(head + "".join(f"{f'CPU ns to {t:g}':>18}" for t in tolerances))
    times = {}
    for program, points in results.items():
        cells = " ".join(
            f"{n}: {e:+.1e}({s:.0e})"
            for n, e, s in zip(
                points.steps[-3:],
                points.errors[-3:],
                points.standard_errors[-3:],
                strict=True,
            )
        )
        times[program] = [points.time_to(t) for t in tolerances]
        costs = "".join(
            f"{'–' if math.isnan(ns) else f'{how} {ns:,.0f}':>18}"
            for ns, how in times[program]
        )
        print(f"  {program:20}{cells:60}{costs}", flush=True)
    ratios = {}
    for i, tolerance in enumerate(tolerances):
        known = {k: t[i][0] for k, t in times.items() if not math.isnan(t[i][0])}
        if not known:
            continue
        own = [k for k in known if _is_ours(k)]
        stocks = [k for k in known if k.endswith((" on L", " on u"))]
        dense = [k for k in known if k.endswith(" on dense L")]
        if not own:
            continue
        best = min(own, key=known.__getitem__)
        line = f"  at {tolerance:g}: {best}"
        ratios[str(tolerance)] = {"best": best}
        for title, rival in (
            ("first program", "first program" if "first program" in known else None),
            ("second program", "second program" if "second program" in known else None),
            ("user's best stock", min(dense, key=known.__getitem__, default=None)),
            ("best stock", min(stocks, key=known.__getitem__, default=None)),
        ):
            if rival is not None:
                ratio = known[rival] / known[best]
                ratios[str(tolerance)][title] = ratio
                called = title if title == rival else f"{title} ({rival})"
                line += f"; {ratio:,.0f} times as fast as the {called}"
        print(line, flush=True)
    return ratios


def _is_ours(program: str) -> bool:
    return program.endswith(("Strang", "Ninomiya", ".solve"))


@styled
def draw(name: str, results: dict[str, Points]):
    """Errors against CPU time per path; hollow within the noise, the least of it shaded."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.set(xscale="log", yscale="log", xlabel="CPU time per path (µs)")
    axis.set_ylabel("weak error")
    colours = iter(matplotlib.colormaps["tab20"].colors)  # pyright: ignore[reportAttributeAccessIssue]
    noises = [NOISE * max(points.standard_errors) for points in results.values()]
    floor = min((noise for noise in noises if noise > 0), default=0.0)
    for program, points in results.items():
        time_per_path = np.array(points.cpu_ns_per_path) / 1e3
        error = np.abs(points.errors)
        seen = error > NOISE * np.array(points.standard_errors)
        colour, own = next(colours), _is_ours(program)
        style = dict(color=colour, marker="o" if own else "s", markersize=5.0)
        axis.plot(time_per_path, error, color=colour, linewidth=2.0 if own else 0.9)
        for above in (True, False):
            axis.plot(
                time_per_path[seen == above],
                error[seen == above],
                linestyle="none",
                markerfacecolor=colour if above else "white",
                label=program if above else None,
                **style,
            )
    if floor > 0:
        axis.axhspan(axis.get_ylim()[0], floor, color=LIGHT, zorder=0)
    figure.suptitle(name, x=0.01, ha="left", fontsize=9.0)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def main() -> None:
    """Prints a table for each problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=", ".join(PROBLEMS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of paths")
    parser.add_argument("--programs", nargs="*", help="those to run; all if left out")
    parser.add_argument("--out", type=Path, help="folder for JSON and figures")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {jax.devices()[0].device_kind}, float64"
    print(f"{machine}; = interpolated, ≤ within noise, ~ extrapolated by the last order")
    written = {"machine": machine}
    for name in arguments.problems or PROBLEMS:
        problem = PROBLEMS[name]()
        results = {}
        for title, program in programs(problem).items():
            if arguments.programs and title not in arguments.programs:
                continue
            results[title] = run(problem, program, arguments.scale)
        # of the unshaped limit the tails are heavy
        tolerances = (1e-2,) if name == "unshaped" else (1e-3,)
        if name == "relu-pair":
            tolerances = (1e-3, 1e-5)
            for solver in (covsde.PalindromicStrang(), covsde.GeodesicStrang()):
                if type(solver).__name__ not in results:
                    continue
                name_of, steps = type(solver).__name__, (2, 4, 8, 16, 32)
                errors = by_quadrature(problem, solver, steps)
                results[name_of] = results[name_of].with_errors(steps, errors)
        ratios = show(name, problem, results, tolerances)
        written[name] = {
            "exact": problem.exact,
            "ratios": ratios,
            "programs": {k: asdict(v) for k, v in results.items()},
        }
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            figure = draw(name, results)
            figure.savefig(arguments.out / f"work_precision_{name}.png", dpi=160)
            path = arguments.out / "work_precision.json"
            path.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
