"""Batched triangular and symmetric algebra: the only module that knows memory layout."""

from ._algebra import (
    SINGULAR_PIVOT,
    beyond_span,
    cholesky,
    congruence,
    divide_right,
    expm,
    factorise,
    gram,
    lower_half,
    multiply,
    one_minus_correlation,
    semidefinite_cholesky,
    square,
    whiten,
    whiten_within,
)
from ._layout import (
    UNROLLED_MAX,
    Lower,
    Symmetric,
    materialise,
    num_entries,
)

__all__ = [
    "SINGULAR_PIVOT",
    "UNROLLED_MAX",
    "Lower",
    "Symmetric",
    "beyond_span",
    "cholesky",
    "congruence",
    "divide_right",
    "expm",
    "factorise",
    "gram",
    "lower_half",
    "materialise",
    "multiply",
    "num_entries",
    "one_minus_correlation",
    "semidefinite_cholesky",
    "square",
    "whiten",
    "whiten_within",
]
