"""A grid of steps that all paths share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..matrices import apart
from ._stepper import Carry, Stepper

# States of a part of the paths that are kept for its derivative in reverse mode.
_STATES_KEPT = 256

# Steps that are passed over at once, where there is room for more than are taken.
_AT_ONCE = 16

# Of what is recomputed within a loop nothing can be common with what was computed.
recomputed = partial(jax.checkpoint, prevent_cse=False)


def where_wanted(wanted: Callable[[Any], Array], f: Callable) -> Callable:
    """`f` of what is wanted; of all else zeros, for nothing."""
    f = jax.jit(f, inline=True)  # traced once, for its shapes too

    def only(x: Any) -> Any:
        told = jax.eval_shape(f, x)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), told)
        return lax.cond(wanted(x), f, lambda _: nothing, x)

    return only


def by_grid(
    stepper: Stepper,
    start: Any,
    steps: Float[Array, " steps+1"],
    save_times: Float[Array, " k"],
    num_steps: Array | None = None,
) -> tuple[tuple[Any, dict[str, Array]], Carry]:
    """States and functionals at the times to save, and all that is known at the end.

    Diffrax's solvers are stepped by hand, because its loops are differentiated in reverse
    or in forward mode, and this one in both. Backwards a step is computed again from its
    state, and the states of a block of steps from that before it. Of `steps` whose number
    is data, `num_steps`, the rest takes a microsecond for each block.
    """
    count = -(-(steps.size - 1) // _STATES_KEPT)
    size = -(-(steps.size - 1) // count)
    padding = count * size - (steps.size - 1)

    @recomputed
    def advance(carry, number, t0, t1):
        return stepper.step(carry, number, t0, t1, 0.0)

    # a branch would hand on all that it uses, constants too, to be kept for each step
    @recomputed
    def move(carry, number, t0, t1):
        # where no step is padding, too: XLA on CPU runs a branch faster than a bare body
        return lax.cond(t1 > t0, advance, lambda same, *_: same, carry, number, t0, t1)

    def save(saved, now, place):
        return jax.tree.map(
            lambda all, one: lax.dynamic_update_index_in_dim(all, one, place, 0), saved, now
        )

    @apart
    def step(carried, number):
        carry, saved = carried
        carry = move(carry, number, starts[number], ends[number])
        seen, at = (carry.y, carry.kept), place[number]
        return carry, lax.cond(at >= 0, save, lambda saved, *_: saved, saved, seen, at)

    def block(carried, numbers):
        return lax.scan(lambda *now: (step(*now), None), carried, numbers)[0], None

    ends = jnp.pad(steps[1:], (0, padding), mode="edge")
    starts = jnp.append(steps[0], ends[:-1])
    place = jnp.where(ends > starts, jnp.searchsorted(save_times, ends), -1)
    last = place != jnp.append(place[1:], -1)  # of the steps to each time
    place = jnp.where(last, place, -1)
    numbers = jnp.arange(ends.size, dtype=jnp.uint32)
    carry = stepper.start(start, steps[-1])
    saved = jax.tree.map(
        lambda x: jnp.repeat(x[None], save_times.size, axis=0), (carry.y, carry.kept)
    )
    if num_steps is not None:

        def some(now, numbers):
            return lax.cond(
                numbers[0] < num_steps, block, lambda *x: (x[0], None), now, numbers
            )

        # a loop whose length a program does not know takes 3 µs more a step
        (carry, saved), _ = lax.scan(some, (carry, saved), numbers.reshape(-1, _AT_ONCE))
    elif count == 1:
        (carry, saved), _ = block((carry, saved), numbers)
    else:
        blocks = numbers.reshape(count, size)
        (carry, saved), _ = lax.scan(recomputed(block), (carry, saved), blocks)
    return saved, carry
