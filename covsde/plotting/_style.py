"""The style of figures: colours, and sizes of letters and lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Legible to every kind of colour vision, and in grey.
LIMIT, MIDDLE, LIGHT = "#3d4a57", "#b4bac1", "#e1e4e7"
NETWORK = "#d55e00"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "mathtext.fontset": "dejavusans",
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in this style, and leaves the caller's alone."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        try:
            from matplotlib import rc_context
        except ImportError as error:
            raise ImportError(
                "figures need matplotlib. Install it with `pip install 'covsde[plot]'`."
            ) from error
        with rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled
