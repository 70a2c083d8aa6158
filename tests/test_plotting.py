"""Figures: what they show, and what they refuse."""

import dataclasses
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import plotting
from covsde.convergence import Order

matplotlib = pytest.importorskip("matplotlib")


def wishart(seed, paths, times=(0.0, 0.25, 0.5), m=4, width=None, stopped=0):
    """A made-up solution: it starts at one covariance and spreads."""
    rng = np.random.default_rng(seed)
    start = np.linalg.cholesky(0.7 * np.eye(m) + 0.3)
    noise = rng.normal(size=(paths, len(times), m, 8))
    mean = start @ start.T
    spread = start @ (noise @ np.swapaxes(noise, -1, -2) / 8) @ start.T
    share = np.array(times)[:, None, None] / times[-1]
    stopped_at = np.where(np.arange(paths) < stopped, 0.1, np.inf)
    return covsde.Solution(
        ts=jnp.array(times),
        vs=jnp.array((1 - share) * mean + share * spread),
        stopped_at=jnp.array(stopped_at),
        limit=covsde.ShapedMLP(covsde.Identity()),
        key=jax.random.key(seed),
        width=width,
    )


def nearness(seed, paths, times=(0.25, 0.5), width=None, gone=0):
    """A made-up solution of the unshaped limit."""
    noise = np.random.default_rng(seed).normal(size=(paths, len(times)))
    us = np.array(times) * np.exp(0.4 * noise)
    us[:gone] = np.inf
    return covsde.UnshapedSolution(
        ts=jnp.array(times),
        us=jnp.array(us),
        limit=covsde.UnshapedMLP(),
        key=jax.random.key(seed),
        width=width,
    )


LIMIT = wishart(0, 400)
NETWORKS = [wishart(n, 200, width=n) for n in (16, 32, 64)]
DRAW = [
    plotting.correlation_densities,
    plotting.correlation_fan,
    plotting.correlation_matrices,
]


def words(figure):
    """Everything that is written on a figure."""
    figure.canvas.draw()
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(artist.get_text() for artist in found)


@pytest.mark.parametrize("draw", DRAW)
def test_a_figure_can_be_saved_and_names_what_it_shows(draw, tmp_path):
    figure = draw(LIMIT, NETWORKS)
    assert "limit" in words(figure) and "n = 64" in words(figure)
    figure.savefig(tmp_path / "figure.png")
    figure.savefig(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("draw", DRAW)
def test_drawing_leaves_the_callers_matplotlib_alone(draw):
    before = dict(matplotlib.rcParams)
    draw(LIMIT, NETWORKS[0])
    assert dict(matplotlib.rcParams) == before


def test_time_and_its_unit_are_on_the_axis():
    assert "depth/width" in words(plotting.correlation_fan(LIMIT))


def test_a_histogram_integrates_to_one():
    figure = plotting.correlation_densities(LIMIT, pairs=[(0, 1)], bins=10)
    patch = figure.axes[0].patches[0]
    values, edges, _ = patch.get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(1, abs=0.01)


def test_the_band_holds_its_share_of_paths():
    figure = plotting.correlation_fan(LIMIT, pairs=[(0, 1)])
    outline = figure.axes[0].collections[0].get_paths()[0].vertices
    rho = np.asarray(covsde.observables.correlation(LIMIT.vs))[:, -1, 0, 1]
    last = outline[outline[:, 0] == 0.5][:, 1]
    assert np.mean((rho > last.min()) & (rho < last.max())) == pytest.approx(0.9, abs=0.01)


def test_mean_matrices_start_at_v0_and_show_their_numbers():
    late = wishart(0, 400, times=(0.25, 0.5))
    v0 = np.asarray(LIMIT.vs[0, 0])
    assert len(plotting.correlation_matrices(late).axes) == 2  # with the colour bar
    figure = plotting.correlation_matrices(late, NETWORKS[-1], v0=v0)
    assert len(figure.axes) == 4
    assert ".30" in words(figure)


def test_inputs_carry_their_names():
    figure = plotting.correlation_densities(LIMIT, pairs=[(0, 2)], labels=list("pqrs"))
    assert "p and r" in words(figure)


def test_stopped_paths_are_left_out():
    some = wishart(0, 400, stopped=100)
    figure = plotting.correlation_fan(some, pairs=[(0, 1)])
    rho = np.asarray(covsde.observables.correlation(some.vs))[100:, -1, 0, 1]
    assert figure.axes[0].lines[0].get_ydata()[-1] == pytest.approx(np.median(rho))
    with pytest.raises(ValueError, match="every path was stopped"):
        plotting.correlation_fan(wishart(0, 10, stopped=10))


def test_one_value_has_a_density_without_a_warning():
    """Tests fail on a warning: bins of no width divide by 0."""
    same = jnp.broadcast_to(LIMIT.vs[:1, :1], LIMIT.vs.shape)
    one = dataclasses.replace(LIMIT, vs=same)
    axis = plotting.correlation_densities(one, pairs=[(0, 1)]).axes[0]
    low, high = axis.get_xlim()
    assert low < 0.3 < high


@pytest.mark.parametrize("draw", [plotting.nearness_densities, plotting.nearness_fan])
def test_the_nearness_of_two_inputs_is_drawn(draw):
    networks = [nearness(n, 200, width=n) for n in (16, 32)]
    text = words(draw(nearness(0, 400), networks))
    assert "limit" in text and "n = 32" in text and "nearness $u" in text
    with pytest.raises(TypeError, match="`networks` must be a `UnshapedSolution`"):
        draw(nearness(0, 400), NETWORKS)
    with pytest.raises(TypeError, match="`limit` must be a `UnshapedSolution`"):
        draw(LIMIT)


def test_the_nearness_begins_at_0_and_leaves_out_inputs_that_are_one():
    networks = nearness(1, 300, width=16, gone=100)
    axis = plotting.nearness_fan(nearness(0, 400), networks).axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), [0, 0.25, 0.5])
    assert axis.lines[0].get_ydata()[0] == 0
    median = np.median(np.asarray(networks.us)[100:, -1])
    assert axis.lines[-1].get_ydata()[-1] == pytest.approx(median)
    with pytest.raises(ValueError, match="no nearness to draw"):
        plotting.nearness_densities(nearness(0, 9), nearness(1, 9, width=8, gone=9))
    with pytest.raises(ValueError, match="saveat"):
        plotting.nearness_fan(nearness(0, 9, times=(0.5,)))


def test_every_figure_of_a_comparison():
    drawn = plotting.figures(LIMIT, NETWORKS)
    assert list(drawn) == ["densities", "correlations", "fan"]
    assert list(plotting.figures(nearness(0, 9))) == ["densities", "fan"]
    assert plotting.figures(wishart(0, 9, m=1)) == {}
    with pytest.raises(TypeError, match="`limit`"):
        plotting.figures("limit")


def test_many_inputs_and_many_widths_can_be_drawn():
    many = wishart(0, 50, m=14)
    plotting.correlation_matrices(many).canvas.draw()
    networks = [wishart(n, 50, width=n) for n in (8, 16, 32, 64, 128)]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    figure = plotting.correlation_densities(LIMIT, networks, pairs=pairs)
    assert len(figure.axes) == 5


def a_study(*rows):
    """Made-up errors of orders 1 and 2, of which the last ones drown in noise."""
    steps = (2, 4, 8)
    lengths = 1 / np.array(steps)
    found = [
        covsde.convergence.Errors(
            f"Solver{p}()", steps, 0.1 * lengths**p, noise * np.ones(3), Order(p, 0.1, 3)
        )
        for p, noise in rows
    ]
    return covsde.convergence.Study("errors", "0", 1.0, 100, 0.95, tuple(found))


def test_errors_within_the_noise_are_hollow():
    figure = plotting.orders(a_study((1, 1e-4), (2, 1e-3)))
    (axis,) = figure.axes
    faces = {
        str(line.get_markerfacecolor()): len(line.get_xdata())
        for line in axis.lines
        if line.get_linestyle() == "None" and len(line.get_xdata())
    }
    assert faces == {"#0072b2": 3, "#d55e00": 2, "white": 1}
    text = words(figure)
    assert "Solver1" in text and "order 2.00 ± 0.10" in text and "1/8" in text
    assert "$h^{2}$" in text and "within the noise" in text


def test_orders_that_are_not_known_have_no_line():
    unknown = a_study((1, 1.0))
    assert not unknown.rows[0].above_noise.any()
    order = Order(math.nan, math.nan, 0)
    rows = (dataclasses.replace(unknown.rows[0], order=order),)
    figure = plotting.orders(dataclasses.replace(unknown, rows=rows))
    assert not figure.axes[0].texts and "order –" in words(figure)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: plotting.correlation_fan(wishart(0, 9, times=(0.5,))),
            ValueError,
            "saveat",
        ),
        (lambda: plotting.correlation_fan(LIMIT, pairs=[(0, 4)]), ValueError, "0 to 3"),
        (lambda: plotting.correlation_fan(LIMIT, pairs=[(1, 1)]), ValueError, "different"),
        (lambda: plotting.correlation_fan(LIMIT, pairs=[]), ValueError, "`pairs`"),
        (lambda: plotting.correlation_fan(LIMIT, labels="ab"), ValueError, "`labels`"),
        (lambda: plotting.correlation_fan(LIMIT, v0=np.eye(2)), ValueError, "`v0`"),
        (lambda: plotting.correlation_fan(wishart(0, 9, m=1)), ValueError, "two inputs"),
        (lambda: plotting.correlation_fan("limit"), TypeError, "`limit`"),
        (lambda: plotting.correlation_fan(LIMIT, [3]), TypeError, "`networks`"),
        (lambda: plotting.orders(LIMIT), TypeError, "`study`"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_the_error_tells_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"covsde\[plot\]"):
        plotting.correlation_densities(LIMIT)
