"""Options that commands share: a parameter that is a group of them stands for all."""

import functools
import inspect
from collections.abc import Callable

PANEL_WHAT, PANEL_HOW, PANEL_WHERE = "Network", "Simulation", "Output"


class Group:
    """Options that are given together: by default those that make one of it."""

    @classmethod
    def options(cls) -> list[inspect.Parameter]:
        """Its options, as parameters of a command."""
        return list(inspect.signature(cls, eval_str=True).parameters.values())


def command(f: Callable[..., None]) -> Callable[..., None]:
    """A command of `f`'s own options, and in place of each group of those of the group."""
    signature = inspect.signature(f, eval_str=True)
    options: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Group], list[str]]] = {}
    for one in signature.parameters.values():
        if isinstance(one.annotation, type) and issubclass(one.annotation, Group):
            members = one.annotation.options()
            groups[one.name] = one.annotation, [member.name for member in members]
            options += members
        else:
            options.append(one)

    @functools.wraps(f)
    def run(**values) -> None:
        for name, (group, members) in groups.items():
            values[name] = group(**{member: values.pop(member) for member in members})
        f(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [one.replace(kind=keyword) for one in options]
    run.__signature__ = signature.replace(parameters=options)  # pyright: ignore
    run.__annotations__ = {}  # the signature has them
    return run
