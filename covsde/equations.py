"""Equations: the SDE of one layer in LaTeX, letter by letter.

Formulas keep to the LaTeX of `_plain`, and write indices of inputs as `^{ab}` or `^a`.
"""

import re
from typing import Any, NamedTuple

from .references import Reference


class Symbol(NamedTuple):
    """A letter of an equation.

    - `latex`: the letter. `meaning`: what it is, in words.
    - `definition`: an equation that defines it, if there is one.
    - `value`: its number, if it has one, or the name of a function.
    - `name`: the attribute of the limit that it is; empty if it is no parameter.
    - `shared`: whether it is the same for all sub-layers of a block.
    """

    latex: str
    meaning: str
    definition: str = ""
    value: Any = None
    name: str = ""
    shared: bool = False


class Equation(NamedTuple):
    """The SDE of one layer, `dV = Σ terms`; of an activation, its drift alone.

    - `title`: whose it is. `terms`: in LaTeX, each with its differential.
    - `symbols`: every letter in it. `references`: where it is from.
    - `time`: what time is, where it is not depth/width.
    - `state`: the letter whose equation it is, where it is not V.
    """

    title: str
    terms: tuple[str, ...]
    symbols: tuple[Symbol, ...]
    references: tuple[Reference, ...] = ()
    time: str = ""
    state: str = "V"

    def within(self, owner: str) -> "Equation":
        """The same, where its parameters are those of an attribute of something else."""
        symbols = [
            symbol._replace(name=f"{owner}.{symbol.name}") if symbol.name else symbol
            for symbol in self.symbols
        ]
        return self._replace(symbols=tuple(symbols))

    def numbered(self, number: int) -> "Equation":
        """The same, with a number on each letter that other sub-layers also have."""
        own = {s.latex: _subscript(s.latex, number) for s in self.symbols if not s.shared}
        letters = "|".join(map(re.escape, sorted(own, key=len, reverse=True)))
        # neither within a word nor an index
        pattern = re.compile(rf"(?<![\\A-Za-z^])(?:{letters})(?![A-Za-z_])")

        def renamed(latex: str) -> str:
            return pattern.sub(lambda match: own[match[0]], latex)

        symbols = [
            symbol._replace(
                latex=own.get(symbol.latex, symbol.latex),
                definition=renamed(symbol.definition),
            )
            for symbol in self.symbols
        ]
        return self._replace(terms=tuple(map(renamed, self.terms)), symbols=tuple(symbols))


def _subscript(latex: str, number: int) -> str:
    base, _, index = latex.partition("_")
    if index:
        return f"{base}_{{{index},{number}}}"
    return f"{base}_{number}" if number < 10 else f"{base}_{{{number}}}"


COVARIANCE = Symbol(
    "V", "covariance of the inputs in a layer; a and b count them", shared=True
)
CORRELATION = Symbol(
    r"\rho",
    "correlation of the inputs a and b",
    r"\rho = \frac{V^{ab}}{\sqrt{V^{aa} V^{bb}}}",
    shared=True,
)
INPUTS = Symbol("m", "number of inputs", shared=True)
# what every limit with noise from random weights has
SYMBOLS = (
    Symbol("S", "symmetric m×m Brownian motion: variance t off the diagonal, 2t on it"),
    Symbol("F", "any factor of V", r"V = F F^\top", shared=True),
    COVARIANCE,
)
RESIDUAL_WEIGHT = "weight of the residual branch"
DRIFT_TERM = r"b\,\mathrm{d}t"
WEIGHTS_TERM = r"F\,\mathrm{d}S\,F^\top"
