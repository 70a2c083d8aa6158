"""Compiled programs, kept on disk for the next call of the command line."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import jax

# Bytes of all programs, before the oldest are dropped. One command has half a megabyte.
_MOST = 256 * 2**20


def keep_programs() -> None:
    """Has JAX keep what it compiles in a folder of the user's, unless told otherwise.

    `COVSDE_CACHE` names another folder; 0, or nothing, switches it off. A folder that JAX
    was given, `JAX_COMPILATION_CACHE_DIR`, is left as it is.
    """
    chosen = os.environ.get("COVSDE_CACHE")
    config: Any = jax.config
    if chosen in ("", "0") or config.jax_compilation_cache_dir is not None:
        return
    try:
        folder = Path(chosen).expanduser() if chosen else _folder() / "covsde"
        folder.mkdir(parents=True, exist_ok=True)
        _drop_oldest(folder)
        (folder / ".writable").touch()
    except (OSError, RuntimeError):  # which is that there is no home
        if chosen:  # nobody asked for the other one
            print(f"covsde: COVSDE_CACHE={chosen} cannot be written to.", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # small programs are many, and read in a tenth of the time that they are compiled in
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # a full disk, or two commands that write the same program: it is compiled, then
    message = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", message, UserWarning)


def _folder() -> Path:
    """Where this system keeps what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _drop_oldest(folder: Path) -> None:
    """Half of the programs, where all take too much room.

    JAX's own limit, `jax_compilation_cache_max_size`, looks at every file whenever it
    writes one.
    """
    files = [(file, file.stat()) for file in folder.glob("*-cache")]
    if sum(told.st_size for _, told in files) <= _MOST:
        return
    files.sort(key=lambda one: one[1].st_mtime)
    for file, _ in files[: len(files) // 2]:
        file.unlink(missing_ok=True)
