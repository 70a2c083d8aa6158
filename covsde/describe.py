"""What a limit is, for people and papers: its equation, letters, numbers and sources."""

from dataclasses import dataclass

from ._checks import found
from ._names import full_name
from ._plain import plain
from .equations import Equation, Symbol
from .limits import AbstractLimit
from .references import Reference, merge


def describe(limit: AbstractLimit) -> "Description":
    """The SDE of a limit in LaTeX and in words, with its parameters and its papers.

    ```python
    print(covsde.describe(covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))))
    ```

    A limit or activation of your own is named; give it `equations` or `equation` to have
    it written out.

    **Arguments:**

    - `limit`: the limit. That of a block is described by its sub-layers.

    **Returns:** a [`covsde.describe.Description`][], made for `print`.

    **Raises:** `TypeError` for what is no limit.
    """
    if not isinstance(limit, AbstractLimit):
        raise TypeError(
            f"`limit` must be a limit; got {found(limit)}. For example "
            "`ShapedMLP(ShapedReLU(0.0, -1.0))`."
        )
    equations = limit.equations
    if len(equations) > 1:
        numbers = range(1, len(equations) + 1)
        equations = tuple(map(Equation.numbered, equations, numbers))
    return Description(full_name(limit), equations)


@dataclass(frozen=True, repr=False)
class Description:
    """A limit's SDE, letter by letter; `print` shows it as text.

    - `name`: the limit with its parameters, in one line.
    - `equations`: one for each sub-layer, whose terms add up.
    """

    name: str
    equations: tuple[Equation, ...]

    @property
    def latex(self) -> str:
        """The SDE with all definitions and numbers, an `aligned` environment."""
        lines = [
            *self._sde(),
            *(_with_value(s).replace(" = ", " &= ", 1) for s in self._defined()),
            *(rf"& {line}" for line in self._numbers()),
        ]
        body = " \\\\\n".join(lines)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every letter: those of the sub-layers in turn, then those they share."""
        every = [symbol for equation in self.equations for symbol in equation.symbols]
        shared = {symbol.latex: symbol for symbol in every if symbol.shared}
        own = (symbol for symbol in every if not symbol.shared)
        return *own, *shared.values()

    @property
    def parameters(self) -> tuple[Symbol, ...]:
        """The letters that a user sets; `name` is the attribute, `value` its value."""
        return tuple(symbol for symbol in self.symbols if symbol.name)

    @property
    def references(self) -> tuple[Reference, ...]:
        """The papers, each once, and where in them."""
        return merge(tuple(r for equation in self.equations for r in equation.references))

    @property
    def bibtex(self) -> str:
        """The papers' BibTeX entries."""
        return "\n\n".join(reference.bibtex for reference in self.references)

    @property
    def time(self) -> str:
        """The unit of time."""
        own = self.equations[0].time
        if own:
            return own
        layer = "layer" if len(self.equations) == 1 else "block"
        return f"time, depth/width: one {layer} of a network of width n takes 1/n"

    def __str__(self) -> str:
        first, *more = (plain(line.replace("&", "")) for line in self._sde())
        equation = [first, *(f"   {line}" for line in more)]
        if more:
            titles = (f"({one.title})" for one in self.equations)
            width = max(map(len, equation))
            pairs = zip(equation, titles, strict=True)
            equation = [f"{line:{width}}  {title}" for line, title in pairs]
        equation += [plain(_with_value(symbol)) for symbol in self._defined()]
        parameters = [
            (plain(f"{s.latex} = {_latex(s.value)}"), s.meaning, s.name)
            for s in self.parameters
        ]
        letters = [(plain(s.latex), s.meaning) for s in self.symbols if not s.name]
        noisy = any("Brownian" in s.meaning or s.latex == "N" for s in self.symbols)
        sections = {
            "Itô equation" if noisy else "Equation": equation,
            "Parameters": _columns(parameters),
            "Letters": _columns([*letters, ("t", self.time)]),
            "References": list(map(str, self.references)),
        }
        text = "".join(
            "\n\n" + "\n".join((title, *(f"  {line}" for line in lines)))
            for title, lines in sections.items()
            if lines
        )
        return self.name + text

    def __repr__(self) -> str:
        return f"Description({self.name})"

    def _repr_latex_(self) -> str:
        """For notebooks."""
        return f"$$\n{self.latex}\n$$"

    def _sde(self) -> list[str]:
        """`dV = …`, a line for each sub-layer."""
        first = rf"\mathrm{{d}}{self.equations[0].state} &= "
        heads = (first, *[r"&\quad + "] * (len(self.equations) - 1))
        pairs = zip(heads, self.equations, strict=True)
        return [head + _sum(equation.terms) for head, equation in pairs]

    def _defined(self) -> list[Symbol]:
        return [symbol for symbol in self.symbols if symbol.definition]

    def _numbers(self) -> list[str]:
        """The parameters' values, a line for each sub-layer."""
        lines = []
        for equation in self.equations:
            named = [f"{s.latex} = {_latex(s.value)}" for s in equation.symbols if s.name]
            lines += [r", \quad ".join(named)] if named else []
        return lines


def _sum(terms: tuple[str, ...]) -> str:
    """Terms with the signs between them."""
    return " + ".join(terms).replace("+ -", "- ")


def _with_value(symbol: Symbol) -> str:
    """The definition of a letter, and its number."""
    number = "" if symbol.value is None else f" = {_latex(symbol.value)}"
    return symbol.definition + number


def _latex(value) -> str:
    """A number, or the name of a function."""
    text = full_name(value)
    mantissa, _, exponent = text.partition("e")
    try:
        float(text)
    except ValueError:
        return r"\text{" + text.strip("<>").replace("_", r"\_") + "}"
    if not exponent:
        return text
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """The cells of a table, under one another."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{n}}" for cell, n in zip(row, sizes, strict=True)).rstrip()
        for row in rows
    ]
