"""Validation: a limit against its finite networks, observable by observable."""

from ._report import Report
from ._rows import Row
from ._validate import validate

__all__ = ["Report", "Row", "validate"]
