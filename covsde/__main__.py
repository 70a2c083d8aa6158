"""`python -m covsde`, the same as `covsde`."""

from .cli import app

if __name__ == "__main__":
    app(
        **({"prog_name": "python -m covsde"} if hasattr(app, "registered_commands") else {})
    )
