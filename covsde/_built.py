"""What an immutable module makes of its parameters, built once for each module."""

from collections.abc import Callable
from typing import Any

import jax

from ._checks import is_concrete


class Built(property):
    """A property of a module that is kept, for modules never change.

    What is known only within a trace ends with it, and is made anew.
    """

    def __init__(self, make: Callable):
        """**Arguments:**

        - `make`: the property's function of the module.
        """
        super().__init__(make)
        self.__doc__ = make.__doc__
        # no field of the module, so that a copy with other parameters makes it anew
        self._name = f"{make.__module__}.{make.__qualname__}"

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        if module is None:
            return self
        kept = vars(module)
        if self._name in kept:
            return kept[self._name]
        if not is_concrete(module):
            return super().__get__(module, owner)
        with jax.ensure_compile_time_eval():
            made = super().__get__(module, owner)
        if is_concrete(made):
            kept[self._name] = made
        return made
