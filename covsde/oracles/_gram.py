"""Finite networks sampled on the Gram level: exact in law, compiled."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from ._freezing import Frozen
from ._network import AbstractNetwork

# Normals alive at once: few enough to stay in cache, enough to fill a processor.
_NORMALS = 2**18


def chunk_size(width: int, m: int) -> int:
    """Networks to run together."""
    return max(1, _NORMALS // (m * max(width, m)))


@eqx.filter_jit
def run(
    network: AbstractNetwork,
    v0: Float[Array, "networks m m"],
    stops: Int[Array, " stops"],
    level: Scalar,
    key: PRNGKeyArray,
    indices: Int[Array, " networks"],
) -> tuple[Float[Array, "networks stops m m"], Float[Array, " networks"]]:
    """Covariances at the layers `stops`, and the times at which networks were stopped.

    Network `i` draws from `fold_in(fold_in(key, i), l)` in layer `l`.
    """
    keys = _fold_in(key, indices)

    def layer(l: Array, state: Frozen) -> Frozen:
        normals = _normals(_fold_in(keys, l), v0.dtype)
        return state.advance(network.gram_layer(state.v, normals), l / network.width, level)

    def to_next_stop(state: Frozen, ends: tuple[Array, Array]):
        state = lax.fori_loop(ends[0] + 1, ends[1] + 1, layer, state)
        return state, state.v

    starts = jnp.concatenate([jnp.zeros_like(stops[:1]), stops[:-1]])
    state, vs = lax.scan(to_next_stop, Frozen(v0), (starts, stops))
    return jnp.moveaxis(vs, 0, 1), state.stopped_at


def _fold_in(keys: PRNGKeyArray, data: Array) -> PRNGKeyArray:
    return jnp.vectorize(jax.random.fold_in)(keys, data)


def _normals(keys: PRNGKeyArray, dtype) -> Callable[[tuple[int, ...]], Array]:
    calls = iter(range(2**31))

    def normals(shape: tuple[int, ...]) -> Array:
        fresh = _fold_in(keys, jnp.asarray(next(calls)))
        return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(fresh)

    return normals
