"""The shaped Transformer: blocks of shaped attention and a shaped feed-forward layer."""

import math

from jaxtyping import Scalar

from .._checks import parameter
from ..activations import AbstractActivation
from ..diffusions import CongruenceDiffusion
from ..drifts import ActivationDrift
from ..equations import (
    DRIFT_TERM,
    RESIDUAL_WEIGHT,
    SYMBOLS,
    WEIGHTS_TERM,
    Equation,
    Symbol,
)
from ..references import SHAPED_TRANSFORMER
from ._base import AbstractLimit
from ._checks import check_activation, check_gamma
from .attention import ShapedAttention
from .block import Block


class ShapedFeedForward(AbstractLimit):
    """`dV = γ² b(V) dt + √Γ F dS Fᵀ`, `Γ = γ²(2λ² + γ²(1 + n/n_h))`.

    The limit of `X' = λ X + γ √(c/n_h) φ_s(X W₁/√n) W₂`, `λ² + γ² = 1`, whose hidden
    layer has `n_h` neurons, a fixed multiple of the width n.

    Source: "The Shaped Transformer" (Noci et al. 2023), Section 4.
    """

    activation: AbstractActivation
    gamma: Scalar
    hidden_ratio: Scalar

    def __init__(
        self,
        activation: AbstractActivation,
        gamma: float | Scalar,
        hidden_ratio: float | Scalar = 1.0,
    ):
        """**Arguments:**

        - `activation`: the shaped activation.
        - `gamma`: weight γ of the residual branch, in (0, 1].
        - `hidden_ratio`: `n_h/n`, neurons of the hidden layer over the width.
        """
        self.activation = check_activation(activation)
        self.gamma = check_gamma(gamma)
        way_out = "It is the hidden layer's width over the network's, usually 1 to 4."
        accepted = "a positive finite number, and its inverse"
        self.hidden_ratio = parameter(
            "hidden_ratio",
            hidden_ratio,
            accepted,
            way_out,
            test=lambda x: x > 0 and 1 / x < math.inf,
        )

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The activation's drift, times γ²."""
        return ActivationDrift(self.activation, self.gamma**2)

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The noise of both random matrices."""
        branch = self.gamma**2
        gain = branch * (2 * (1 - branch) + branch * (1 + 1 / self.hidden_ratio))
        return CongruenceDiffusion(gain)

    @property
    def equations(self):
        """The SDE in LaTeX."""
        b = self.drift.activation.equation.within("activation")
        gain = r"\Gamma = \gamma^2 \left(2 - \gamma^2 + \frac{\gamma^2}{\eta}\right)"
        ratio = "hidden neurons over the width, n_h/n"
        return (
            Equation(
                "ShapedFeedForward",
                (rf"\gamma^2 {DRIFT_TERM}", rf"\sqrt{{\Gamma}}\,{WEIGHTS_TERM}"),
                (
                    *b.symbols,
                    Symbol(
                        r"\Gamma", "strength of the noise", gain, self.diffusion.strength
                    ),
                    Symbol(r"\gamma", RESIDUAL_WEIGHT, "", self.gamma, "gamma"),
                    Symbol(r"\eta", ratio, "", self.hidden_ratio, "hidden_ratio"),
                    *SYMBOLS,
                ),
                (*b.references, SHAPED_TRANSFORMER.at("Section 4")),
            ),
        )


class ShapedTransformer(AbstractLimit):
    """A block of [`covsde.ShapedAttention`][] and a [`covsde.ShapedFeedForward`][].

    `drift = b_attention + γ² b_activation`; with one γ and `n_h = n` the noises of the
    weights add up to `Γ = γ²(4−γ²)`. One block is the time 1/n.

    Source: "The Shaped Transformer" (Noci et al. 2023), Theorem 4.2 and Section 4.
    """

    attention: ShapedAttention
    feed_forward: ShapedFeedForward

    def __init__(
        self,
        activation: AbstractActivation,
        gamma: float | Scalar,
        tau0: float | Scalar,
        *,
        heads: int = 1,
        output_projection: bool = False,
        hidden_ratio: float | Scalar = 1.0,
        feed_forward_gamma: float | Scalar | None = None,
    ):
        """**Arguments:**

        - `activation`: the shaped activation of the feed-forward layer.
        - `gamma`: weight γ of the residual branches, in (0, 1].
        - `tau0`: temperature τ₀ of the softmax, positive.
        - `heads`, `output_projection`: as for [`covsde.ShapedAttention`][].
        - `hidden_ratio`: hidden neurons of the feed-forward layer over the width.
        - `feed_forward_gamma`: a γ of its own for the feed-forward layer. None is `gamma`.
        """
        self.attention = ShapedAttention(gamma, tau0, heads, output_projection)
        own = gamma
        if feed_forward_gamma is not None:
            own = check_gamma(feed_forward_gamma, "feed_forward_gamma")
        self.feed_forward = ShapedFeedForward(activation, own, hidden_ratio)

    @property
    def block(self) -> Block:
        """The block: attention first."""
        return Block(self.attention, self.feed_forward)

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum of both drifts."""
        return self.block.drift

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum of both noises."""
        return self.block.diffusion

    def excursion(self, m):
        """That of the attention, which outruns any activation."""
        return self.attention.excursion(m)

    @property
    def equations(self):
        """Those of both sub-layers."""
        (attention,), (feed_forward,) = (
            self.attention.equations,
            self.feed_forward.equations,
        )
        return attention.within("attention"), feed_forward.within("feed_forward")
