"""What the unshaped network asks of the commands, which solve covariances else."""

import numpy as np

from ..limits import UnshapedMLP, UnshapedSolution
from ..limits.unshaped import check_pair
from ._catalogue import ARCHITECTURES
from ._errors import refuse
from ._inputs import Data, Inputs
from ._network import Network
from ._scheme import How

_NAME = "unshaped"
_COVARIANCES = tuple(name for name in ARCHITECTURES if name != _NAME)
# inputs that are taken if none are given
_DIGITS, _DIGITS_OF_OTHERS = 2, 7


def check_options(network: Network, how: How, method: str | None = None) -> None:
    """Refuses options of covariances for it."""
    options = {
        "--solver": how.solver,
        "--stop-above": how.stop_above,
        "--float32": how.float32 or None,
        "--method": method,
    }
    for option, value in options.items():
        if value is not None:
            network.check_architecture(option, _COVARIANCES)


def refuse_it(network: Network) -> None:
    """Where only covariances will do."""
    if network.architecture == _NAME:
        raise refuse(
            "--architecture",
            f"must be one of {', '.join(_COVARIANCES)} here; got {_NAME}. Its two inputs "
            "are solved by `covsde solve`.",
        )


def read(data: Data, network: Network) -> Inputs:
    """The inputs; refuses more or fewer than two for it."""
    if network.architecture != _NAME:
        return data.read(_DIGITS_OF_OTHERS)
    inputs = data.read(_DIGITS)
    if len(inputs.x) != 2:
        raise refuse(
            data.option,
            f"must give two inputs for --architecture {_NAME}; got {len(inputs.x)}. Give "
            "two rows by --inputs, or --digits 2.",
        )
    return inputs


def solve(limit: UnshapedMLP, v0, t1, **options) -> UnshapedSolution:
    """Paths of the nearness of two inputs."""
    check_pair(limit, v0)
    return limit.solve(t1, **options)


def told(solution: UnshapedSolution, quantiles) -> list[str]:
    """Lines that say what it found."""
    start = float((2 / solution.limit.attraction) ** 2)
    rows = [
        ("u", 0.0, np.asarray(solution.us[:, -1])),
        ("q = (t/u)²", start, np.asarray(solution.q[:, -1])),
    ]
    return [*quantiles(rows), "(at width n, ρ = 1 − 1/(n u)²)"]
