"""What a limit is: the covariance SDE of one architecture."""

from typing import ClassVar

import diffrax
import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .._built import Built, plain
from .._names import full_name
from ..diffusions import AbstractDiffusion
from ..drifts import AbstractDrift
from ..equations import COVARIANCE, DRIFT_TERM, Equation, Symbol
from ..observables import AbstractObservable, describing
from ..terms import DriftTerm, NoiseTerm
from ._bounds import Bounds
from ._excursion import Excursion


class AbstractLimit(eqx.Module):
    """The covariance SDE `dV = b(V) dt + Σ(V)^{1/2} dB` of one architecture."""

    drift: eqx.AbstractVar[AbstractDrift]
    diffusion: eqx.AbstractVar[AbstractDiffusion]
    # how many inputs it is of; None where it is of any number
    num_inputs: ClassVar[int | None] = None
    # how far the law of networks of width n is from it, in words
    finite_width_bias: ClassVar[str] = "that vanishes as n grows"

    def __init_subclass__(cls, **kwargs):
        """Drift and diffusion are built once, where a class makes them in a property."""
        super().__init_subclass__(**kwargs)
        for name in ("drift", "diffusion"):
            made = vars(cls).get(name)
            if isinstance(made, property) and made.fget is not None:
                setattr(cls, name, Built(made.fget))

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The SDE in LaTeX, for [`covsde.describe`][]: one equation for each sub-layer.

        By default drift and noise are only named.
        """
        unknown = "of which no equation is given"
        symbols = (
            Symbol("b", f"drift {full_name(self.drift)}, {unknown}"),
            Symbol("N", f"noise of {full_name(self.diffusion)}, {unknown}"),
            COVARIANCE,
        )
        return (Equation(type(self).__name__, (DRIFT_TERM, r"\mathrm{d}N"), symbols),)

    def observables(self, m: int) -> tuple[AbstractObservable, ...]:
        """What describes it with m inputs, and is compared by [`covsde.validate`][].

        By default all norms `log V^{aa}`, all correlations `ρ^{ab}`, and `log det V`.
        """
        return describing(m)

    def derived(
        self, t: float, state: Float[ArrayLike, "*batch"]
    ) -> dict[str, Float[Array, "*batch"]]:
        """What else a summary tells of states at a time, by name; by default nothing."""
        del t, state
        return {}

    @plain
    def initial(self, v0: Float[Array, "*batch m m"]) -> Float[Array, "*batch_and_state"]:
        """What observables read at time 0, `V_0`; of another shape where the state is one.

        **Raises:** `ValueError` for a start that it does not take.
        """
        return v0

    @plain
    def bounds(self, m: int) -> Bounds:
        """Its longest step, its rates, and which starts it takes, with m inputs.

        By default those of its drift and its diffusion.
        """
        return Bounds(self.drift, self.diffusion, m)

    def excursion(self, m: int) -> Excursion | None:
        """How paths of m inputs come back from far out; by default None: it is not known.

        Where it is, one number runs away, with whose square the speeds of drift and noise
        grow, in proportion.
        """
        del m
        return None

    @property
    def is_number(self) -> bool:
        """Whether what moves is one number, and no covariance."""
        return self.diffusion.noise_shape == "number"

    @property
    def speeds_up(self) -> bool:
        """Whether its speed grows with V, so that each path needs a clock of its own."""
        return self.drift.speeds_up or self.diffusion.speeds_up

    def terms(
        self, path: diffrax.AbstractPath, start: float | Array = 0.0
    ) -> diffrax.MultiTerm:
        """The SDE as Diffrax terms, for a plain `diffrax.diffeqsolve`.

        **Arguments:**

        - `path`: Brownian motion of lower triangles, such as [`covsde.BrownianGrid`][].
        - `start`: the time at which that of the terms is 0, of all paths or of each.

        **Returns:** a `diffrax.MultiTerm` of drift and noise, on states `(m, m)` or
        `(num_paths, m, m)`. The equation is Itô's and its noise does not commute: use
        `diffrax.Euler` or a solver of `covsde`. `diffrax.ItoMilstein` would converge to
        the wrong law.
        """
        return diffrax.MultiTerm(
            DriftTerm(self.drift, start), NoiseTerm(self.diffusion, path, start)
        )
