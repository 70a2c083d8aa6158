"""Which law of an observable is known, of which limit."""

from collections.abc import Callable
from typing import NoReturn

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import found, is_concrete
from .._names import full_name
from ..activations import Identity, ShapedReLU, ShapedSmooth
from ..drifts import AbstractDrift, ActivationDrift
from ..limits import AbstractLimit, KernelODE, Registry
from ..observables import Correlation, Entry, LogDet, LogNorm, correlation
from ._base import AbstractLaw, LogNormal
from ._checks import known_time
from .constant import Constant
from .moments import EntryMoments
from .norms import log_det_law, log_norm_law, one_covariance
from .one_input import NormLaw
from .pair import PairLaw


@Registry
def of(
    limit: AbstractLimit,
    observable: Callable[[Float[Array, "... m m"]], Float[Array, "..."]],
    v0: Float[ArrayLike, "m m"],
    t1: float,
) -> AbstractLaw:
    """The law of an observable of `V_T`, as far as one is known.

    | | linear | shaped ReLU | smooth, κ < 0 |
    |---|---|---|---|
    | `LogNorm(a)`, `Entry(a, a)` | Gaussian, log-normal | the same | `NormLaw` |
    | `Correlation(a, b)` | `PairLaw` | `PairLaw` | `PairLaw` if `φ'' = 0` at the centre |
    | `LogDet()` | Gaussian | | |
    | `Entry(a, b)` | `EntryMoments` | | |

    for [`covsde.ShapedMLP`][], [`covsde.ShapedResNet`][], [`covsde.ShapedFeedForward`][],
    and any other limit with the drift of an activation and the noise `√Γ F dS Fᵀ`.
    Without noise, as under a [`covsde.KernelODE`][], everything is
    [`covsde.laws.Constant`][]; so is the correlation of inputs on one line.

    A limit of your own registers what is known of it: `@laws.of.register(MyLimit)` on a
    function of these four arguments, which returns a law, or None where it knows none.

    **Arguments:**

    - `limit`: a limit, its parameters known.
    - `observable`: from [`covsde.observables`](#observables), or a function like these.
    - `v0`: the covariance at the start, `(m, m)`.
    - `t1`: T, in units of depth/width.

    **Raises:** `LookupError` if no law is known, and says of which observables one is; or
    if it cannot be resolved. `ValueError` or `TypeError` for input that has no meaning.
    """
    if not isinstance(limit, AbstractLimit):
        raise TypeError(
            f"`limit` must be a limit; got {found(limit)}. For example "
            "`covsde.ShapedMLP(covsde.ShapedReLU(0.0, -1.0))`."
        )
    if isinstance(observable, type) or not callable(observable):
        raise TypeError(
            "`observable` must be LogNorm(a), LogDet(), Correlation(a, b) or another "
            f"observable; got {found(observable)}. For example `LogNorm(0)`."
        )
    v0 = one_covariance(v0)
    shape = jnp.shape(observable(v0[None]))  # its inputs exist
    if shape != (1,):
        raise ValueError(
            "`observable` must give one number for each matrix; got an array of shape "
            f"{shape[1:]}. A law is that of one number: for example `LogNorm(0)`."
        )
    laws = (known(limit, observable, v0, t1) for known in of.known_of(limit))
    return next(law for law in laws if law is not None)  # the last of them refuses


@of.register(AbstractLimit)
def _(limit, observable, v0, t1):
    """Of an activation's drift with the noise of random weights, whatever the limit."""
    drift, noise = limit.drift, limit.diffusion
    if noise.vanishes:
        return Constant(observable(_without_noise(drift, v0, t1))[0])
    gain = noise.gain(0.0) if noise.autonomous else None
    if not isinstance(drift, ActivationDrift) or gain is None:
        _unknown(limit, observable, "")
    activation, gain = drift.activation, _number(gain)
    kappa = _number(activation.stability_index) * _number(drift.gain) / gain
    strength = None  # of the drift of ρ, where ρ has a law of its own
    if isinstance(activation, Identity | ShapedReLU):
        strength = _number(getattr(activation, "strength", 0.0) * drift.gain)
    elif isinstance(activation, ShapedSmooth) and kappa <= 0:
        curvature, _ = activation.coefficients
        strength = 0.0 if _number(curvature) == 0 else None
    linear = kappa == 0 and strength == 0
    match observable:
        case LogNorm(a=a) if kappa == 0:
            return log_norm_law(v0[a, a], t1, gain)
        case LogNorm(a=a) if kappa < 0:
            return NormLaw(kappa, v0[a, a], gain * t1, logarithm=True)
        case Entry(a=a, b=b) if a == b and kappa == 0:
            return LogNormal(log_norm_law(v0[a, a], t1, gain))
        case Entry(a=a, b=b) if a == b and kappa < 0:
            return NormLaw(kappa, v0[a, a], gain * t1)
        case Correlation(a=a, b=b) if strength is not None:
            return _pair(correlation(v0)[a, b], t1, strength, gain)
        case Entry(a=a, b=b) if linear:
            return EntryMoments(v0, a, b, t1, gain)
        case LogDet() if linear:
            return log_det_law(v0, t1, gain)
    known = "LogNorm(a) and Entry(a, a)" if kappa <= 0 else ""
    if strength is not None:
        known = "LogNorm(a), Entry(a, a) and Correlation(a, b)"
    _unknown(limit, observable, known)


def _without_noise(drift: AbstractDrift, v0: Array, t1: float) -> Array:
    t1 = known_time(t1)
    try:
        return KernelODE(drift).integrate(v0, t1)
    except ValueError as error:
        raise LookupError(
            f"No law at `t1` = {t1} is known: without noise V moves so fast that its "
            "equation is not solved, as where it explodes. Shorten `t1`."
        ) from error


def _pair(rho0: Array, t1: float, strength: float, gain: float) -> AbstractLaw:
    if not is_concrete(rho0) or abs(rho0) < 1:
        return PairLaw(rho0, t1, strength, gain)
    known_time(t1)
    if rho0 < 0 < strength:
        raise LookupError(
            "No law of a correlation is known from -1, where the inputs are opposite, "
            "under a shaped ReLU. Start from above, or simulate it with `covsde.solve`."
        )
    return Constant(jnp.sign(rho0))  # inputs on one line stay there


def _number(x) -> float:
    """A parameter of the limit; NaN is one that an activation does not have."""
    if not is_concrete(x):
        raise TypeError(
            "`limit` must have parameters that are known outside of `jit`, `grad` and "
            "`vmap`; got one that is traced by JAX. Ask for the law outside of them."
        )
    return float(x)


def _unknown(limit, observable, known: str) -> NoReturn:
    others = f"those of {known} are known" if known else "nor that of any other observable"
    raise LookupError(
        f"No law of {full_name(observable)} is known under {full_name(limit)}; {others}. "
        "Simulate it with `covsde.solve`."
    )
