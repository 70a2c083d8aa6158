"""What a result depends on, in words and digests: whether two runs are of one ensemble."""

import hashlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._names import full_name
from ..solve import Run, paths_at_a_time
from ._program import observe
from ._survey import Survey

Recipe = dict[str, str]


def recipe(
    run: Run, survey: Survey, num_paths: int, dt0: float | None, whole: bool
) -> Recipe:
    """Each argument in words; told apart by a digest where words do not suffice.

    A last part, `program`, is a digest of what is computed, functions of the user included.
    It takes a moment, and is left out where the ensemble is `whole`.
    """
    limit = jax.tree.leaves(eqx.filter(run.limit, eqx.is_array))
    observables = jax.tree.leaves(eqx.filter(survey.observables, eqx.is_array))
    level, step = ("None" if x is None else f"{float(x):.9g}" for x in (run.level, dt0))
    parts = {
        "limit": f"{full_name(run.limit)} {digest(*limit)}",
        "v0": f"{run.v0.shape} {run.v0.dtype} {digest(run.v0)}",
        "t1": f"{float(run.steps[-1]):.9g}",
        "num_paths": str(num_paths),
        "key": str(np.asarray(jax.random.key_data(run.key)).tolist()),
        "saveat": f"{run.num_saved} times to {float(run.ts[-1]):.9g} {digest(run.ts)}",
        "dt0": f"{step} {digest(run.steps)}",
        "solver": full_name(run.solver),
        "stop_above": level,
        "normals": run.normals,
        "observables": f"{', '.join(survey.names)} {digest(*observables)}",
        "statistics": ", ".join(full_name(one) for one in survey.statistics),
    }
    return parts if whole else parts | {"program": _program(run, survey)}


def digest(*arrays) -> str:
    """Sixteen digits that tell arrays apart."""
    hashed = hashlib.sha256()
    for x in map(np.asarray, arrays):
        hashed.update(f"{x.shape}{x.dtype}".encode() + np.ascontiguousarray(x).tobytes())
    return hashed.hexdigest()[:16]


def _program(run: Run, survey: Survey) -> str:
    """A digest of one block of paths and its tally, as JAX traces it."""
    arrays, static = eqx.partition((run, survey), eqx.is_array)
    block = paths_at_a_time(run.m)

    def one_block(arrays, first):
        run, survey = eqx.combine(arrays, static)
        values, _, running = observe(run, survey, first, 0, block)
        real = jnp.ones(block, bool)
        return survey.update(survey.start(run.num_saved), values, real, running)

    traced = jax.make_jaxpr(one_block)(arrays, jnp.uint32(0))
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))  # where functions lie in memory
    return digest(np.frombuffer(text.encode(), np.uint8), *traced.consts)


def differences(one: Recipe, other: Recipe) -> str:
    """What differs, in words: `` `num_paths` is 10 here and 20 there``."""
    parts = []
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if a == b or (name == "program" and parts):  # it follows from the others
            continue
        if name == "program":
            parts.append(
                "a function of the limit or of an observable computes other things"
            )
        else:
            a, b = _told_apart(a, b)
            parts.append(f"`{name}` is {a} here and {b} there")
    return "; ".join(parts)


def _told_apart(a: str | None, b: str | None) -> tuple[str, str]:
    """Without their digests, where they are different without."""
    short = [re.sub(r" [0-9a-f]{16}$", "", str(x)) for x in (a, b)]
    return (short[0], short[1]) if short[0] != short[1] else (str(a), str(b))
