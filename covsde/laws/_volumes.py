"""Means of a diffusion up to a level, where it is killed, by finite volumes.

In a coordinate x in which the noise has a constant variance, `dx = μ dt + √2c dB`, the
backward equation is `∂f/∂t = c s' (f'/s')'`, with the scale function s. Between the centres
of cells the fluxes are those of s itself, so that the equation becomes one of a
birth-and-death process, whose error is even in the size of the cells.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.integrate import solve_ivp

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
# How many cells the deviation √2ct of x has
_CELLS = 70


def mean_below(
    f: Callable[[np.ndarray], np.ndarray],
    log_slope: Callable[[np.ndarray], np.ndarray],
    start: float,
    reach: float,
    top: float,
    t: float,
    *,
    noise: float,
    above: Callable[[float], float] | None = None,
) -> float:
    """`E f(x_t)` of paths that have not reached `top`.

    Extrapolated from two meshes.

    **Arguments:**

    - `f`: of x, elementwise; it need not vanish at the top.
    - `log_slope`: `log s'(x)`.
    - `start`, `reach`: where paths start, and how far below they may come.
    - `top`: where they are killed.
    - `noise`: c.
    - `above`: `s(top) − s(x)`; by quadrature if there is none.
    """

    def mean(finer: int) -> float:
        deviation = np.sqrt(2 * noise * t)
        cells = finer * max(10, int(np.ceil(_CELLS * (top - start) / deviation)))
        h = (top - start) / (cells + 0.5)
        below = int(np.ceil(reach / h))
        # centres; one of them is the start
        x = top - h * (cells + 0.5 - np.arange(-below, cells + 1))

        def integral(sign, low, high, offset):
            """Of `exp(sign log s' + offset)` over x, by Gauss–Legendre."""
            middle, half = (low + high) / 2, (high - low) / 2
            log_density = sign * log_slope(middle[:, None] + half[:, None] * _NODES)
            return half * (np.exp(log_density + offset[:, None]) @ _WEIGHTS)

        offset = log_slope(x)
        mass = integral(-1, x - h / 2, x + h / 2, offset) / noise
        ends = np.append(x[1:], top)
        up = integral(1, x, ends, -offset)
        if above is not None:
            left = above(x[-1])
            up[-1] = left * np.exp(-offset[-1])
            if np.isfinite(left):
                # what is in the last cell vanishes at its end like s(top) − s; 1/s' may not
                half = np.linspace(0.0, 1.0, 2 * _CELLS + 1)[:-1] * (top - x[-1])
                middle = x[-1] + half + half[1] / 2
                share = np.array([above(one) for one in middle]) / left
                density = np.exp(offset[-1] - log_slope(middle))
                inner = integral(-1, x[-1:] - h / 2, x[-1:], offset[-1:])[0]
                mass[-1] = (inner + half[1] * np.sum(density * share)) / noise
        down = integral(1, x[:-1], x[1:], -offset[1:])
        rise, fall = 1 / (mass * up), 1 / (mass[1:] * down)
        generator = sparse.diags_array(
            [fall, -rise - np.append(0.0, fall), rise[:-1]],
            offsets=[-1, 0, 1],  # pyright: ignore[reportArgumentType]
            format="csc",
        )
        values = solve_ivp(
            lambda _, y: generator @ y,
            (0.0, t),
            f(x),
            method="Radau",
            jac=generator,
            rtol=1e-10,
            atol=1e-13,
        ).y
        return float(values[below, -1])

    coarse, fine = mean(1), mean(2)
    return (4 * fine - coarse) / 3
