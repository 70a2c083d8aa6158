"""Gradients of statistics of V_T, in both modes, and the memory that they take."""

import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde.observables import correlation

T, PATHS, STEPS = 0.5, 400, 8
V0 = jnp.array([[1.2, 0.3], [0.3, 0.8]])
KEY = jax.random.key(5)


def relu(c_plus):
    return covsde.ShapedReLU(c_plus, -1.0)


def smooth(a):
    # neither derivative at the centre vanishes, and V does not explode
    return covsde.ShapedSmooth(jax.nn.softplus, a, 0.7)


def mean_correlation(vs):
    return jnp.mean(correlation(vs)[..., 0, 1])


def by_solve(solver):
    def statistic(activation, v0):
        limit = covsde.ShapedMLP(activation)
        solution = covsde.solve(
            limit, v0, T, key=KEY, num_paths=PATHS, dt0=T / STEPS, solver=solver
        )
        return mean_correlation(solution.vs)

    return statistic


def by_diffeqsolve(solver, t1=T):
    cells = STEPS * getattr(solver, "cells_per_step", 1)
    path = covsde.BrownianGrid(
        jnp.linspace(0.0, t1, cells + 1), 2, key=KEY, num_paths=PATHS
    )

    def statistic(activation, v0):
        solution = diffrax.diffeqsolve(
            covsde.ShapedMLP(activation).terms(path),
            solver,
            t0=0.0,
            t1=t1,
            dt0=t1 / STEPS,
            y0=jnp.broadcast_to(v0, (PATHS, 2, 2)),
            max_steps=STEPS,
        )
        return mean_correlation(solution.ys)

    return statistic


ROUTES = {
    "solve, geodesic": by_solve(covsde.GeodesicStrang()),
    "solve, palindromic": by_solve(covsde.PalindromicStrang()),
    # so short that Euler–Maruyama on V stays within the cone
    "diffeqsolve, Euler": by_diffeqsolve(diffrax.Euler(), t1=T / 32),
}


def central_difference(fn, x, step=1e-4):
    """Fourth-order central difference."""
    near, far = fn(x + step) - fn(x - step), fn(x + 2 * step) - fn(x - 2 * step)
    return (8 * near - far) / (12 * step)


def agree(gradient, difference, name):
    digits = -np.log10(abs(float(gradient) / float(difference) - 1) + 1e-16)
    print(f"{name}: gradient {float(gradient):+.8f}, agrees to {digits:.1f} digits")
    assert digits >= 5


@pytest.mark.parametrize(
    ("route", "activation"),
    [(route, relu) for route in ROUTES]
    + [("solve, geodesic", smooth), ("diffeqsolve, Euler", smooth)],
)
def test_gradients_in_the_activation_and_the_start(route, activation):
    direction = jnp.array([[0.3, -0.2], [-0.2, 0.5]])
    parameter = 0.4 if activation is relu else 0.9

    @jax.jit
    @lambda fn: jax.value_and_grad(fn, argnums=(0, 1))
    def statistic(x, e):
        return ROUTES[route](activation(x), V0 + e * direction)

    _, (in_parameter, in_start) = statistic(parameter, 0.0)
    name = f"{route}, {'c₊' if activation is relu else 'a'}"
    difference = central_difference(lambda x: statistic(x, 0.0)[0], parameter)
    agree(in_parameter, difference, name)
    difference = central_difference(lambda e: statistic(parameter, e)[0], 0.0)
    agree(in_start, difference, f"{name}: V0")


def test_gradient_at_duplicate_inputs_is_finite():
    v0 = jnp.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]])

    @jax.jit
    @jax.value_and_grad
    def statistic(c_plus):
        limit = covsde.ShapedMLP(relu(c_plus))
        solution = covsde.solve(limit, v0, T, key=KEY, num_paths=50, dt0=T / 4)
        return jnp.mean(correlation(solution.vs)[..., 0, 2])

    difference = central_difference(lambda c: statistic(c)[0], 0.4)
    agree(statistic(0.4)[1], difference, "duplicates, c₊")


def of_all_saved(c_plus, num_paths, saveat):
    solution = covsde.solve(
        covsde.ShapedMLP(relu(c_plus)),
        V0,
        T,
        key=KEY,
        num_paths=num_paths,
        dt0=T / STEPS,
        saveat=saveat,
    )
    return mean_correlation(solution.vs)


def test_modes_agree_whatever_is_kept(monkeypatch):
    """Forward; and in reverse by blocks of steps, the last padded, and parts of paths."""
    monkeypatch.setattr(sys.modules["covsde.solve._grid"], "_STATES_KEPT", 3)
    monkeypatch.setattr(sys.modules["covsde.solve._simulate"], "_ENTRIES_KEPT", 0)

    def statistic(c_plus):
        return of_all_saved(c_plus, PATHS + 1, [0.0, T / 4, T])

    value, forward = jax.jit(lambda c: jax.jvp(statistic, (c,), (1.0,)))(0.4)
    again, reverse = jax.jit(jax.value_and_grad(statistic))(0.4)
    np.testing.assert_allclose([value, forward], [again, reverse], rtol=1e-12)
    monkeypatch.undo()
    jax.clear_caches()
    np.testing.assert_allclose(value, statistic(0.4), rtol=1e-12)
    agree(forward, central_difference(jax.jit(statistic), 0.4), "forward mode, c₊")


def test_memory_is_that_of_a_part(monkeypatch):
    """The temporary memory of a compiled gradient, one input, parts of 1024 paths."""
    module = sys.modules["covsde.solve._simulate"]
    monkeypatch.setattr(module, "_ENTRIES_IN_CACHE", 2**10)
    monkeypatch.setattr(module, "_ENTRIES_KEPT", 0)
    v0, steps, cell = jnp.ones((1, 1)), 64, 8  # bytes

    def memory(num_paths):
        def statistic(c):
            limit, dt0 = covsde.ShapedMLP(smooth(c)), T / steps
            solution = covsde.solve(limit, v0, T, key=KEY, num_paths=num_paths, dt0=dt0)
            return jnp.mean(solution.vs)

        compiled = jax.jit(jax.grad(statistic)).lower(0.9).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = memory(2**10), memory(2**14)
    print(f"{few / 2**20:.2f} and {many / 2**20:.2f} MB")
    assert few > steps * cell * 2**10  # the states of a part
    # results and their cotangents, not states, of the others
    assert many < few + 8 * cell * 2**14


def test_states_are_kept_once():
    """A factor of three entries, its pending time and when it was stopped, at each step."""
    steps, paths, cell = 64, 4096, 8

    def statistic(c, v0):
        limit = covsde.ShapedMLP(covsde.ShapedReLU(0.0, c))
        options = dict(key=KEY, num_paths=paths, dt0=T / steps)
        return jnp.mean(covsde.solve(limit, v0, T, **options).vs)

    compiled = jax.jit(jax.grad(statistic)).lower(-1.0, V0).compile()
    states = 5 * steps * paths * cell
    memory = compiled.memory_analysis().temp_size_in_bytes
    print(f"{memory / states:.2f} times the states")
    assert states < memory < 1.5 * states


def test_a_step_cannot_be_chosen_from_traced_parameters():
    def statistic(c_plus):
        limit = covsde.ShapedMLP(relu(c_plus))
        return jnp.sum(covsde.solve(limit, V0, T, key=KEY, num_paths=2).vs)

    with pytest.raises(ValueError, match="`dt0` must be given when JAX traces"):
        jax.grad(statistic)(0.4)
