"""Running many networks with the memory of a few, each with normals of its own."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PRNGKeyArray, PyTree

from .._normals import independent_normals

# Normals alive at once: few enough to stay in cache, enough to fill a processor.
_MEMORY = 2**20
# Which normals of a key are these networks': none of a path's, nor of other networks'.
_APART = 2**32 - 2


def map_networks(
    one: Callable[..., PyTree],
    key: PRNGKeyArray,
    num_networks: int,
    shapes: list[tuple[int, ...]],
    dtype,
) -> PyTree:
    """`one(*normals)` for every network, stacked; as many at a time as memory allows.

    The normals are N(0, 1), one array for each of `shapes`. Network i has its own, found
    by counting, whatever the number of networks.
    """
    own = jax.random.fold_in(key, _APART)
    sizes = [math.prod(shape) for shape in shapes]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]

    def network(i):
        # one draw: each would be compiled by itself, which takes longer than to run it
        flat = independent_normals(own, ends[-1], i[None], dtype)[:, 0]
        parts = jnp.split(flat, ends[:-1])
        return one(
            *(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        )

    size = min(num_networks, max(1, _MEMORY // ends[-1]))
    chunks = -(-num_networks // size)
    # the last chunk is filled up with copies, which are dropped
    indices = jnp.minimum(jnp.arange(chunks * size), num_networks - 1)
    stacked = lax.map(jax.vmap(network), indices.reshape(chunks, size))
    return jax.tree.map(
        lambda x: x.reshape(chunks * size, *x.shape[2:])[:num_networks], stacked
    )
