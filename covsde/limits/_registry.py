"""What belongs to a limit, such as its finite network: found by the limit's type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable)


class Registry(Generic[P, R]):
    """A function whose first argument is a limit, and which asks others by its type.

    What is decorated checks its arguments and says what to do where nothing is known;
    `register` teaches it, and `known_of` is what it has been taught.
    """

    def __init__(self, ask: Callable[P, R]):
        self._ask = ask
        self._known: dict[type, Callable[..., Any]] = {}
        update_wrapper(self, ask)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._ask(*args, **kwargs)

    def register(self, kind: type) -> Callable[[F], F]:
        """Decorates what to call for a limit of this type, or of one derived from it."""

        def add(f: F) -> F:
            self._known[kind] = f
            return f

        return add

    def known_of(self, limit) -> Iterator[Callable[..., Any]]:
        """What is registered for the limit's type, then for those it is derived from."""
        return (self._known[kind] for kind in type(limit).__mro__ if kind in self._known)

    @property
    def names(self) -> str:
        """The types that something is registered for, in words."""
        return ", ".join(sorted(kind.__name__ for kind in self._known))
