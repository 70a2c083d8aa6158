"""Positive definiteness: the share of steps that lose it, on starts made to break it.

`python -m benchmarks.positive_definite` prints, for each start, activation and step, the
number of path-steps of the default and the palindromic solver and how many were *lost*: a
factor that is not finite, or a pivot that is not positive (on a singular start: a rank that
fell, or an entry that is not finite). Beside them, the share of paths that
Euler–Maruyama on V loses for good, and the share of the projecting baseline's steps that
left the cone and were pushed back.
"""

import argparse

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde.matrices import Lower, factorise

STEPS = {1 / 5: 40, 1 / 20: 40, 1 / 200: 100}  # number of steps of each length
MAX_STEPS = max(STEPS.values()) + 1  # one more, should the last be cut by rounding

ACTIVATIONS = {
    "ReLU": covsde.ShapedReLU(0.0, -1.0),
    # φ₂ and φ₃ both act, and the norm does not explode (κ < 0)
    "SiLU": covsde.ShapedSmooth(jax.nn.silu, 1.0, 0.6),
}


def ill_conditioned(m: int, condition: float) -> np.ndarray:
    """A correlation matrix of about this condition number, in no special basis."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(m, m)))
    v = (rotation * np.geomspace(1.0, 1 / condition, m)) @ rotation.T
    scale = 1 / np.sqrt(np.diag(v))
    return v * scale[:, None] * scale[None, :]


def equicorrelated(m: int, gap: float) -> np.ndarray:
    """All correlations equal to `1 − gap`."""
    return (1 - gap) * np.ones((m, m)) + gap * np.eye(m)


def duplicates() -> np.ndarray:
    """Four inputs, two of them equal."""
    x = np.random.default_rng(1).normal(size=(4, 9))
    x[2] = x[0]
    return x @ x.T / 9


def rank_one() -> np.ndarray:
    """Four multiples of one input."""
    x = np.array([1.0, -0.5, 2.0, 0.7])
    return np.outer(x, x)


STARTS = {
    "condition 1e8, m=8": ill_conditioned(8, 1e8),
    "condition 1e12, m=4": ill_conditioned(4, 1e12),
    "all ρ = .99, m=4": equicorrelated(4, 1e-2),
    "all ρ = 1−1e-10, m=4": equicorrelated(4, 1e-10),
    "duplicate inputs, m=4": duplicates(),
    "rank 1, m=4": rank_one(),
}


@eqx.filter_jit
def lost_steps(limit, solver, v0, h, steps, num_paths, key, regular):
    """Path-steps, of `num_paths · steps`, after which the factor is no longer one."""
    cells = 2 * MAX_STEPS
    fine = jnp.arange(cells + 1) * (h / 2)
    ts = fine if solver.cells_per_step == 2 else jnp.arange(MAX_STEPS + 1) * h
    m = v0.shape[-1]
    path = covsde.BrownianGrid(ts, m, key=key, num_paths=num_paths)
    start = factorise(jnp.broadcast_to(v0, (num_paths, m, m))).as_invertible(regular)
    rank = jnp.sum(start.diagonal() != 0, axis=start.row_axis())

    def lost(t, y: Lower, args):
        pivots = jnp.abs(y.diagonal())
        finite = jnp.isfinite(jnp.sum(y.squared_rows(), axis=y.row_axis()))
        held = finite & (jnp.sum(pivots > 0, axis=y.row_axis()) >= rank)
        return jnp.sum(~held) * 1.0

    solution = diffrax.diffeqsolve(
        limit.terms(path),
        solver,
        t0=0.0,
        t1=steps * h,
        dt0=h,
        y0=start,
        saveat=diffrax.SaveAt(steps=True, fn=lost),
        max_steps=MAX_STEPS,
    )
    return jnp.sum(jnp.where(jnp.isfinite(solution.ts), solution.ys, 0))


def baselines(limit, v0, h, steps, num_paths, key):
    """Share of paths Euler–Maruyama loses, and of steps the projecting baseline mends."""

    def run(solver):
        return covsde.solve(
            limit, v0, steps * h, key=key, num_paths=num_paths, dt0=h, solver=solver
        )

    lost = np.nan  # a singular start is refused
    if not bool(factorise(v0).is_singular()):
        euler = run(diffrax.Euler())
        # a path is lost when it stops or, at its last step, when V has left the cone
        outside = np.linalg.eigvalsh(np.asarray(euler.vs[:, -1])).min(axis=-1) < 0
        lost = np.mean(np.isfinite(euler.stopped_at) | outside)
    projected = run(covsde.ProjectedEuler())
    return lost, float(jnp.mean(projected.projections)) / steps


def table(starts, num_paths: int, baseline_paths: int, key):
    """Rows `(start, activation, h, path-steps, lost, lost, Euler, projected)`."""
    for start, v0 in starts.items():
        v0 = jnp.asarray(v0)
        regular = not bool(factorise(v0).is_singular())
        for name, activation in ACTIVATIONS.items():
            limit = covsde.ShapedMLP(activation)
            for h, steps in STEPS.items():
                lost = [
                    int(lost_steps(limit, solver, v0, h, steps, num_paths, key, regular))
                    for solver in (covsde.GeodesicStrang(), covsde.PalindromicStrang())
                ]
                euler, projected = baselines(limit, v0, h, steps, baseline_paths, key)
                yield start, name, h, num_paths * steps, *lost, euler, projected


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=25_000, help="paths per run")
    parser.add_argument("--starts", nargs="*", default=list(STARTS), choices=STARTS)
    arguments = parser.parse_args()
    print(
        f"{'start':23}{'drift':6}{'h':>7}{'path-steps':>12}{'geodesic':>10}"
        f"{'palindromic':>13}{'Euler: paths lost':>20}{'steps projected':>17}"
    )
    print(f"{'':48}{'lost':>10}{'lost':>13}")
    total = np.zeros(2, int)
    starts = {name: STARTS[name] for name in arguments.starts}
    for row in table(starts, arguments.paths, 2_000, jax.random.key(0)):
        start, name, h, path_steps, geodesic, palindromic, euler, projected = row
        total += geodesic, palindromic
        print(
            f"{start:23}{name:6}{h:7.3f}{path_steps:12,}{geodesic:10}{palindromic:13}"
            f"{euler:20.1%}{projected:17.1%}",
            flush=True,
        )
    print(f"lost in all: geodesic {total[0]}, palindromic {total[1]}")


if __name__ == "__main__":
    main()
