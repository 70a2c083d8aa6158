"""Finite networks sampled without drawing their weights: exact in law, compiled.

Given `x`, the columns of `x Wᵀ` are independent draws of N(0, x xᵀ), so a layer costs as
many normals as it has features, and not weights.
"""

import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from .._jit import jit
from .._normals import independent_normals
from ..matrices import factorise
from ._freezing import Frozen
from ._network import AbstractNetwork, Weights, product

# Normals alive at once: few enough to stay in cache, enough to fill a processor.
_NORMALS = 2**18


def chunk_size(width: int, m: int) -> int:
    """Networks to run together."""
    return max(1, _NORMALS // (m * max(width, m)))


@jit
def run(
    network: AbstractNetwork,
    v0: Float[Array, "networks m m"],
    stops: Int[Array, " stops"],
    level: Scalar,
    key: PRNGKeyArray,
    indices: Int[Array, " networks"],
) -> tuple[Float[Array, "networks stops m m"], Float[Array, " networks"]]:
    """Covariances at the layers `stops`, and the times at which networks were stopped.

    Network `i` has normals of its own, found by counting, of the key `fold_in(key, l)` in
    layer `l`.
    """

    def layer(l: Array, now: tuple[Frozen, Array]) -> tuple[Frozen, Array]:
        state, hidden = now
        before, time = jnp.asarray([l - 1, l], v0.dtype) / network.layers_per_time
        hidden = network.layer(
            before, hidden, _weights(jax.random.fold_in(key, l), indices)
        )
        return state.advance_hidden(hidden, time, level)

    def to_next_stop(now: tuple[Frozen, Array], ends: tuple[Array, Array]):
        now = lax.fori_loop(ends[0] + 1, ends[1] + 1, layer, now)
        return now, now[0].v

    # the first layer stands alone: its inputs need not be as wide as what follows
    before = network.inputs(v0, _weights(jax.random.fold_in(key, 0), indices))
    first = layer(jnp.asarray(1), (Frozen(v0), before))
    starts = jnp.concatenate([jnp.ones_like(stops[:1]), stops[:-1]])
    starts = jnp.maximum(starts, 1)
    (state, _), vs = lax.scan(to_next_stop, first, (starts, stops))
    at_start = (stops == 0)[:, None, None, None]
    vs = jnp.where(at_start, v0[None], vs)
    return jnp.moveaxis(vs, 0, 1), state.stopped_at


def _weights(key: PRNGKeyArray, indices: Int[Array, " networks"]) -> Weights:
    calls = itertools.count()

    def weights(x: Array, fan_out: int) -> Array:
        fresh, m = jax.random.fold_in(key, next(calls)), x.shape[-2]
        normals = independent_normals(fresh, m * fan_out, indices, x.dtype)
        normals = normals.T.reshape(-1, m, fan_out)
        root = factorise(product(x, jnp.swapaxes(x, -1, -2))).to_dense()
        return product(root, normals)

    return weights
