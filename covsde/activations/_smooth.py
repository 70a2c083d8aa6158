"""Shaped smooth activations: any smooth function, by its derivatives at one point."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.jet import jet
from jaxtyping import Array, Scalar

from .._checks import count, is_concrete, parameter
from ..equations import Equation, Symbol
from ..flows import where_leaving_span
from ..matrices import (
    Lower,
    Symmetric,
    cholesky,
    gram,
    multiply,
    semidefinite_cholesky,
    whiten_fourth_moment,
)
from ..references import NEURAL_COVARIANCE_SDE
from ._base import AbstractActivation, check_exponent, power_of_width


class Expansion(eqx.Module):
    """All that a drift asks of an activation, as numbers: its derivatives at the centre."""

    derivatives: tuple[Array, Array, Array, Array]


def expanded(tree: Any) -> Any:
    """The same, whose shaped activations are numbers and no functions.

    For what is compiled: two functions are two programs, be they written alike.
    """

    def one(x):
        if type(x) is not ShapedSmooth:
            return x
        with jax.ensure_compile_time_eval():
            expansion = Expansion(taylor_derivatives(x.fn, x.center))
        return eqx.tree_at(lambda x: x.fn, x, expansion)

    return jax.tree.map(one, tree, is_leaf=lambda x: type(x) is ShapedSmooth)


def taylor_derivatives(fn: Callable, x: Scalar) -> tuple[Array, Array, Array, Array]:
    """`φ, φ', φ'', φ'''` at `x`, by Taylor-mode automatic differentiation."""
    if isinstance(fn, Expansion):
        return fn.derivatives
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    try:
        value, (d1, d2, d3) = jet(fn, (x,), ((one, zero, zero),))
    except Exception:  # no Taylor rule for some primitive: differentiate three times
        first = jax.grad(fn)
        second = jax.grad(first)
        value, d1, d2, d3 = fn(x), first(x), second(x), jax.grad(second)(x)
    return jnp.asarray(value), jnp.asarray(d1), jnp.asarray(d2), jnp.asarray(d3)


class ShapedSmooth(AbstractActivation):
    """A smooth activation shaped towards the identity, `φ_s(x) = s φ̃(x/s)`, `s = a n^p`,

    where `φ̃(x) = (φ(x + x₀) − φ(x₀))/φ'(x₀)` is expanded at the centre `x₀`. With
    `φ₂ = φ''(x₀)/φ'(x₀)` and `φ₃ = φ'''(x₀)/φ'(x₀)`:

    `b^{ab} = A (V^{aa}V^{bb} + V^{ab}(2V^{ab} − 3)) + B V^{ab}(V^{aa} + V^{bb} − 2)`,
    `A = φ₂²/4a²`, `B = φ₃/2a²`.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Definition 3.6, Theorem 3.9.
    """

    fn: Callable
    a: Scalar
    center: Scalar
    p: float = eqx.field(default=0.5, static=True)
    accepts_singular: ClassVar[bool] = True

    def __init__(self, fn: Callable, a: float, center: float = 0.0, p: float = 0.5):
        """**Arguments:**

        - `fn`: any JAX function of one number, smooth at `center`, such as `jnp.tanh`.
        - `a`: the shaping constant, positive, of `φ(x/(a√n))`; larger is closer to linear.
        - `center`: the point x₀ about which φ is used.
        - `p`: exponent of the shaping, `n^p` for `√n`. 0.5 has an SDE as its limit; less,
          of an MLP, a deterministic one in the time `layers/n^{2p}`
          ([`covsde.KernelODE`][]); more, no drift.

        **Raises:** `TypeError` if `fn` is no JAX function of a number; `ValueError` if at
        `center` a derivative is not finite, the slope is 0, or `fn` is not smooth.
        """
        if not callable(fn):
            raise TypeError(
                f"`fn` must be a JAX function of one number; got {fn!r}. "
                "For example `ShapedSmooth(jnp.tanh, a=1.0)`."
            )
        self.fn = fn
        way_out = "For example `ShapedSmooth(jnp.tanh, a=1.0)`."
        accepted = "a positive finite number"
        self.a = parameter("a", a, accepted, way_out, test=lambda x: x > 0)
        way_out = "It is the point about which `fn` is expanded; 0.0 is usual."
        self.center = parameter("center", center, "a finite real number", way_out)
        self.p = check_exponent(p)
        if is_concrete(self.center):
            with jax.ensure_compile_time_eval():
                _refuse_unsmooth(fn, self.center)
                if is_concrete(self.a):
                    _refuse_infinite(self)

    def shaped(self, x, width):
        """`s (φ(x₀ + x/s) − φ(x₀))/φ'(x₀)`."""
        count("width", width, "Pass the number of neurons of a hidden layer.")
        s = self.a * width**self.p
        value, slope, _, _ = taylor_derivatives(self.fn, self.center)
        return s * (self.fn(self.center + x / s) - value) / slope

    @property
    def derivatives(self) -> tuple[Scalar, Scalar]:
        """`(φ₂, φ₃)`: second and third derivative at the centre over the slope there."""
        _, d1, d2, d3 = taylor_derivatives(self.fn, self.center)
        return d2 / d1, d3 / d1

    @property
    def coefficients(self) -> tuple[Scalar, Scalar]:
        """`(A, B) = (φ₂²/4a², φ₃/2a²)`, the two numbers of the drift."""
        phi2, phi3 = self.derivatives
        return phi2**2 / (4 * self.a**2), phi3 / (2 * self.a**2)

    @property
    def stability_index(self):
        """`κ = (¾φ₂² + φ₃)/a²`: the norm can explode if κ > 0 (Theorem 3.10)."""
        a, b = self.coefficients
        return 3 * a + 2 * b

    @property
    def rate(self):
        """`3A + 2|B|`."""
        a, b = self.coefficients
        return 3 * a + 2 * jnp.abs(b)

    def speed(self, factor):
        """`κ max V^{aa}`, at which the largest variance grows."""
        a, b = self.coefficients
        return jnp.maximum(3 * a + 2 * b, 0.0).astype(factor.dtype) * factor.largest_row()

    @property
    def speeds_up(self):
        """Whether it can explode. Of parameters that JAX traces nobody knows: as if not."""
        return is_concrete(self.stability_index) and self.can_explode

    @property
    def exponent(self):
        """p."""
        return self.p

    @property
    def equation(self):
        """The drift in LaTeX."""
        drift = (
            r"b^{ab} = A \left(V^{aa} V^{bb} + V^{ab} (2 V^{ab} - 3)\right)"
            r" + B V^{ab} (V^{aa} + V^{bb} - 2)"
        )
        bend = r"A = \frac{1}{4 a^2} \left(\frac{\varphi''(x_0)}{\varphi'(x_0)}\right)^2"
        third = r"B = \frac{\varphi'''(x_0)}{2 a^2 \varphi'(x_0)}"
        first, second = self.coefficients
        n = power_of_width(self.p)
        return Equation(
            "ShapedSmooth",
            (),
            (
                Symbol("b", "drift of the shaped activation", drift),
                Symbol("A", "what the second derivative adds", bend, first),
                Symbol("B", "what the third derivative adds", third, second),
                Symbol(r"\varphi", "activation", "", self.fn, "fn"),
                Symbol("a", f"shaping: φ is used at the scale 1/(a {n})", "", self.a, "a"),
                Symbol("x_0", "point about which φ is used", "", self.center, "center"),
            ),
            (NEURAL_COVARIANCE_SDE.at("Definition 3.6, Theorem 3.9"),),
        )

    def drift(self, v_aa, v_bb, v_ab):
        """`A (V^{aa}V^{bb} + V^{ab}(2V^{ab} − 3)) + B V^{ab}(V^{aa} + V^{bb} − 2)`."""
        a, b = self.coefficients
        return a * (v_aa * v_bb + v_ab * (2 * v_ab - 3)) + b * v_ab * (v_aa + v_bb - 2)

    def flow(self, factor, h):
        """Second-order flow within the cone, for every `h`; exact on the diagonal.

        `b = CV + VC + P` with `C` diagonal and `P = A(vvᵀ + 2 V∘V) ⪰ 0`: the first part
        scales the rows, the second only adds. A diagonal entry that explodes within `h`
        becomes NaN.
        """
        a, b = self.coefficients
        v0 = factor.squared_rows()
        times = factor.per_row(jnp.broadcast_to(h, factor.batch))
        log_growth = _log_growth_over_kappa(v0, 3 * a + 2 * b, times)
        v1 = v0 * jnp.exp((3 * a + 2 * b) * log_growth)
        scale = jnp.exp(b * log_growth - 1.5 * a * times)

        def source(v: Symmetric, rows: Array) -> Symmetric:
            squares = v.map(lambda v_ab: 2 * a * v_ab**2)
            ones = v.map(lambda v_ab: jnp.full_like(v_ab, a))
            return (squares + ones.scale(rows)).kept()

        def flow_of_factor() -> Lower:
            scaled = factor.scale_rows(scale).kept()
            y0 = whiten_fourth_moment(factor, factor) * (a * h)
            stage = multiply(scaled, cholesky(y0.add_diagonal(1.0), floor=1.0))
            y1 = whiten_fourth_moment(scaled, stage) * (a * h)
            mean = ((y0 + y1) * 0.5).add_diagonal(1.0)
            return multiply(scaled, cholesky(mean, floor=1.0))

        def flow_of_v() -> Lower:
            v = gram(factor)
            stage = (v + source(v, v0) * h).scale(scale)
            end = v.scale(scale) + stage + source(stage, v1) * h
            return semidefinite_cholesky(end * 0.5)

        p = source(gram(factor), v0)
        moved = where_leaving_span(factor, p, flow_of_factor(), flow_of_v)
        return moved.scale_rows(jnp.sqrt(v1 / moved.squared_rows()))


def _log_growth_over_kappa(v0: Array, kappa: Scalar, h: Array) -> Array:
    """`log(v(h)/v0)/κ` of `v' = κ v(v−1)`, also at κ = 0; NaN if `v` explodes before `h`.

    `1/v(h) = 1 + (1/v0 − 1) e^{κh}`.
    """
    small = jnp.abs(kappa) < 1e-12
    safe = jnp.where(small, 1.0, kappa)
    growth = jnp.where(small, h, jnp.expm1(safe * h) / safe)  # (e^{κh} − 1)/κ
    x = (1 - v0) * growth
    return jnp.where(small, -x, -jnp.log1p(safe * x) / safe)


def _refuse_infinite(activation: ShapedSmooth) -> None:
    """Refuses a shaping so strong that the drift's numbers have no float."""
    coefficients = [float(x) for x in activation.coefficients]
    if not np.all(np.isfinite(coefficients)):
        raise ValueError(
            f"`a` must leave A = φ₂²/4a² and B = φ₃/2a² finite; got "
            f"{coefficients[0]:g} and {coefficients[1]:g} from a = "
            f"{float(activation.a):g}. Pass a larger one; 1 is usual."
        )


def _refuse_unsmooth(fn: Callable, center: Scalar) -> None:
    """Refuses a function whose Taylor expansion at the centre is not what it does there."""
    name = getattr(fn, "__name__", repr(fn))
    where = f"`fn` = {name} at `center` = {float(center):g}"
    try:
        expansion = taylor_derivatives(fn, center)
    except Exception as error:
        raise TypeError(
            f"`fn` must be a JAX function of one number; {name} could not be "
            f"differentiated ({type(error).__name__}). Write it with `jax.numpy`."
        ) from error
    if any(np.shape(d) != () for d in expansion):
        raise TypeError(
            f"`fn` must return one number for one number; {name} returned an array of "
            f"shape {np.shape(expansion[0])}. Write it elementwise."
        )
    _, d1, d2, d3 = map(float, expansion)
    if not np.all(np.isfinite([d1, d2, d3])):
        raise ValueError(
            f"{where} must have three finite derivatives; got {d1:g}, {d2:g}, {d3:g}. "
            "Choose another `center`."
        )
    if d1 == 0:
        raise ValueError(
            f"{where} must have a slope that is not 0: shaping divides by it. "
            "Choose another `center`, e.g. where the function is increasing."
        )
    step = 1e-4 if center.dtype == jnp.float64 else 1e-2
    for side in (-step, step):
        _, slope, bend, _ = map(float, taylor_derivatives(fn, center + side))
        kinked = abs(slope - (d1 + side * d2 + side**2 / 2 * d3)) > 0.1 * step * abs(d1)
        scale = abs(d1) + abs(d2) + abs(d3)
        if kinked or abs(bend - (d2 + side * d3)) > 0.1 * step * scale:
            raise ValueError(
                f"{where} must be smooth (three continuous derivatives); its derivatives "
                f"jump there. For a kink use `ShapedReLU`, or choose another `center`."
            )
