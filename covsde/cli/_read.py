"""Values as a person types them."""

from collections.abc import Callable, Collection

import typer


def real(text: str) -> float:
    """A number typed by a person."""
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be a number; got {_shown(text)}.") from error


def whole(text: str) -> int:
    """An integer typed by a person."""
    try:
        number = int(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be an integer; got {_shown(text)}.") from error
    if not -(2**63) <= number < 2**63:
        raise typer.BadParameter(f"must be an integer of 64 bits; got {_shown(text)}.")
    return number


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """One of these names."""

    def name(text: str) -> str:
        if text not in names:
            accepted = ", ".join(names)
            raise typer.BadParameter(f"must be one of {accepted}; got {_shown(text)}.")
        return text

    return name


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
