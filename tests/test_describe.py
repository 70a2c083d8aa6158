"""Descriptions: what they say in LaTeX is what the code computes."""

import importlib.util
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.latex import System, Whole

import covsde
from covsde import describe, references
from covsde._plain import plain

ROOT = Path(__file__).parent.parent
RELU = covsde.ShapedReLU(0.25, -1.0)
SMOOTH = covsde.ShapedSmooth(jax.nn.softplus, a=1.5, center=0.5)
LIMITS = [
    covsde.ShapedMLP(covsde.Identity()),
    covsde.ShapedMLP(RELU),
    covsde.ShapedMLP(SMOOTH),
    covsde.ShapedResNet(RELU, 0.5),
    covsde.ShapedFeedForward(SMOOTH, 0.75, 4.0),
    covsde.ShapedAttention(0.5, 1.25),
    covsde.ShapedAttention(0.75, 0.5, heads=3, output_projection=True),
    covsde.ShapedTransformer(RELU, 0.5, 2.0, heads=2, feed_forward_gamma=0.75),
    covsde.Block(
        covsde.ShapedResNet(SMOOTH, 0.5),
        covsde.ShapedTransformer(SMOOTH, 0.25, 0.5, hidden_ratio=2.0),
        covsde.Block(covsde.ShapedMLP(RELU)),
    ),
    covsde.KernelODE(covsde.BranchCovariance(covsde.LeakyReLU(1.0, -0.25), 1.5)),
    covsde.KernelODE(covsde.ActivationDrift(SMOOTH, 0.5)),
]
every_limit = pytest.mark.parametrize("limit", LIMITS, ids=lambda x: type(x).__name__)
whatever_is_described = pytest.mark.parametrize(
    "limit", [*LIMITS, covsde.UnshapedMLP(1.0, -0.25)], ids=lambda x: type(x).__name__
)
FUNCTIONS = {"softplus": jax.nn.softplus}
M = 3


def state():
    f = np.random.default_rng(3).normal(size=(M, M)) + np.eye(M)
    return f, f @ f.T / 2


def increment(latex: str, noises: dict[str, np.ndarray], dt: float) -> np.ndarray:
    """`dV` of the equations in LaTeX."""
    f, v = state()
    given = {
        "F": Whole(f / 2**0.5),
        "m": M,
        r"\delta": Whole(np.eye(M)),
        "dt": dt,
        **{f"d{name}": Whole(dx) for name, dx in noises.items()},
    }
    if not noises:  # nothing else needs a factor
        given["V"] = Whole(v)
    system = System(latex, given, FUNCTIONS)
    np.testing.assert_allclose(system["V"].array, v)
    return system[r"\mathrm{d}V"].array


def motions(description) -> list[str]:
    return [s.latex for s in description.symbols if "Brownian" in s.meaning]


@every_limit
def test_the_drift_in_latex_is_the_drift_of_the_code(limit):
    description = describe(limit)
    still = {name: np.zeros((M, M)) for name in motions(description)}
    b = limit.drift(jnp.zeros(()), jnp.asarray(state()[1]), None)
    # numbers are written with six digits
    ours = increment(description.latex, still, 0.5)
    np.testing.assert_allclose(ours, b * 0.5, rtol=1e-6, atol=1e-12)


@every_limit
def test_the_noise_in_latex_has_the_covariance_of_the_code(limit):
    """`Σ` is the sum of `dV dVᵀ` over the unit increments of each motion."""
    description = describe(limit)
    names = motions(description)
    total = np.zeros((M, M, M, M))
    for name in names:
        for i, j in np.ndindex(M, M):
            unit = np.zeros((M, M))
            unit[i, j] = 1
            if name.startswith("S"):  # variance 1 off the diagonal, 2 on it
                unit = (unit + unit.T) / 2**0.5
            noises = {one: unit if one == name else np.zeros((M, M)) for one in names}
            dv = increment(description.latex, noises, 0.0)
            total += np.multiply.outer(dv, dv)
    covariance = limit.diffusion.covariance(jnp.asarray(state()[1]))
    np.testing.assert_allclose(total, covariance, rtol=1e-10, atol=1e-10)


def test_the_reader_of_latex_finds_a_wrong_formula():
    """The tests above can fail: a sign, an index, a power, a number or a name."""
    limit = LIMITS[3]
    right = describe(limit).latex
    still = {"S": np.zeros((M, M))}
    b = limit.drift(jnp.zeros(()), jnp.asarray(state()[1]), None)
    for old, new in (
        (r"1 - \rho^2", r"1 + \rho^2"),
        (r"\frac{V^{ab}}", r"\frac{V^{aa}}"),
        (r"\gamma^2 b", r"\gamma b"),
        ("c_- = -1", "c_- = 1"),
    ):
        assert old in right
        wrong = increment(right.replace(old, new), still, 1.0)
        assert np.max(np.abs(wrong - b)) > 1e-2
    with pytest.raises(AssertionError):
        wrong = right.replace(r"\Gamma &= \gamma^2", r"\Gamma &= \gamma")
        increment(wrong, still, 1.0)
    with pytest.raises(KeyError):
        increment(right.replace(r"\gamma = 0.5", r"\eta = 0.5"), still, 1.0)


@whatever_is_described
def test_parameters_are_attributes_and_stand_in_the_equation(limit):
    description = describe(limit)
    numbers = jax.tree.leaves(eqx.filter(limit, eqx.is_array))
    assert len(description.parameters) >= len(numbers)
    lines = str(description).splitlines()
    for one in description.parameters:
        assert eval(f"limit.{one.name}", {"limit": limit}) is one.value
        assert f"{one.latex} = " in description.latex
        start = f"  {plain(one.latex)} = "
        assert any(line.startswith(start) and line.endswith(one.name) for line in lines)


@whatever_is_described
def test_a_description_explains_every_letter(limit):
    description = describe(limit)
    letters = [symbol.latex for symbol in description.symbols]
    assert len(set(letters)) == len(letters)
    assert all(symbol.meaning for symbol in description.symbols)
    lines = str(description).splitlines()
    for symbol in description.symbols:
        if not symbol.name:
            row = rf"  {re.escape(plain(symbol.latex))} +{re.escape(symbol.meaning)}"
            assert any(re.fullmatch(row, line) for line in lines), symbol
    assert "\\" not in str(description) and "{" not in str(description)


def test_a_block_is_described_by_its_sub_layers():
    limit = covsde.ShapedTransformer(RELU, 0.5, 2.0)
    parts = [describe(limit.attention), describe(limit.feed_forward)]
    whole = describe(limit)
    assert [one.title for one in whole.equations] == [
        "ShapedAttention",
        "ShapedFeedForward",
    ]
    papers = {paper.key for part in parts for paper in part.references}
    assert {paper.key for paper in whole.references} == papers
    assert {s.meaning for s in whole.symbols} == {
        s.meaning for part in parts for s in part.symbols
    }
    assert "one block" in str(whole) and "one layer" in str(parts[0])
    assert r"\gamma_1" in whole.latex and r"\gamma_1" not in parts[0].latex
    alone = describe(covsde.Block(limit.attention))
    assert alone.latex == parts[0].latex
    assert alone.parameters[0].name == "sublayers[0].gamma"


def test_it_is_text_to_read():
    text = str(describe(covsde.ShapedResNet(RELU, 0.5)))
    assert text.startswith("ShapedResNet(ShapedReLU(c_plus=0.25, c_minus=-1), gamma=0.5)")
    for line in (
        "dV = γ² b dt + √Γ F dS Fᵀ",
        "bᵃᵇ = (c₊ − c₋)²/(2 π) (√(1 − ρ²) − ρ arccos ρ) √(Vᵃᵃ Vᵇᵇ)",
        "ρ = Vᵃᵇ/√(Vᵃᵃ Vᵇᵇ)",
        "Γ = γ² (2 − γ²) = 0.4375",
        "c₋ = −1    shaping of the slope 1 + c₋/√n  activation.c_minus",
    ):
        assert f"\n  {line}\n" in text
    assert "arXiv:2206.02768 (Definition 3.1, Theorem 3.2)" in text


def test_latex_in_plain_text():
    for latex, text in (
        (r"\tau_{0,1}^2", "τ₀,₁²"),
        (r"\frac{a + b}{2 m} F^\top", "(a + b)/(2 m) Fᵀ"),
        (r"\frac{\gamma^2}{\tau_0 \sqrt{H}}", "γ²/(τ₀ √H)"),
        (r"x^{1/2}", "x^(1/2)"),
        (r"1 \cdot 10^{-5}", "1 · 10⁻⁵"),
        (r"\text{my\_function}", "my_function"),
    ):
        assert plain(latex) == text


def test_small_numbers_and_odd_names_are_written_in_latex():
    def my_tanh(x):
        return jnp.tanh(x)

    limit = covsde.ShapedMLP(covsde.ShapedSmooth(my_tanh, a=1e5, center=1e-7))
    latex = describe(limit).latex
    assert r"\varphi = \text{my\_tanh}" in latex
    assert r"x_0 = 1 \cdot 10^{-7}" in latex and "a = 100000" in latex


# limits and activations that give no equation


class Leaky(covsde.AbstractActivation):
    """An activation of a user's own."""

    slope: float

    def shaped(self, x, width):
        return x * self.slope

    def drift(self, v_aa, v_bb, v_ab):
        return 0 * v_ab


class Own(covsde.AbstractLimit):
    """A limit of a user's own."""

    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion


def test_what_gives_no_equation_is_named():
    activation = describe(covsde.ShapedMLP(Leaky(0.5)))
    assert "b  drift of Leaky(slope=0.5), of which no equation is given" in str(activation)
    assert r"\mathrm{d}V &= b\,\mathrm{d}t + F" in activation.latex
    limit = Own(covsde.ActivationDrift(RELU), covsde.CongruenceDiffusion())
    text = str(describe(limit))
    assert "dV = b dt + dN" in text and text.count("no equation is given") == 2
    assert "ActivationDrift(ShapedReLU(c_plus=0.25, c_minus=-1), gain=1)" in text
    assert "References" not in text and describe(limit).bibtex == ""
    block = describe(covsde.Block(limit, covsde.ShapedMLP(RELU)))
    assert r"b_1\,\mathrm{d}t + \mathrm{d}N_1" in block.latex


def test_deterministic_limits_have_a_time_of_their_own():
    branch = str(describe(covsde.KernelODE(covsde.BranchCovariance(jnp.tanh))))
    assert "dV = b dt" in branch and "time, l/d" in branch and "Hayou" in branch
    strong = covsde.ActivationDrift(covsde.ShapedReLU(0.0, -1.0, 0.25))
    strong = str(describe(covsde.KernelODE(strong)))
    assert "dV = b dt" in strong and "takes n^-0.5" in strong
    assert "1 + c₋/n^0.25" in strong
    own = str(describe(covsde.KernelODE(covsde.AttentionDrift(1.0))))
    assert "dV = b dt" in own and "no equation is given" in own and "dN" not in own


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.5, -1.25)])
def test_the_unshaped_limit_is_the_equation_of_its_own_letter(slopes):
    """Its moments are those that the formula in LaTeX gives."""
    limit = covsde.UnshapedMLP(*slopes)
    description = describe(limit)
    assert [s.name for s in description.parameters] == ["slope_plus", "slope_minus"]
    u, dt = 0.3, 0.125

    def du(dt, db):
        system = System(description.latex, {"u": u, "dt": dt, "dB": db}, {})
        return system[r"\mathrm{d}u"]

    # E u' = K/2 + χu, and E (u²)' = 2u E u' plus the squared noise
    chi = float(limit.spread)
    slope, slope_of_square = jax.jvp(
        lambda t: (limit.mean(t, u), limit.second_moment(t, u)), (0.0,), (1.0,)
    )[1]
    np.testing.assert_allclose(du(dt, 0.0), slope * dt, rtol=1e-6)
    np.testing.assert_allclose(
        du(0.0, 1.0) ** 2, slope_of_square - 2 * u * slope, rtol=1e-6
    )
    np.testing.assert_allclose(du(0.0, 1.0), -np.sqrt(chi) * u, rtol=1e-14)
    text = str(description)
    assert "\n  du = (K/2 + χ u) dt − √χ u dB\n  K = " in text and "dV" not in text
    assert "u = 1/(n √(1 − ρ))" in text and "Itô equation" in text
    assert "arXiv:2310.12079 (Theorem 3.3)" in text


def test_unknown_numbers_are_described_too():
    texts = []

    @jax.jit
    def trace(gamma):
        texts.append(str(describe(covsde.ShapedResNet(RELU, gamma))))
        return gamma

    trace(0.5)
    assert "γ = traced" in texts[0]


@pytest.mark.parametrize("wrong", [RELU, covsde.ShapedMLP, "mlp", None])
def test_what_is_no_limit_is_refused(wrong):
    with pytest.raises(TypeError, match=r"`limit` must be a limit; got .*ShapedMLP\("):
        describe(wrong)


def test_it_cannot_be_changed():
    description = describe(LIMITS[0])
    with pytest.raises(AttributeError):
        description.name = "mine"


# in papers and pages


def fields(entry: str) -> dict[str, str]:
    """The fields of a BibTeX entry."""
    assert entry.count("{") == entry.count("}")
    match = re.fullmatch(r"@(?:inproceedings|misc)\{(\w+),\n(.*)\n\}", entry, re.DOTALL)
    lines = (re.fullmatch(r"  (\w+) += \{(.*)\}", x) for x in match[2].split(",\n"))
    return {"key": match[1]} | {line[1]: line[2] for line in lines}


def test_bibtex_has_the_fields_of_the_papers():
    description = describe(LIMITS[8])
    entries = [fields(entry) for entry in description.bibtex.split("\n\n")]
    assert [one["eprint"] for one in entries] == ["2206.02768", "2306.17759", "2310.12079"]
    assert len({one["key"] for one in entries}) == 3
    for entry, paper in zip(entries, description.references, strict=True):
        assert entry == {"key": paper.key} | paper.fields
        assert entry["author"].split(" and ") == list(paper.authors)
        assert entry["title"] and entry["year"] in ("2022", "2023")


def test_the_readme_cites_the_same_paper():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^```bibtex\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    ours = fields(references.NEURAL_COVARIANCE_SDE.bibtex)
    theirs = fields(entry)
    assert theirs == {name: ours[name] for name in theirs}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert ours["title"].replace("{", "").replace("}", "") in citation


@whatever_is_described
def test_the_documentation_can_typeset_it(limit):
    pytest.importorskip("math_core")
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("math_hook", ROOT / "docs/hooks/math.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    latex = describe(limit).latex
    mathml = hook.converter.convert_with_local_state(latex, displaystyle=True)
    assert mathml.count("<mtr") == latex.count(r"\\") + 1
    assert "<merror" not in mathml
    with pytest.raises(hook.LatexError):
        hook.converter.convert_with_local_state(
            latex.replace("}", "", 1), displaystyle=True
        )
    assert describe(limit)._repr_latex_() == f"$$\n{latex}\n$$"
