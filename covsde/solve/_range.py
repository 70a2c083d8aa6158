"""What leaves the numbers of a dtype, where a limit says when it does."""

import statistics

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_concrete, number_range, wider
from .._problem import Problem
from .._range import RISK, TIMES, check_norms
from ..solvers.parabola import coefficients


def check_range(problem: Problem) -> None:
    """Refuses norms, or a number, that would leave the numbers of the dtype by `t1`."""
    limit, v0 = problem.limit, problem.v0
    if not limit.is_number:
        check_norms(limit, v0, problem.t1, problem.level, problem.num_paths)
    elif is_concrete((limit, v0)):
        _check_number(problem)


def _check_number(problem: Problem) -> None:
    """Refuses a number u that would leave the numbers of the dtype before `t1`.

    With `du = (a + b u) dt + σ u dB` and `E = exp((b − σ²/2) t + σ B)`, u is at most
    `(u_0 + |a| t) max_s E_t/E_s`. The range of B exceeds `x √t` with less than 8 times the
    probability that B_t does.
    """
    limit, v0, t1 = problem.limit, problem.v0, problem.t1
    with jax.ensure_compile_time_eval():
        terms = limit.terms(diffrax.UnsafeBrownianPath((), problem.key))
        a, b, sigma = map(float, coefficients(terms, 0.0, v0.dtype, None))
        start = float(jnp.max(jnp.abs(limit.initial(v0))))
    _, most = number_range(v0.dtype)
    times = np.linspace(0.0, t1, TIMES)[1:]
    deviations = -statistics.NormalDist().inv_cdf(RISK / (8 * problem.num_paths))
    risen = max(0.0, b - sigma**2 / 2) * times + deviations * abs(sigma) * np.sqrt(times)
    with np.errstate(divide="ignore"):
        risen += np.log(start + abs(a) * times)
    if risen[-1] > np.log(most):
        last = times[np.argmax(risen > np.log(most)) - 1]
        raise ValueError(
            f"`t1` must leave the state of {type(limit).__name__} below {most:.2g}, where "
            f"{v0.dtype} ends; got {t1:g}, until which that of {problem.num_paths} paths "
            f"reaches up to 10^{risen[-1] / np.log(10):.0f}. Pass a shorter one, here at "
            f"most {last:.3g}{wider(v0.dtype)}."
        )
