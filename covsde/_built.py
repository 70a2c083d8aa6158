"""What an immutable module makes of its parameters, built once for each module; and how it
is asked for more of it."""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from ._checks import is_concrete

# Parts that are kept, beside their modules, by these and what made them: those that were
# built last. Not in the modules, whose trees would differ by what has been asked of them.
_MOST_KEPT = 64
_kept: dict[tuple[int, Callable], tuple[Any, Any]] = {}
_changing = threading.Lock()

_F = TypeVar("_F", bound=Callable)


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
        self._make = make

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        if module is None:
            return self
        key = id(module), self._make
        if (found := _kept.get(key)) is not None:
            return found[1]
        if not is_concrete(module):
            return self._make(module)
        with jax.ensure_compile_time_eval():
            made = self._make(module)
        if not is_concrete(made):
            return made
        with _changing:
            _kept[key] = module, made
            while len(_kept) > _MOST_KEPT:
                del _kept[next(iter(_kept))]
        return made


class _Plain:
    """A method as Python binds it."""

    def __init__(self, method: Callable):
        functools.update_wrapper(self, method)
        self._method = method

    def __get__(self, module: Any, owner: type | None = None) -> Any:
        return self if module is None else functools.partial(self._method, module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._method(*args, **kwargs)


def plain(method: _F) -> _F:
    """A method that a plan calls: it is no tree.

    Of any other that is looked up Equinox makes a module, in more time than these take.
    """
    return cast(_F, _Plain(method))
