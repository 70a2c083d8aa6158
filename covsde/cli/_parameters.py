"""The parameters of limits and activations, as options.

Of each, name, type and default are those of the constructor's signature, and the help is
what its docstring says: what a later limit takes is asked for without a line here.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from rich.markup import escape

from ._catalogue import ACTIVATIONS, ARCHITECTURES, DEFAULTS, GROUPS, RENAMED
from ._docstrings import documented, split_default, without_markup
from ._groups import PANEL_WHAT, Group
from ._read import one_of, real, whole


class User(NamedTuple):
    """What takes a parameter: an architecture, or an activation in one (else None)."""

    architecture: str
    activation: str | None
    parameter: inspect.Parameter
    text: str


class Kind(NamedTuple):
    """How a value is typed; a flag is not read."""

    type: type
    read: Callable[[str], Any] | None = None
    metavar: str | None = None


def kind_of(annotation) -> Kind | None:
    """How values of a type are typed; None where no person types one."""
    union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if union else (annotation,)
    literals = [one for one in members if get_origin(one) is Literal]
    if literals:
        names = [name for one in literals for name in get_args(one)]
        return Kind(str, one_of(names), "|".join(names))
    kinds = (Kind(float, real, "X"), Kind(int, whole, "N"), Kind(str, str, "NAME"))
    return next((one for one in (*kinds, Kind(bool)) if one.type in members), None)


def activations_of(architecture: str) -> Mapping[str, Callable]:
    """The activations that an architecture applies, by name; none where it has none."""
    taken = inspect.signature(ARCHITECTURES[architecture]).parameters
    return next((ACTIVATIONS[name] for name in taken if name in ACTIVATIONS), {})


def users() -> dict[str, list[User]]:
    """Who takes each parameter."""
    found: dict[str, list[User]] = {}
    for architecture, limit in ARCHITECTURES.items():
        for activation, make in {None: limit, **activations_of(architecture)}.items():
            texts = documented(make)
            for name, one in inspect.signature(make, eval_str=True).parameters.items():
                if kind_of(one.annotation) is not None:
                    user = User(architecture, activation, one, texts.get(name, ""))
                    found.setdefault(name, []).append(user)
    return found


def option_of(name: str) -> str:
    """`--feed-forward-gamma`."""
    return "--" + RENAMED.get(name, name).replace("_", "-")


def option_names() -> dict[str, str]:
    """The option of each parameter."""
    return {name: option_of(name) for name in users()}


class Parameters(Group, dict[str, Any]):
    """What was given for each parameter; None where nothing was."""

    @classmethod
    def options(cls) -> list[inspect.Parameter]:
        """An option for each."""
        names = option_names()
        return [_option(name, takers, names) for name, takers in users().items()]

    def make(self, what: Callable, *args):
        """A limit or an activation: with what was given for it, or is usual."""
        taken = inspect.signature(what).parameters
        usual = {name: DEFAULTS[name] for name in taken if name in DEFAULTS}
        given = {name: self[name] for name in taken if self.get(name) is not None}
        return what(*args, **usual | given)


def group_of(activations: Iterable[str]) -> str | None:
    """What exactly these activations are called together, if they have a name."""
    return next((x for x, all in GROUPS.items() if set(all) == set(activations)), None)


def _option(name: str, takers: list[User], names: dict[str, str]) -> inspect.Parameter:
    parameter = takers[0].parameter
    kind = kind_of(parameter.annotation) or Kind(str)
    text, default = split_default(next((one.text for one in takers if one.text), ""))
    value = DEFAULTS.get(name, parameter.default)
    if default is None and kind.read is not None and value is not None:
        default = f"{value:g}" if isinstance(value, float) else value
    usual = "" if default is None else f" (default: {default})"
    flag = names[name]
    if value is True:
        flag += f"/{option_of(f'no_{name}')}"
    option = typer.Option(
        flag,
        parser=kind.read,
        metavar=kind.metavar,
        help=escape(without_markup(f"{_in_words(takers)}: {text}{usual}", names)),
        rich_help_panel=PANEL_WHAT,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind.type | None, option],
    )


def _in_words(takers: list[User]) -> str:
    """`attention, transformer`, `Smooth activations`, or `relu in kernel-resnet`."""
    alone = dict.fromkeys(one.architecture for one in takers if one.activation is None)
    activations = dict.fromkeys(one.activation for one in takers if one.activation)
    applying = dict.fromkeys(one.architecture for one in takers if one.activation)
    words = [", ".join(alone)] if alone else []
    if activations:
        group = group_of(activations)
        names = f"{group.capitalize()}s" if group else ", ".join(activations)
        words.append(names if len(applying) > 1 else f"{names} in {', '.join(applying)}")
    return ", and ".join(words)
