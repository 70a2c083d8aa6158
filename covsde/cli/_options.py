"""The options that several commands state one by one."""

from pathlib import Path
from typing import Annotated

import typer

from ._catalogue import ACTIVATIONS, ARCHITECTURES
from ._errors import refuse, writing
from ._groups import PANEL_HOW, PANEL_WHAT, PANEL_WHERE
from ._read import one_of, real, whole

ARCHITECTURE_HELP = (
    f"{', '.join(ARCHITECTURES)}. unshaped: two inputs of a ReLU network without shaping. "
    "kernel-resnet: residual branches of size 1/√depth, whose limit is deterministic."
)
ACTIVATION_NAMES = ", ".join(
    dict.fromkeys(x for made in ACTIVATIONS.values() for x in made)
)
architecture = one_of(ARCHITECTURES)
activation = one_of(ACTIVATION_NAMES.split(", "))

ArchitectureOption = Annotated[
    str,
    typer.Option(
        "--architecture",
        parser=architecture,
        metavar="NAME",
        help=ARCHITECTURE_HELP,
        rich_help_panel=PANEL_WHAT,
    ),
]
ActivationOption = Annotated[
    str | None,
    typer.Option(
        "--activation",
        parser=activation,
        metavar="NAME",
        help=f"{ACTIVATION_NAMES}. (default: relu)",
        rich_help_panel=PANEL_WHAT,
    ),
]
T1Option = Annotated[
    float,
    typer.Option(
        "--t1",
        parser=real,
        metavar="X",
        help="Final time: depth/width, or layers/depth of a kernel-resnet.",
        rich_help_panel=PANEL_WHAT,
    ),
]
PathsOption = Annotated[
    int,
    typer.Option(
        "--paths",
        parser=whole,
        metavar="N",
        help="Paths of the limit.",
        rich_help_panel=PANEL_HOW,
    ),
]
SaveTimesOption = Annotated[
    int,
    typer.Option(
        "--save-times",
        parser=whole,
        metavar="N",
        help="How many times to save, equally spaced from 0 to t1; 1 saves t1 only.",
        rich_help_panel=PANEL_WHERE,
    ),
]
FileOption = Annotated[
    Path,
    typer.Option(
        "--out", metavar="FILE", help="A netCDF file.", rich_help_panel=PANEL_WHERE
    ),
]


def check_file(out: Path) -> None:
    """Refuses a name that no netCDF file can have."""
    with writing(out):
        is_folder = out.is_dir()
    if out.suffix != ".nc" or is_folder:
        raise refuse(
            "--out",
            f"must be the name of a file that ends in .nc; got {str(out)!r}. Try v.nc.",
        )
