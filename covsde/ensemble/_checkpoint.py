"""A run that goes on where it was interrupted: its tally in a file, replaced whole."""

import json
import zipfile
from pathlib import Path

import numpy as np

from .._files import replacing
from ._fingerprint import Recipe, differences
from ._survey import Tally, pack, unpack


class Checkpoint:
    """The file of one share of an ensemble."""

    def __init__(self, folder: Path, i: int, of: int, recipe: Recipe):
        name = "ensemble.npz" if of == 1 else f"ensemble-{i}-of-{of}.npz"
        self.path, self.recipe = folder / name, recipe

    def read(self) -> tuple[int, Tally] | None:
        """The next path and the tally of those before it, or None without a file.

        **Raises:** `ValueError` for a file of another run.
        """
        if not self.path.exists():
            return None
        way_out = "Pass another folder, or remove the file to begin anew."
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                arrays = dict(saved)
            about = json.loads(bytes(arrays.pop("about")).decode())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                "`checkpoint` must be a folder for files of `covsde.ensemble`; got one "
                f"with {str(self.path)!r}, which cannot be read. {way_out}"
            ) from error
        if about["recipe"] != self.recipe:
            what = differences(self.recipe, about["recipe"])
            raise ValueError(
                "`checkpoint` must be of the same run; got another one's, "
                f"{str(self.path)!r}: {what}. {way_out}"
            )
        return about["next"], unpack(arrays)

    def write(self, next_path: int, tally: Tally) -> None:
        """Replaces the file by a whole new one, so that there is always one to read."""
        about = json.dumps({"recipe": self.recipe, "next": next_path}).encode()
        with replacing(self.path) as file:
            np.savez(
                file,
                allow_pickle=False,
                about=np.frombuffer(about, np.uint8),
                **pack(tally),
            )
