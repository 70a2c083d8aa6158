"""Standard normals by counting: each belongs to a key, a path and an entry.

A block of Threefry gives 64 random bits. By Box and Muller's formula they make two
normals, 32 bits for the radius and 32 for the angle; by the inverse of the distribution
function they make one. The first is three times as fast. Its largest normal is 6.7, beyond
which there is 2e-11 of the law.

Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3"; Box, Muller
(1958), "A note on the generation of random normal deviates".
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, PRNGKeyArray

from ._polynomials import polynomial
from .matrices import materialise

Normals = Literal["box-muller", "inverse"]


def check_normals(normals) -> Normals:
    """Refuses what names no way to make normals."""
    if normals not in get_args(Normals):
        raise ValueError(
            f'`normals` must be "box-muller" or "inverse"; got {normals!r}. "box-muller" '
            "is the faster."
        )
    return normals


def standard_normals(
    key: PRNGKeyArray,
    entries: int,
    paths: Array | None,
    dtype,
    normals: Normals = "box-muller",
) -> Float[Array, "entries *batch"]:
    """Independent standard normals, `entries` for each path.

    `paths` are global indices `(num_paths,)`, or None for a single matrix; path `i` gets
    the same normals whichever other paths it is drawn with.
    """
    index = jnp.zeros((1,), jnp.uint32) if paths is None else paths.astype(jnp.uint32)
    if normals == "box-muller":
        high, low = _bits(key, -(-entries // 2), index)
        z = jnp.concatenate(_box_muller(high, low, dtype))[:entries]
    else:
        z = _inverse(*_bits(key, entries, index), dtype)
    z = materialise(z)
    return z[:, 0] if paths is None else z


def _bits(key: PRNGKeyArray, blocks: int, index: Array) -> tuple[Array, Array]:
    """Twice 32 random bits, `(blocks, num_paths)` of them."""
    shape = (blocks, index.shape[0])
    path = jnp.broadcast_to(index[None], shape)
    block = jnp.broadcast_to(jnp.arange(blocks, dtype=jnp.uint32)[:, None], shape)
    counters = jnp.concatenate([path.ravel(), block.ravel()])
    words = threefry_2x32(jax.random.key_data(key), counters).reshape(2, *shape)
    return words[0], words[1]


_QUARTER = math.pi / 4
# of sin(πx/4)/x and cos(πx/4) in powers of x², to rounding on [−1, 1]
_SINE = [(-1) ** k * _QUARTER**n / math.factorial(n) for k, n in enumerate(range(1, 17, 2))]
_COSINE = [
    (-1) ** k * _QUARTER**n / math.factorial(n) for k, n in enumerate(range(0, 18, 2))
]


def _box_muller(high: Array, low: Array, dtype) -> tuple[Array, Array]:
    """Two normals: radius `√(−2 log u)`, angle in one of four quarters."""
    uniform = (high.astype(dtype) + 0.5) * 2.0**-32
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    quarter, within = low >> 30, low & (2**30 - 1)
    x = (within.astype(dtype) + 0.5) * 2.0**-29 - 1
    sine, cosine = x * polynomial(_SINE, x * x), polynomial(_COSINE, x * x)
    odd = quarter % 2 == 1
    radius = jnp.where(quarter < 2, radius, -radius)
    return (
        radius * jnp.where(odd, -sine, cosine),
        radius * jnp.where(odd, cosine, sine),
    )


def _inverse(high: Array, low: Array, dtype) -> Array:
    """A normal from 64 random bits (52 used) or, in float32, from 23 of them."""
    if dtype == jnp.float64:
        bits = (high.astype(jnp.uint64) << 20) | (low.astype(jnp.uint64) >> 12)
        uniform = (bits.astype(dtype) + 0.5) * 2.0**-51 - 1
    else:
        uniform = ((high >> 9).astype(dtype) + 0.5) * 2.0**-22 - 1
    return math.sqrt(2) * lax.erf_inv(uniform)
