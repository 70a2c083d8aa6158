"""A reader of equations in LaTeX: what `covsde.describe` writes, as numbers.

It knows nothing of covsde. Products of whole matrices are matrix products; what has
indices `a` and `b` is an array that broadcasts over them.
"""

import re

import jax
import numpy as np

TOKEN = re.compile(
    r"\s+|\\,|\\left|\\right|\\operatorname\{tr\}|\\mathrm\{d\}|\\text\{[^{}]*\}"
    r"|(?:\\[a-zA-Z]+|[a-zA-Z])(?:_(?:\{[^{}]*\}|[\w+-]))?|\d+\.?\d*|'+|."
)
SILENT = re.compile(r"\s+|\\,|\\left|\\right")


class Whole:
    """A whole matrix, or a column."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def entry(self, index):
        diagonal = index in ("aa", "bb")
        along = np.diagonal(self.array) if diagonal else self.array[:, 0]
        return {
            "ab": self.array,
            "aa": along[:, None],
            "bb": along[None, :],
            "a": along[:, None],
            "b": along[None, :],
        }[index]


def times(x, y):
    if isinstance(x, Whole) and isinstance(y, Whole):
        return Whole(x.array @ y.array)
    if isinstance(x, Whole):
        return Whole(x.array * y)
    return Whole(x * y.array) if isinstance(y, Whole) else x * y


def plus(x, y):
    if isinstance(x, Whole) != isinstance(y, Whole):
        raise ValueError("a matrix and a number do not add")
    return Whole(x.array + y.array) if isinstance(x, Whole) else x + y


class System:
    """The equations of an `aligned` environment, each evaluated when it is asked for."""

    def __init__(self, latex: str, given: dict, functions: dict):
        body = re.fullmatch(r"\\begin\{aligned\}\n(.*)\n\\end\{aligned\}", latex, re.DOTALL)
        joined = body[1].replace("\\\\\n&\\quad +", "+").replace("&", "")
        lines = re.split(r"\\\\\n|, \\quad ", joined)
        self.equations = {}
        for line in lines:
            left, *right = (part.strip() for part in line.split(" = "))
            name, _, index = left.partition("^")
            assert name not in self.equations, f"{name} is defined twice"
            self.equations[name] = (index.strip("{}"), right)
        self.given, self.functions = given, functions

    def __getitem__(self, name: str):
        if name in self.given:
            return self.given[name]
        index, right = self.equations[name]
        value, *numbers = (Reader(text, self).read() for text in right)
        for number in numbers:
            np.testing.assert_allclose(value, number, rtol=1e-5)
        if index:
            m = self.given["m"]
            value = Whole(np.broadcast_to(value, (m, m) if index == "ab" else (m, 1)))
        self.given[name] = value
        return value


class Reader:
    """One formula, by recursive descent."""

    def __init__(self, text: str, system: System):
        self.tokens = [t for t in TOKEN.findall(text) if not SILENT.fullmatch(t)]
        self.system = system

    def read(self):
        value = self.sum()
        assert not self.tokens, self.tokens
        return value

    def next(self):
        return self.tokens[0] if self.tokens else ""

    def take(self, expected=None):
        token = self.tokens.pop(0)
        assert expected in (None, token), (expected, token)
        return token

    def sum(self):
        negative = self.next() == "-" and self.take()
        value = times(-1, self.product()) if negative else self.product()
        while self.next() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = plus(value, times(sign, self.product()))
        return value

    def product(self):
        value = self.factor()
        while self.next() not in ("", "+", "-", ")", "}"):
            if self.next() == r"\cdot":
                self.take()
            value = times(value, self.factor())
        return value

    def factor(self):
        value = self.atom()
        while self.next() == "^":
            self.take()
            power = self.group() if self.next() == "{" else [self.take()]
            if power == [r"\top"]:
                value = Whole(value.array.T)
            elif set(power) <= {"a", "b"}:
                value = value.entry("".join(power))
            else:
                value = value ** float("".join(power))
        return value

    def group(self):
        self.take("{")
        tokens = []
        while self.next() != "}":
            tokens.append(self.take())
        self.take("}")
        return tokens

    def between(self, opening, closing):
        self.take(opening)
        value = self.sum()
        self.take(closing)
        return value

    def atom(self):
        token = self.next()
        if token == "(":
            return self.between("(", ")")
        self.take()
        if re.fullmatch(r"[\d.]+", token):
            return float(token)
        if token == r"\frac":
            above = self.between("{", "}")
            return times(above, 1 / self.between("{", "}"))
        if token == r"\sqrt":
            return np.sqrt(np.maximum(self.between("{", "}"), 0))
        if token == r"\arccos":
            return np.arccos(np.clip(self.factor(), -1, 1))
        if token == r"\operatorname{tr}":
            return np.trace(self.between("(", ")").array)
        if token == r"\pi":
            return np.pi
        if token == r"\mathrm{d}":
            return self.system["d" + self.take()]
        if token.startswith(r"\text"):
            return self.system.functions[token[6:-1]]
        value = self.system[token]
        if self.next().startswith("'"):
            for _ in self.take():
                value = jax.grad(value)
            return float(value(self.between("(", ")")))
        return value
