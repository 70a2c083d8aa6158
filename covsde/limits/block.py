"""A block: sub-layers one after the other, which add up in the limit."""

from .._checks import found
from ._base import AbstractLimit


class Block(AbstractLimit):
    """The limit of a block of sub-layers: drifts add, and independent noises add.

    One block, not one sub-layer, is the time `1/width`.
    """

    sublayers: tuple[AbstractLimit, ...]

    def __init__(self, *sublayers: AbstractLimit):
        """**Arguments:**

        - `sublayers`: limits, in the order of the forward pass.
        """
        for one in sublayers:
            if not isinstance(one, AbstractLimit) or one.is_number:
                raise TypeError(
                    "`sublayers` must be limits of covariances; got "
                    f"{found(one)}. For example "
                    "`Block(ShapedAttention(0.5, 1.0), ShapedResNet(activation, 0.5))`."
                )
        if not sublayers:
            raise ValueError("`sublayers` must be one limit or more; got none. Pass one.")
        self.sublayers = sublayers

    @property
    def drift(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum of the sub-layers' drifts."""
        first, *rest = (one.drift for one in self.sublayers)
        for drift in rest:
            first = first + drift
        return first

    @property
    def diffusion(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum of the sub-layers' noises."""
        first, *rest = (one.diffusion for one in self.sublayers)
        for diffusion in rest:
            first = first + diffusion
        return first

    def excursion(self, m):
        """That of the sub-layers whose noise speeds up, if it is one: they outrun all."""
        fast = (one for one in self.sublayers if one.diffusion.speeds_up)
        ways = {one.excursion(m) for one in fast}
        return ways.pop() if len(ways) == 1 else None

    @property
    def equations(self):
        """Those of all sub-layers."""
        return tuple(
            equation.within(f"sublayers[{index}]")
            for index, one in enumerate(self.sublayers)
            for equation in one.equations
        )
