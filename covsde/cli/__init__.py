"""The command line: `covsde validate`, `solve`, `ensemble`, `merge` and `describe`."""

import sys

try:
    from ._app import app
except ImportError as error:
    if (error.name or "").split(".")[0] not in ("typer", "rich", "click"):
        raise

    def app() -> None:
        """Says what the command line needs."""
        sys.exit(
            "covsde: the command line needs typer and rich. Install them with "
            "`pip install 'covsde[cli]'`."
        )


__all__ = ["app"]
