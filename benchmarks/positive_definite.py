"""Positive definiteness: the share of steps that lose it, on starts made to break it.

`python -m benchmarks.positive_definite` prints, for each start, activation and step, the
number of path-steps of the default and the palindromic solver and how many were *lost*: a
factor that is not finite, or a pivot that is not positive (on a singular start: a rank that
fell, or an entry that is not finite). Beside them, the share of paths that
Euler–Maruyama on V loses for good, and the share of the projecting baseline's steps that
left the cone and were pushed back. Under attention and in Transformer blocks, whose V
explodes, paths run until `tr V/m` exceeds 15. Those that were below and became infinite
within one step are counted apart: no step is short enough for all of them.
"""

import argparse

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import covsde
from covsde.matrices import Lower, factorise
from covsde.states import size

# length and number of steps; arrays, so that one compilation serves all
STEPS = [(jnp.asarray(h), jnp.asarray(n)) for h, n in ((0.2, 40), (0.05, 40), (0.005, 100))]
MAX_STEPS = 101  # one more, should the last be cut by rounding

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


# limits whose noise depends on V, cold ones too
ATTENTION = {
    "attention γ=1, τ₀=1": covsde.ShapedAttention(1.0, 1.0),
    "attention γ=.5, τ₀=.1": covsde.ShapedAttention(0.5, 0.1),
    "attention γ=.3, τ₀=.05": covsde.ShapedAttention(0.3, 0.05),
    "4 heads, W^O, τ₀=.2": covsde.ShapedAttention(0.6, 0.2, 4, output_projection=True),
    "Transformer, τ₀=.3": covsde.ShapedTransformer(ACTIVATIONS["SiLU"], 0.7, 0.3),
}
LEVEL = 15.0


@eqx.filter_jit
def watched(limit, solver, v0, h, steps, num_paths, key, regular):
    """`tr V/m` at the start and after each step, and where the factor has not lost rank.

    Both are `(MAX_STEPS + 1, num_paths)`; last, which of these times there are.
    """
    cells = 2 * MAX_STEPS
    fine = jnp.arange(cells + 1) * (h / 2)
    ts = fine if solver.cells_per_step == 2 else jnp.arange(MAX_STEPS + 1) * h
    m = v0.shape[-1]
    noise_shape = limit.diffusion.noise_shape
    path = covsde.BrownianGrid(ts, m, key=key, num_paths=num_paths, noise_shape=noise_shape)
    start = factorise(jnp.broadcast_to(v0, (num_paths, m, m))).as_invertible(regular)
    rank = start.rank()

    def seen(t, y: Lower, args):
        return size(y), y.as_invertible(False).rank() >= rank

    solution = diffrax.diffeqsolve(
        limit.terms(path),
        solver,
        t0=0.0,
        t1=steps * h,
        dt0=h,
        y0=start,
        saveat=diffrax.SaveAt(t0=True, steps=True, fn=seen),
        max_steps=MAX_STEPS,
    )
    return *solution.ys, jnp.isfinite(solution.ts)[:, None]


def lost_steps(limit, solver, v0, h, steps, num_paths, key, regular):
    """Path-steps, of `num_paths · steps`, after which the factor is no longer one."""
    sizes, held, there = watched(limit, solver, v0, h, steps, num_paths, key, regular)
    return jnp.sum(there & ~(jnp.isfinite(sizes) & held))


def lost_under_attention(limit, v0, h, steps, num_paths, key, regular):
    """Path-steps before `LEVEL`, those that lost rank, and those to no finite state."""
    solver = covsde.NinomiyaNinomiya()
    sizes, held, there = watched(limit, solver, v0, h, steps, num_paths, key, regular)
    ran = there[1:] & (jnp.cumsum(~(sizes < LEVEL), axis=0)[:-1] == 0)
    finite = jnp.isfinite(sizes[1:])
    return jnp.sum(ran), jnp.sum(ran & finite & ~held[1:]), jnp.sum(ran & ~finite)


def attention_table(starts, num_paths: int, key):
    """Rows `(start, limit, h, path-steps, lost, exploded)`."""
    for start, v0 in starts.items():
        v0 = jnp.asarray(v0)
        regular = not bool(factorise(v0).is_singular())
        for name, limit in ATTENTION.items():
            for h, steps in STEPS:
                counts = lost_under_attention(limit, v0, h, steps, num_paths, key, regular)
                yield start, name, float(h), *map(int, counts)


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
        vs, stopped = np.asarray(euler.vs[:, -1]), np.isfinite(euler.stopped_at)
        outside = np.linalg.eigvalsh(vs[~stopped]).min(axis=-1) < 0
        lost = (np.sum(stopped) + np.sum(outside)) / num_paths
    projected = run(covsde.ProjectedEuler())
    return lost, float(jnp.mean(projected.projections)) / steps


def table(starts, num_paths: int, baseline_paths: int, key):
    """Rows `(start, activation, h, path-steps, lost, lost, Euler, projected)`."""
    for start, v0 in starts.items():
        v0 = jnp.asarray(v0)
        regular = not bool(factorise(v0).is_singular())
        for name, activation in ACTIVATIONS.items():
            limit = covsde.ShapedMLP(activation)
            for h, steps in STEPS:
                lost = [
                    int(lost_steps(limit, solver, v0, h, steps, num_paths, key, regular))
                    for solver in (covsde.GeodesicStrang(), covsde.PalindromicStrang())
                ]
                h, steps = float(h), int(steps)
                euler, projected = baselines(limit, v0, h, steps, baseline_paths, key)
                yield start, name, h, num_paths * steps, *lost, euler, projected


def print_mlp(starts, num_paths: int) -> None:
    """Shaped MLPs, beside the baselines."""
    print(
        f"{'start':23}{'drift':6}{'h':>7}{'path-steps':>12}{'geodesic':>10}"
        f"{'palindromic':>13}{'Euler: paths lost':>20}{'steps projected':>17}"
    )
    print(f"{'':48}{'lost':>10}{'lost':>13}")
    total = np.zeros(2, int)
    for row in table(starts, num_paths, 2_000, jax.random.key(0)):
        start, name, h, path_steps, geodesic, palindromic, euler, projected = row
        total += geodesic, palindromic
        print(
            f"{start:23}{name:6}{h:7.3f}{path_steps:12,}{geodesic:10}{palindromic:13}"
            f"{euler:20.1%}{projected:17.1%}",
            flush=True,
        )
    print(f"lost in all: geodesic {total[0]}, palindromic {total[1]}")


def print_attention(starts, num_paths: int) -> None:
    """Attention and Transformers."""
    print(f"{'start':23}{'limit':26}{'h':>7}{'path-steps':>12}{'lost':>6}{'exploded':>10}")
    counts = np.zeros(2, int)
    for row in attention_table(starts, num_paths, jax.random.key(1)):
        start, name, h, ran, lost, exploded = row
        counts += ran, lost
        print(f"{start:23}{name:26}{h:7.3f}{ran:12,}{lost:6}{exploded:10}", flush=True)
    print(f"lost in all: {counts[1]} of {counts[0]:,}")


TABLES = {"mlp": print_mlp, "attention": print_attention}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=25_000, help="paths per run")
    parser.add_argument("--starts", nargs="*", default=list(STARTS), choices=STARTS)
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES)
    arguments = parser.parse_args()
    starts = {name: STARTS[name] for name in arguments.starts}
    for name in arguments.tables:
        TABLES[name](starts, arguments.paths)
        print()


if __name__ == "__main__":
    main()
