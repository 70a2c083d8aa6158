"""Figures: correlations as densities, over depth, and as matrices; orders of solvers.

Of the unshaped limit it is the nearness `u` of two inputs. Each function takes solutions,
or a study, and returns a `matplotlib.figure.Figure`: show it, change it, or
`figure.savefig("figure.pdf")`. Paths that were stopped are left out.
Needs matplotlib: `pip install 'covsde[plot]'`.
"""

from ._correlations import Pairs, correlation_densities, correlation_fan, typical_pairs
from ._figures import figures
from ._matrices import correlation_matrices
from ._nearness import nearness_densities, nearness_fan
from ._orders import orders

__all__ = [
    "Pairs",
    "correlation_densities",
    "correlation_fan",
    "correlation_matrices",
    "figures",
    "nearness_densities",
    "nearness_fan",
    "orders",
    "typical_pairs",
]
