"""Cores of the CPU: a device of JAX's is made of each, so that they share the paths."""

import os
from typing import Any, cast

import jax

from .._threads import processors
from ._errors import refuse


def use_cores(number: int | None) -> None:
    """Has JAX make so many devices of the CPU; None: one of each core, if it was told none.

    JAX that has started, in a program that calls this one, has the devices that it has.
    """
    most, config = processors(), cast(Any, jax.config)
    if number is None:
        told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if told or config.jax_num_cpu_devices > 0:
            return
    elif not 1 <= number <= most:
        raise refuse(
            "--cores",
            f"must be an integer of at least 1 and at most {most}, as many as there are "
            f"here; got {number}. Leave it out to use all of them.",
        )
    try:
        config.update("jax_num_cpu_devices", number or most)
    except RuntimeError:
        if number not in (None, jax.local_device_count()):
            raise
