"""Every test runs in float64, without rank promotion, with array types checked."""

import os
from contextlib import contextmanager

import jax
import pytest
from jaxtyping import install_import_hook

# What commands compile is kept where `make test` keeps all of it, and nowhere else.
os.environ["COVSDE_CACHE"] = "0"

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
# one, or run for longer than that saves. So are those of a test that uses `optimised`.
OPTIMISED = {
    "test_angles",
    "test_brownian",
    "test_convergence",
    "test_counts",
    "test_exact_laws",
    "test_explosion",
    "test_exponents",
    "test_log_gaussian",
    "test_ntk",
    "test_solve",
    "test_unshaped",
    "test_validation",
}


@contextmanager
def compiled_programs(quick: bool):
    """Programs of their own, and forgotten: each holds memory maps, and the 65,530 that
    Linux grants a process ran out."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", quick and before)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def programs_of_the_module(request):
    with compiled_programs(quick=request.module.__name__ not in OPTIMISED):
        yield


@pytest.fixture
def optimised():
    with compiled_programs(quick=False):
        yield
