"""Statistics of any number of paths, in memory that does not grow with them."""

from ._checks import Observables as Observables
from ._checks import check_num_paths as check_num_paths
from ._checks import check_observables as check_observables
from ._checks import make_survey as make_survey
from ._ensemble import ensemble
from ._merge import merge
from ._program import observe as observe
from ._result import Ensemble
from ._samples import Samples
from ._survey import Survey as Survey
from ._survey import Tally as Tally
from ._survey import tally_on_host as tally_on_host

__all__ = ["Ensemble", "Samples", "ensemble", "merge"]
