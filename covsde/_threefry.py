"""Threefry-2x32, the counter-based generator of random bits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry_2x32(
    key: UInt32[Array, "2 *batch"],
    first: UInt32[Array, "..."],
    second: UInt32[Array, "..."],
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """A block of 64 random bits, for a key and each counter of two words.

    Bit for bit that of `jax.extend.random.threefry_2x32`, whose loop over rounds XLA on CPU
    does not unroll: it takes three times as long.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    x, y = first + keys[0], second + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << rotation) | (y >> (32 - rotation)))
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return x, y


def fold_in(key: PRNGKeyArray, number: Array) -> UInt32[Array, "2 *batch"]:
    """The words of `jax.random.fold_in(key, number)`, without a loop, for each number."""
    words = jax.random.key_data(key)
    number = jnp.asarray(number).astype(jnp.uint32)
    return jnp.stack(threefry_2x32(words, jnp.zeros_like(number), number))
