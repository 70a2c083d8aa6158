"""Standard normals by counting: each belongs to a key, a path and an entry.

A block of Threefry gives 64 random bits. By Box and Muller's formula they make two
normals, 32 bits for the radius and 32 for the angle; by the inverse of the distribution
function they make one. The first is five times as fast on a CPU. Its largest normal is
6.7, beyond which there is 2e-11 of the law.

Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3"; Box, Muller
(1958), "A note on the generation of random normal deviates".
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from ._checks import found
from ._polynomials import polynomial
from ._threefry import threefry_2x32
from .matrices import apart

Normals = Literal["box-muller", "inverse"]


def check_normals(normals) -> Normals:
    """Refuses what names no way to make normals."""
    if not isinstance(normals, str) or normals not in get_args(Normals):
        raise ValueError(
            f'`normals` must be "box-muller" or "inverse"; got {found(normals)}. '
            '"box-muller" is the faster.'
        )
    return normals  # pyright: ignore[reportReturnType]


def independent_normals(
    key: PRNGKeyArray,
    entries: int,
    paths: Array | None,
    dtype,
    normals: Normals = "box-muller",
    deviation: Array | float = 1.0,
) -> Float[Array, "entries *batch"]:
    """Independent normals of mean 0 and this standard deviation, `entries` for each path.

    `paths` are global indices `(num_paths,)`, or None for a single matrix; path `i` gets
    the same normals whichever other paths it is drawn with. `key` and `deviation` are one
    for all paths, or one for each: words `(2, num_paths)` and `(num_paths,)`.
    """
    index = jnp.zeros((1,), jnp.uint32) if paths is None else paths.astype(jnp.uint32)
    deviation = jnp.asarray(deviation, dtype)
    if deviation.ndim:
        deviation = deviation[None]
    if normals == "box-muller":
        bits = _bits(key, -(-entries // 2), index, dtype)
        z = _turned(_radius(bits, deviation), bits, entries)
    else:
        z = _inverse(_bits(key, entries, index, dtype), deviation)
    return z[:, 0] if paths is None else z


def independent_uniforms(key: Array, paths: Array, dtype) -> Float[Array, " num_paths"]:
    """Independent numbers of (0, 1), one for each path; `key` as for the normals."""
    bits = _bits(key, 1, paths.astype(jnp.uint32), dtype)
    return (_high(bits)[0].astype(dtype) + 0.5) * 2.0**-32


# 64 random bits: one word in float64, two in float32, which may have no longer ones
_Bits = Array | tuple[Array, Array]


def _bits(key: PRNGKeyArray, blocks: int, index: Array, dtype) -> _Bits:
    """Random bits, `(blocks, num_paths)` of them."""
    words = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
    if words.ndim > 1:
        words = words[:, None]
    draw = _block if dtype == jnp.float64 else _halves
    return draw(words, blocks, index)


def _high(bits: _Bits) -> Array:
    return bits[0] if isinstance(bits, tuple) else (bits >> 32).astype(jnp.uint32)


def _low(bits: _Bits) -> Array:
    return bits[1] if isinstance(bits, tuple) else bits.astype(jnp.uint32)


def _halves(key: Array, blocks: int, index: Array) -> tuple[Array, Array]:
    shape = (blocks, index.shape[0])
    path = jnp.broadcast_to(index[None], shape)
    block = jnp.broadcast_to(jnp.arange(blocks, dtype=jnp.uint32)[:, None], shape)
    return threefry_2x32(key, path, block)


@apart
def _block(key: Array, blocks: int, index: Array) -> Array:
    """Both halves in one word, lest XLA makes all rounds for each of them."""
    high, low = _halves(key, blocks, index)
    return (high.astype(jnp.uint64) << 32) | low.astype(jnp.uint64)


# of sin(πx/2)/x in powers of x², to rounding on [−1, 1]
_SINE = [
    (-1) ** k * (math.pi / 2) ** n / math.factorial(n)
    for k, n in enumerate(range(1, 23, 2))
]


# Box and Muller's normals: R cos φ and R sin φ of each block, those of cosines first


@apart
def _radius(bits: _Bits, deviation: Array) -> Array:
    """`R = √(−2 log u)`, times the standard deviation."""
    uniform = (_high(bits).astype(deviation.dtype) + 0.5) * 2.0**-32
    log = _log(uniform) if uniform.dtype == jnp.float64 else jnp.log(uniform)
    return deviation * jnp.sqrt(-2 * log)


# of 2 artanh(s)/s in powers of s², to rounding for |s| ≤ 3 − 2√2
_ARTANH = [2 / n for n in range(1, 21, 2)]

# the bits of √½, and how many a float64 has for its mantissa
_ROOT_HALF, _MANTISSA = 0x3FE6A09E667F3BCD, 52


def _log(x: Array) -> Array:
    """`log x` of positive float64, in a third of the time that XLA on CPU takes.

    With `x = 2^k z`, `√½ ≤ z < √2`, it is `k log 2 + 2 artanh((z − 1)/(z + 1))`.
    """
    above = lax.bitcast_convert_type(x, jnp.int64) - _ROOT_HALF
    power = (above >> _MANTISSA).astype(jnp.int32).astype(x.dtype)
    z = lax.bitcast_convert_type((above & (2**_MANTISSA - 1)) + _ROOT_HALF, x.dtype)
    s = (z - 1) / (z + 1)
    return power * math.log(2) + s * polynomial(_ARTANH, s * s)


@apart
def _turned(radius: Array, bits: _Bits, entries: int) -> Array:
    """The cosine has a sign of its own, so that `|φ| < π/2`."""
    low = _low(bits)
    # signed, for which processors have an instruction
    half = (low >> 1).astype(jnp.int32)
    x = (half.astype(radius.dtype) + 0.5) * 2.0**-30 - 1  # 2φ/π
    sign = jnp.where(low & 1 == 1, 1.0, -1.0).astype(radius.dtype)
    rest = entries - radius.shape[0]
    return jnp.concatenate(
        [radius * (sign * _sine(1 - jnp.abs(x))), (radius * _sine(x))[:rest]]
    )


def _sine(x: Array) -> Array:
    """`sin(πx/2)` for `|x| ≤ 1`."""
    return x * polynomial(_SINE, x * x)


@apart
def _inverse(bits: _Bits, deviation: Array) -> Array:
    """A normal from 64 random bits (52 used) or, in float32, from 23 of them."""
    if isinstance(bits, tuple):
        uniform = (_high(bits) >> 9).astype(deviation.dtype)
        uniform = (uniform + 0.5) * 2.0**-22 - 1
    else:
        uniform = ((bits >> 12).astype(deviation.dtype) + 0.5) * 2.0**-51 - 1
    return deviation * (math.sqrt(2) * lax.erf_inv(uniform))
