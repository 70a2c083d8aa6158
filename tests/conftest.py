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


# `make test` has programs compiled in half the time and run slower. These modules' are
# compiled as a user's: they ask for the same bits from several programs, count what is in
# one, or run for longer than that saves.
OPTIMISED = {"test_brownian", "test_convergence", "test_counts"}


@pytest.fixture(autouse=True, scope="module")
def compiled_programs(request):
    """Each holds memory maps, and the 65,530 that Linux grants a process ran out."""
    quick = jax.config.read("jax_disable_most_optimizations")
    optimised = request.module.__name__ in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quick and not optimised)
    yield
    jax.config.update("jax_disable_most_optimizations", quick)
    jax.clear_caches()
