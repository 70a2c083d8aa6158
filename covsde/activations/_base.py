"""What an activation is: a function shaped by the width, and the drift it induces."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from .._checks import count, found, number
from .._names import full_name
from ..equations import Equation, Symbol
from ..flows import fourth_order_flow, positive_definite_flow
from ..matrices import Lower, Symmetric
from ..references import NEURAL_COVARIANCE_SDE

_QUADRATURE_NODES = 128


def check_exponent(p) -> float:
    """An exponent of the shaping: a plain number, for it decides the kind of the limit."""
    accepted = "a positive finite number of at most 16, for which n^p has a float"
    way_out = "The SDE is the limit for 0.5."
    return number("p", p, accepted, way_out, test=lambda x: 0 < x <= 16)


def power_of_width(p: float) -> str:
    """`n^p` in words."""
    return "√n" if p == 0.5 else f"n^{p:g}"


class AbstractActivation(eqx.Module):
    """A shaped activation.

    A new one gives two methods: `shaped`, what a network of width `n` applies, and
    `drift`, a function of one pair of inputs. Everything else has a safe default.
    For a smooth function there is nothing to write: use [`covsde.ShapedSmooth`][].
    """

    # Whether `flow` accepts a singular V0 (duplicate inputs, more inputs than features):
    # that which all have does; a class with another, which does not, must say False.
    accepts_singular: ClassVar[bool] = True

    @abc.abstractmethod
    def shaped(self, x: Float[Array, "..."], width: int) -> Float[Array, "..."]:
        """The function φ_s that a finite network of width `width` applies, elementwise."""

    @abc.abstractmethod
    def drift(self, v_aa: Array, v_bb: Array, v_ab: Array) -> Array:
        """Drift `b^{ab}` of one entry, elementwise in the entries of `V` it depends on.

        Called with `v_aa = v_bb = v_ab` it is the drift of a diagonal entry.
        """

    def drift_of(self, v: Symmetric) -> Symmetric:
        """`b(V)`, all entries of it: `drift` of each, unless there is a quicker way."""
        return v.pairwise(self.drift)

    def normalising_constant(self, width: int) -> Scalar:
        """`c` with `1/c = E φ_s(g)²`, `g ~ N(0, 1)`, by Gauss–Hermite quadrature."""
        count("width", width, "Pass the number of neurons of a hidden layer.")
        nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_NODES)
        weights = jnp.asarray(weights / weights.sum(), jnp.result_type(float))
        values = self.shaped(jnp.asarray(nodes, weights.dtype), width)
        return 1 / jnp.sum(weights * values**2)

    def flow(self, factor: Lower, h: Array) -> Lower:
        """Moves the factor of `V` by `dV = b(V) dt` for a time `h`, within the cone."""
        return positive_definite_flow(self.drift_of, factor, h)

    def fourth_order_flow(self, factor: Lower, h: Array) -> Lower:
        """`flow`, of order 4 in `h`: for means that are extrapolated, from regular `V`."""
        return fourth_order_flow(self.drift_of, factor, h)

    @property
    def max_step(self) -> float | Scalar:
        """Longest time for which `flow` is proven to stay within the cone."""
        return jnp.inf

    @property
    def rate(self) -> float | Scalar | None:
        """Inverse time scale of the drift (width/depth); sets the default step.

        None if it is not known: then it is looked at, at the start.
        """
        return None

    def speed(self, factor: Lower) -> Array:
        """Inverse time scale at `V = L Lᵀ`, per path, of a drift that grows with `V`."""
        return jnp.zeros(factor.batch, factor.dtype)

    @property
    def speeds_up(self) -> bool:
        """Whether `speed` depends on V, so that each path needs a clock of its own."""
        return type(self).speed is not AbstractActivation.speed

    @property
    def stability_index(self) -> float | Scalar:
        """κ of the one-input equation `dV = κ V(V−1) dt + √2 V dB`; NaN if not of it."""
        return jnp.nan

    @property
    def exponent(self) -> float:
        """p of the shaping, `s = a n^p` or `s_± = 1 + c_± n^{-p}`; ½ leads to an SDE.

        `drift` is that in the time `l n^{-2p}`, which for p = ½ is depth/width.
        """
        return 0.5

    @property
    def equation(self) -> Equation:
        """The drift in LaTeX, for [`covsde.describe`][]; by default it is only named."""
        meaning = f"drift of {full_name(self)}, of which no equation is given"
        return Equation(type(self).__name__, (), (Symbol("b", meaning),))

    @property
    def can_explode(self) -> bool:
        """Whether the norm of `V` can become infinite in finite time."""
        with jax.ensure_compile_time_eval():
            return not float(self.stability_index) <= 0


def check_shaped(activation) -> AbstractActivation:
    """Refuses what is no shaped activation."""
    if not isinstance(activation, AbstractActivation):
        raise TypeError(
            f"`activation` must be a shaped activation; got {found(activation)}. "
            "For example `ShapedReLU(0.0, -1.0)`, or `ShapedSmooth(fn, a=1.0)` for a JAX "
            "function `fn`."
        )
    return activation


class Identity(AbstractActivation):
    """No activation: the deep linear network. `b = 0`, so `V` is a martingale.

    Source: "The Neural Covariance SDE" (Li, Nica, Roy 2022), Theorem 3.2 with c₊ = c₋.
    """

    def shaped(self, x, width):
        """`φ_s(x) = x`, for every width."""
        count("width", width, "Pass the number of neurons of a hidden layer.")
        return x

    def normalising_constant(self, width):
        """`c = 1`."""
        count("width", width, "Pass the number of neurons of a hidden layer.")
        return jnp.ones(())

    def drift(self, v_aa, v_bb, v_ab):
        """`b = 0`."""
        return jnp.zeros_like(v_ab)

    def flow(self, factor, h):
        """Nothing moves."""
        return factor

    def fourth_order_flow(self, factor, h):
        """Nothing moves."""
        return factor

    @property
    def rate(self):
        """0: there is no drift."""
        return 0.0

    @property
    def stability_index(self):
        """κ = 0."""
        return 0.0

    @property
    def equation(self):
        """`b = 0`, in LaTeX."""
        drift = Symbol("b", "drift: none without an activation", "b^{ab} = 0")
        return Equation(
            "Identity", (), (drift,), (NEURAL_COVARIANCE_SDE.at("Theorem 3.2"),)
        )
