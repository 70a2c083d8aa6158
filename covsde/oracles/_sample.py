"""One call from a limit to samples of its finite network."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import count, found, is_concrete
from .._devices import devices_for, shared
from .._problem import Problem, check_problem, in_dtype
from .._range import check_norms
from ..limits import AbstractLimit
from ..solution import Solution, solution_of
from . import _gram, _weights
from ._network import AbstractNetwork, finite_network

_METHODS = {"gram": _gram, "weights": _weights}
# Neurons and layers that an int32 can count.
_MOST = 2**31 - 1


def sample(
    limit: AbstractLimit,
    v0: Float[Array, "m m"] | Float[Array, "num_networks m m"],
    t1: float,
    *,
    width: int,
    key: PRNGKeyArray,
    num_networks: int,
    method: str = "gram",
    saveat: Float[Array, " k"] | None = None,
    stop_above: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Solution:
    """Samples the covariances of finite random networks.

    **Arguments:**

    - `limit`: the limit whose networks to sample, e.g. `ShapedMLP(ShapedReLU(0.0, -1.0))`.
    - `v0`: covariance of the inputs, one for all networks or one for each; symmetric
      positive semi-definite with positive diagonal. `covsde.gram(x)` makes it from inputs.
    - `t1`: depth over width; the networks have `round(t1 · width)` layers.
    - `width`: neurons of each hidden layer.
    - `key`: a JAX random key. Network i depends on it and on i alone.
    - `num_networks`: number of independent networks.
    - `method`: `"weights"` draws every weight of every layer, which costs `width²`
      normals a layer and is the one to trust; `"gram"` draws the covariances from the
      same law, with `m · width` normals a layer.
    - `saveat`: increasing times in `[0, t1]` to save, each rounded to the nearest layer;
      None saves the last layer only.
    - `stop_above`: a network is frozen, and its time recorded, at its first layer where
      `tr V/m` exceeds this level. One that overflows is frozen at its last finite layer.
    - `progress`: called with the number of networks done and in all, now and then.

    **Returns:** a [`covsde.Solution`][] whose `ts` are the times `l/width` of the saved
    layers; its arrays have the dtype of `v0`. With `"weights"` the weights are float32
    numbers, and all that is computed from them has the dtype of `v0`. Of an
    [`covsde.UnshapedMLP`][] it is a [`covsde.UnshapedSolution`][].

    **Raises:** `ValueError` or `TypeError`, before anything is compiled or drawn, for
    input that has no meaning, or a limit that has no finite network.
    """
    problem = check_problem(
        limit,
        v0,
        t1,
        key=key,
        num_paths=num_networks,
        saveat=saveat,
        stop_above=stop_above,
        paths_name="num_networks",
    )
    if not is_concrete(problem):
        raise TypeError(
            "`oracles.sample` runs a loop on the host and cannot be traced by JAX. Call "
            "it outside `jit`, `grad` and `vmap`."
        )
    width = count("width", width, "It is the number of neurons of a hidden layer.")
    check_method(method)
    if progress is not None and not callable(progress):
        raise TypeError(
            f"`progress` must be a function of two integers, done and total; got "
            f"{found(progress)}. None reports nothing."
        )
    return sampled(problem, network_of(limit, width, problem.v0.dtype), method, progress)


def network_of(limit: AbstractLimit, width: int, dtype) -> AbstractNetwork:
    """The finite network of a limit, with its parameters in the dtype of `v0`."""
    if width > _MOST:
        raise ValueError(
            f"`width` must be at most 2^31 − 1, for so many neurons are counted; got "
            f"{width}. Pass a smaller one."
        )
    return in_dtype(finite_network(limit, width), dtype)


def sampled(
    problem: Problem,
    network: AbstractNetwork,
    method: str,
    progress: Callable[[int, int], None] | None = None,
) -> Solution:
    """Networks of a checked problem, as many as it has paths."""
    layers, depth = layers_of(problem, network)
    vs, stopped_at = _in_chunks(method, network, problem, layers, depth, progress)
    return solution_of(
        ts=jax.device_put((layers / network.layers_per_time).astype(problem.v0.dtype)),
        vs=network.read(vs),
        stopped_at=stopped_at,
        limit=problem.limit,
        key=problem.key,
        width=network.width,
        method=method,
    )


def check_method(method) -> None:
    """Refuses what is no way to sample."""
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(
            f'`method` must be "gram" or "weights"; got {found(method)}. "gram" is fast '
            'and has the same law as "weights".'
        )


def layers_of(problem: Problem, network: AbstractNetwork) -> tuple[np.ndarray, int]:
    """The layers to save and the last; refuses times of none, or that leave the floats."""
    t1, number = problem.t1, problem.num_paths
    layers = layer_numbers(problem.save_times, t1, network.layers_per_time)
    check_norms(problem.limit, problem.v0, t1, problem.level, number, "networks")
    return layers


def layer_numbers(
    save_times: np.ndarray, t1: float, per_time: int
) -> tuple[np.ndarray, int]:
    """The layers nearest to the times to save, and the last layer."""
    if t1 * per_time > _MOST:
        raise ValueError(
            "`t1` must take at most 2^31 − 1 layers, as many as are counted; got t1 = "
            f"{t1:g}, with {per_time} layers in a unit of time. Pass a shorter `t1`."
        )
    depth = round(t1 * per_time)
    if depth < 1:
        raise ValueError(
            f"`t1` must be long enough for a layer: a unit of time has {per_time} layers "
            f"at this width; got t1 = {t1:g}, which rounds to no layer. Pass `t1` of at "
            f"least {1 / per_time:g}, or a larger width."
        )
    layers = np.rint(save_times * per_time).astype(int)
    twice = np.flatnonzero(np.diff(layers) == 0)
    if twice.size:
        first, second = save_times[twice[0] : twice[0] + 2]
        raise ValueError(
            "`saveat` must ask for each layer once: times are rounded to layers "
            f"l/{per_time}; got {first:g} and {second:g}, both layer {layers[twice[0]]}. "
            f"Space them by at least {1 / per_time:g}."
        )
    return layers, depth


def _in_chunks(
    method, network, problem, layers: np.ndarray, depth: int, progress
) -> tuple[Array, Array]:
    sampler = _METHODS[method]
    total, m = problem.num_paths, problem.m
    # chunks of equal size, so that one compilation serves all
    chunks = -(-total // sampler.chunk_size(network.width, m))
    size = -(-total // chunks)
    # NumPy's numbers around the program, for JAX would compile each operation on them
    stops, v0s = np.union1d(layers, depth), np.asarray(problem.v0)
    level = v0s.dtype.type(problem.level)
    devices = min(chunks, devices_for((network, problem.v0, problem.key)))

    def call(start: int):
        # the last chunk is filled up with copies, which are dropped
        indices = np.minimum(np.arange(start, start + size), total - 1)
        some = v0s[indices] if v0s.ndim == 3 else np.broadcast_to(v0s, (size, m, m))
        given = jax.device_put((some, stops, level, problem.key, indices))
        return sampler.run(network, *given)

    vs, stopped_at, starts = [], [], range(0, total, size)
    for start, (v, stopped) in zip(starts, shared(call, starts, devices), strict=True):
        end = min(start + size, total)
        vs.append(v[: end - start, : layers.size])
        stopped_at.append(stopped[: end - start])
        if progress is not None:
            progress(end, total)
    return jax.device_put((np.concatenate(vs), np.concatenate(stopped_at)))
