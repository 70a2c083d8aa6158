"""What an immutable module makes of its parameters, built once for each module."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from ._checks import is_concrete

# Parts of modules that are kept: those of the last ones that were asked.
_KEPT = 64


class Built(property):
    """A property of a module that is kept for a while, for modules never change.

    What is known only within a trace ends with it, and is made anew.
    """

    def __init__(self, make: Callable):
        """**Arguments:**

        - `make`: the property's function of the module.
        """
        super().__init__(make)
        self.__doc__ = make.__doc__

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        if module is None:
            return self
        if not is_concrete(module):
            return super().__get__(module, owner)
        return _built(_Same(module), self.fget)


class _Same:
    """A module that is equal to itself alone: arrays have no hash."""

    __slots__ = ("module",)

    def __init__(self, module: Any):
        self.module = module

    def __hash__(self) -> int:
        return id(self.module)

    def __eq__(self, other: Any) -> bool:
        return self.module is other.module


@functools.lru_cache(maxsize=_KEPT)
def _built(same: _Same, make: Callable) -> Any:
    with jax.ensure_compile_time_eval():
        return make(same.module)
