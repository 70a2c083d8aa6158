"""What a docstring says of the arguments, in words of the command line."""

import inspect
import re
from collections.abc import Callable
from functools import partial

from .._plain import plain


def documented(make: Callable) -> dict[str, str]:
    """The text of each argument, from the `**Arguments:**` of a constructor."""
    while isinstance(make, partial):
        make = make.func
    text = inspect.getdoc(make.__init__ if inspect.isclass(make) else make) or ""
    section = re.split(r"\*\*Arguments:\*\*", text)[-1].partition("\n\n**")[0]
    entries = re.findall(r"^- (`.*?`): (.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
    return {
        name: " ".join(words.split())
        for names, words in entries
        for name in re.findall(r"`(\w+)`", names)
    }


def without_markup(text: str, options: dict[str, str]) -> str:
    """Plain text: formulas as they are read, parameters as the options that set them."""
    text = re.sub(r" \(\[`[\w.]+`\]\[\]\)", "", text)  # pointers for readers of the API
    text = re.sub(r"\[`(?:\w+\.)*(\w+)`\]\[\]", r"\1", text)
    return re.sub(
        r"`([^`]*)`",
        lambda code: options.get(code[1]) or plain(code[1]),
        text,
    )


def split_default(text: str) -> tuple[str, str | None]:
    """The text, and what its clause "None is …" says, which is what nothing given is."""
    said = re.search(r"[;,.] None is ([^;.]+)", text)
    return (text, None) if said is None else (text.replace(said[0], ""), said[1])
