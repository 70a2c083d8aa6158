"""The mean of a function of two inputs' correlation, by finite volumes and extrapolation.

In `y = artanh ρ`, `dy = μ dt + √Γ dB`, `μ = γ² ν(ρ)/(1−ρ²) + Γ ρ/2`. Exponentially fitted
fluxes between cells make the equation a reversible birth-and-death process, whose matrix
is symmetric up to the weights of its equilibrium; its error is even in the cell's size.
"""

import itertools

import numpy as np
from scipy.linalg import eigh_tridiagonal


def pair_means(functions, rho0, t, strength, gain=1.0, *, ends, cell=1 / 12):
    """`E f(ρ_t)` of each function; `ends` of y are where no mass comes."""
    values = [
        _means(functions, rho0, t, strength, gain, ends, cell / 2**i) for i in range(4)
    ]
    for order in (4, 16, 64):
        pairs = itertools.pairwise(values)
        values = [(order * fine - coarse) / (order - 1) for coarse, fine in pairs]
    return values[0]


def _means(functions, rho0, t, strength, gain, ends, h):
    y0 = np.arctanh(rho0)
    below, above = (int(np.round(abs(end - y0) / h)) for end in ends)
    y = y0 + h * np.arange(-below, above + 1)
    rho = np.tanh((y[:-1] + y[1:]) / 2)
    pull = np.sqrt(1 - rho**2) - rho * np.arccos(rho)
    step = h * (strength * pull / (1 - rho**2) + gain * rho / 2) / (gain / 2)
    rate = gain / 2 / h**2
    up, down = rate * step / -np.expm1(-step), rate * step / np.expm1(step)
    weights = np.concatenate([[0.0], np.cumsum(step)])  # logarithms, of the equilibrium
    diagonal = -np.append(up, 0.0) - np.append(0.0, down)
    coupling = rate * step / 2 / np.sinh(step / 2)  # √(up · down)
    eigenvalues, vectors = eigh_tridiagonal(diagonal, coupling)
    row = (vectors[below] * np.exp(t * eigenvalues)) @ vectors.T
    row = row * np.exp((weights - weights[below]) / 2)
    return np.array([row @ f(np.tanh(y)) for f in functions])
