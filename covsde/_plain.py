"""LaTeX of this package's equations as a line of plain text: `\\gamma^2` is `γ²`."""

import re

_WORDS = {
    r"\gamma": "γ",
    r"\delta": "δ",
    r"\tau": "τ",
    r"\kappa": "κ",
    r"\rho": "ρ",
    r"\eta": "η",
    r"\varphi": "φ",
    r"\chi": "χ",
    r"\pi": "π",
    r"\Gamma": "Γ",
    r"\Sigma": "Σ",
    r"\arccos": "arccos",
    r"\left": "",
    r"\right": "",
    r"\cdot": "·",
    r"\,": " ",
    r"\quad": " ",
}
_RAISED = dict(zip("0123456789-abT", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵃᵇᵀ", strict=True))
_LOWERED = dict(zip("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋", strict=True)) | {",": ","}
_SCRIPT = re.compile(r"([\^_])(?:\{([^{}]*)\}|(\w|[+-]))")


def plain(latex: str) -> str:
    """One line of plain text."""
    formula, *words = re.split(r"\\text\{([^{}]*)\}", latex, maxsplit=1)
    if words:
        word = words[0].replace(r"\_", "_")
        return f"{plain(formula)} {word} {plain(words[1])}".strip()
    text = re.sub(r"\\(?:mathrm|operatorname)\{([^{}]*)\}", r"\1", latex)
    text = text.replace(r"\top", "T")
    text = re.sub(r"\^(\\\w+)", r"^{\1}", text)
    text = _SCRIPT.sub(lambda m: _script(m[1], m[2] or m[3]), text)
    while (simpler := _without_fractions(text)) != text:
        text = simpler
    for word in sorted(_WORDS, key=len, reverse=True):
        text = text.replace(word, _WORDS[word])
    text = text.replace("-", "−").replace("{", "").replace("}", "")
    text = re.sub(r"\s+", " ", text).replace("( ", "(").replace(" )", ")")
    return text.strip()


def _script(sign: str, index: str) -> str:
    letters = _RAISED if sign == "^" else _LOWERED
    if all(letter in letters for letter in index):
        return "".join(letters[letter] for letter in index)
    return f"{sign}{index}" if len(index) == 1 else f"{sign}({index})"


def _without_fractions(text: str) -> str:
    """Replaces the innermost roots and fractions."""
    text = re.sub(r"\\sqrt\{([^{}]*)\}", lambda m: "√" + _grouped(m[1]), text)
    return re.sub(
        r"\\frac\{([^{}]*)\}\{([^{}]*)\}",
        lambda m: f"{_grouped(m[1], r'[+-]')}/{_grouped(m[2])} ",
        text,
    )


def _grouped(text: str, joins: str = r"[-+\s/]") -> str:
    """The text in brackets, if it is more than one factor."""
    outside = re.sub(r"\([^()]*\)", "", text)  # a sum in brackets is one factor
    return f"({text})" if re.search(joins, outside.strip()) else text
