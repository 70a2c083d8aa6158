"""The papers whose equations these are, and their BibTeX entries."""

import re
from typing import NamedTuple

NEURIPS = "Advances in Neural Information Processing Systems"


class Reference(NamedTuple):
    """A paper.

    - `key`: of its BibTeX entry. `authors`: each as `Family, Given`.
    - `title`: braces keep capitals, as in BibTeX. `year`, `arxiv`: its number there.
    - `venue`, `volume`: the proceedings, empty for a paper on arXiv alone.
    - `where`: what is cited of it, such as a theorem.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    year: int
    arxiv: str
    venue: str = ""
    volume: str = ""
    where: str = ""

    def at(self, where: str) -> "Reference":
        """The paper, and where in it."""
        return self._replace(where=where)

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its BibTeX entry."""
        named = {
            "title": self.title,
            "author": " and ".join(self.authors),
            "booktitle": self.venue,
            "volume": self.volume,
            "year": str(self.year),
            "eprint": self.arxiv,
            "archiveprefix": "arXiv",
        }
        return {name: value for name, value in named.items() if value}

    @property
    def bibtex(self) -> str:
        """Its BibTeX entry."""
        kind = "inproceedings" if self.venue else "misc"
        width = max(map(len, self.fields))
        lines = [f"  {name:{width}} = {{{x}}}" for name, x in self.fields.items()]
        return f"@{kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"

    def __str__(self) -> str:
        """Authors (year). Title. Venue. arXiv (where)."""
        names = [author.partition(",")[0] for author in self.authors]
        *first, last = names
        who = f"{', '.join(first)} and {last}" if first else last
        title = re.sub(r"[{}]", "", self.title)
        parts = [f"{who} ({self.year})", title, f"{self.venue} {self.volume}".strip()]
        parts.append(f"arXiv:{self.arxiv}" + (f" ({self.where})" if self.where else ""))
        return ". ".join(part for part in parts if part) + "."


def merge(references: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Each paper once, with all places that are cited."""
    places: dict[Reference, list[str]] = {}
    for reference in references:
        cited = places.setdefault(reference.at(""), [])
        new = filter(None, reference.where.split(", "))
        cited.extend(place for place in new if place not in cited)
    return tuple(paper.at(", ".join(cited)) for paper, cited in places.items())


NEURAL_COVARIANCE_SDE = Reference(
    "li2022neural",
    ("Li, Mufan (Bill)", "Nica, Mihai", "Roy, Daniel M."),
    "The Neural Covariance {SDE}: Shaped Infinite Depth-and-Width Networks at "
    "Initialization",
    2022,
    "2206.02768",
    NEURIPS,
    "35",
)
SHAPED_TRANSFORMER = Reference(
    "noci2023shaped",
    (
        "Noci, Lorenzo",
        "Li, Chuning",
        "Li, Mufan (Bill)",
        "He, Bobby",
        "Hofmann, Thomas",
        "Maddison, Chris J.",
        "Roy, Daniel M.",
    ),
    "The Shaped {Transformer}: Attention Models in the Infinite Depth-and-Width Limit",
    2023,
    "2306.17759",
    NEURIPS,
    "36",
)
COMMUTING_LIMITS = Reference(
    "hayou2023width",
    ("Hayou, Soufiane", "Yang, Greg"),
    "Width and Depth Limits Commute in Residual Networks",
    2023,
    "2302.00453",
)
SHAPED_AND_UNSHAPED = Reference(
    "li2023differential",
    ("Li, Mufan (Bill)", "Nica, Mihai"),
    "Differential Equation Scaling Limits of Shaped and Unshaped Neural Networks",
    2023,
    "2310.12079",
)
