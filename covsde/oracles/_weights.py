"""Finite networks sampled with every weight of every layer, drawn on the host."""

from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from .._devices import host_threads
from .._threads import processors
from ._freezing import Frozen
from ._network import AbstractNetwork
from ._normals import NormalStream

# Weights drawn at once by one thread: they fit the processor's cache.
_BLOCK = 2**16
# Weights in one layer of a chunk: enough work to hide what starting a layer costs.
_WEIGHTS = 2**21


def chunk_size(width: int, m: int) -> int:
    """Networks to run together."""
    return max(processors(), _WEIGHTS // (width * max(width, m)))


class Weights:
    """Products with fresh literal weights, for a chunk of networks.

    The weights are float32 numbers; the products are made in the precision of `x`, so
    that equal inputs stay equal and singular covariances singular.
    """

    def __init__(self, streams: list[NormalStream], pool: ThreadPoolExecutor):
        self._streams = streams
        self._pool = pool

    def __call__(self, x: Array, fan_out: int) -> Array:
        """`x Wᵀ`, `(networks, m, fan_out)`, with N(0, 1) weights `W`, fresh each call."""
        rows = np.ascontiguousarray(x)
        out = np.empty((*rows.shape[:-1], fan_out), rows.dtype)
        parts = np.array_split(np.arange(len(rows)), host_threads())
        list(self._pool.map(lambda part: self._multiply(part, rows, out), parts))
        return jnp.asarray(out)

    def _multiply(self, part: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
        fan_out, fan_in = out.shape[-1], x.shape[-1]
        rows = min(fan_out, max(1, _BLOCK // fan_in))
        drawn = np.empty(rows * fan_in, x.dtype)
        for i in part:
            for start in range(0, fan_out, rows):
                end = min(start + rows, fan_out)
                weights = drawn[: (end - start) * fan_in]
                self._streams[i].fill(weights)
                w = weights.reshape(1, -1, fan_in)
                # not a matrix product: BLAS would start threads within these threads
                np.vecdot(w, x[i, :, None], out=out[i, :, start:end])


def run(
    network: AbstractNetwork,
    v0: Float[Array, "networks m m"],
    stops: Int[Array, " stops"],
    level: Scalar,
    key: PRNGKeyArray,
    indices: Int[Array, " networks"],
) -> tuple[Float[Array, "networks stops m m"], Float[Array, " networks"]]:
    """Covariances at the layers `stops`, and the times at which networks were stopped.

    Network `i` draws from a stream seeded by the key and `i`.
    """
    words = np.asarray(jax.random.key_data(key)).tolist()
    streams = [NormalStream((*words, i)) for i in np.asarray(indices).tolist()]
    layers = np.asarray(stops).tolist()
    state = Frozen(v0)
    saved = [v0] if layers[0] == 0 else []
    with ThreadPoolExecutor(host_threads()) as pool:
        weights = Weights(streams, pool)
        hidden = network.inputs(v0, weights)
        for l in range(1, layers[-1] + 1):
            before, time = jnp.asarray([l - 1, l], v0.dtype) / network.layers_per_time
            hidden = network.layer(before, hidden, weights)
            state, hidden = _advance(state, hidden, time, level)
            if l in layers:
                saved.append(state.v)
    return jnp.stack(saved, axis=1), state.stopped_at


@eqx.filter_jit
def _advance(state: Frozen, hidden: Array, time: Scalar, level: Scalar):
    return state.advance_hidden(hidden, time, level)
