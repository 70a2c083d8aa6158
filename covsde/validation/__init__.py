"""Validation: a limit against its finite networks, observable by observable."""

from ._report import Report
from ._rows import Row, measure
from ._rows import read as read
from ._validate import validate

__all__ = ["Report", "Row", "measure", "validate"]
