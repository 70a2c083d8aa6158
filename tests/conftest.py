"""Every test runs in float64, without rank promotion, with array types checked."""

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Modules that take arrays from one another. Those that a user calls refuse bad input by
# themselves, with better words, and are tested for it.
TYPECHECKED = [
    f"covsde.{name}"
    for name in (
        "diffusions",
        "drifts",
        "flows",
        "matrices",
        "observables",
        "solvers",
        "terms",
    )
]

with install_import_hook(TYPECHECKED, "beartype.beartype"):
    import covsde  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Each holds memory maps, and the 65,530 that Linux grants a process ran out."""
    yield
    jax.clear_caches()
