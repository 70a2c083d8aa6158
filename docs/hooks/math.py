"""Turn the LaTeX of the documentation into MathML while the site is built.

Browsers draw MathML themselves: the pages need no script and no network. A formula
that cannot be converted is a warning, which `mkdocs build --strict` makes an error.
The font that the formulas are set in comes with the `ziamath` package.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from html import unescape
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from math_core import LatexError, LatexToMathML
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page
    from mkdocs.structure.toc import AnchorLink

log = logging.getLogger("mkdocs.hooks.math")

# What pymdownx.arithmatex leaves in a page when `generic: true`.
FORMULA = re.compile(
    r'<(?P<tag>div|span) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)
# A heading's entry in the table of contents keeps the formula without its element.
TITLE_FORMULA = re.compile(r"\\\((?P<latex>.*?)\\\)")

FONT_SOURCE = "ziamath/fonts/STIXTwoMath-Regular.ttf"
FONT = "assets/fonts/math.ttf"
STYLE = "assets/math.css"
CSS = """\
@font-face { font-family: "covsde math"; src: url("fonts/math.ttf"); }
math { font-family: "covsde math", math; font-size: 1.1em; }
math[display="block"] { margin: 1em 0; }
div.arithmatex { overflow-x: auto; }
"""

converter = LatexToMathML(fancy_error=False)


def to_mathml(formulas: list[tuple[str, bool]], where: str) -> Iterable[str]:
    """Convert a page's (LaTeX, display style) pairs; complain of each bad one."""
    try:
        return converter.convert_all(formulas)  # resolves references between them
    except LatexError:
        return [_convert_alone(latex, display, where) for latex, display in formulas]


def _convert_alone(latex: str, display: bool, where: str) -> str:
    try:
        return converter.convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        log.warning("%s: cannot typeset %r: %s", where, latex.strip(), error)
        return "<code>formula</code>"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.extra_css.append(STYLE)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    font = distribution("ziamath").locate_file(FONT_SOURCE)
    content = Path(str(font)).read_bytes()
    files.append(File.generated(config, FONT, content=content))
    files.append(File.generated(config, STYLE, content=CSS))
    return files


def on_page_content(html: str, page: Page, **_: object) -> str:
    where = page.file.src_uri
    for entry in page.toc:
        _typeset_titles(entry, where)
    found = [(unescape(m["latex"]), m["tag"] == "div") for m in FORMULA.finditer(html)]
    mathml = iter(to_mathml(found, where))
    return FORMULA.sub(
        lambda m: f'<{m["tag"]} class="arithmatex">{next(mathml)}</{m["tag"]}>', html
    )


def _typeset_titles(entry: AnchorLink, where: str) -> None:
    entry.title = TITLE_FORMULA.sub(
        lambda m: _convert_alone(unescape(m["latex"]), False, where), entry.title
    )
    for child in entry.children:
        _typeset_titles(child, where)
