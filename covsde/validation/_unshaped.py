"""Both sides for the unshaped limit, of two inputs and one number."""

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_key, count_paths, found
from .._names import full_name
from .._problem import check_covariance
from .._times import check_save_times, check_time
from ..ensemble._checks import check_observables
from ..observables import correlation
from ..oracles._sample import layer_numbers
from ..oracles.unshaped import check_width, sample_unshaped
from ._sides import Asked, Sides, note_rounding


def unshaped(asked: Asked) -> Sides:
    """Solves by `limit.solve`, samples by `sample_unshaped`."""
    for name, accepted, reason in (
        ("solver", None, "it has a scheme of its own, and `dt0` sets the step"),
        ("stop_above", None, "norms are no part of u"),
        ("method", "gram", "which has the same law as every other"),
    ):
        value = getattr(asked, name)
        if value is not accepted and value != accepted:
            raise ValueError(
                f"`{name}` must be {accepted!r} for an `UnshapedMLP`; got {found(value)}. "
                f"Leave it out: {reason}."
            )
    limit, widths, num_networks = asked.limit, asked.widths, asked.num_networks
    way_out = "Pass how many paths to simulate, e.g. 1000."
    num_paths = count_paths("num_paths", asked.num_paths, way_out)
    key = check_key(asked.key)
    v0 = check_covariance(asked.v0)
    rho0 = check_pair(limit, v0)
    t1 = check_time("t1", asked.t1)
    times = np.union1d(check_save_times(asked.saveat, t1, v0.dtype), t1)
    for n in widths:
        layer_numbers(times, t1, check_width(n))
    dt0 = None if asked.dt0 is None else check_time("dt0", asked.dt0)

    observables = asked.observables
    observables = check_observables(
        limit.observables() if observables is None else observables, (), v0.dtype
    )

    def solved(key):
        return limit.solve(t1, key=key, num_paths=num_paths, dt0=dt0, saveat=times)

    def sampled(width, key, progress):
        networks = sample_unshaped(
            limit,
            rho0,
            t1,
            width=width,
            key=key,
            num_networks=num_networks,
            saveat=times,  # pyright: ignore[reportArgumentType]
        )
        jax.block_until_ready(networks.us)
        progress(num_networks, num_networks)
        return networks

    def notes(ours, theirs) -> list[str]:
        del ours
        starts = ", ".join(f"{limit.start(rho0, n):.3g} (n = {n})" for n in widths)
        said = [f"The limit starts at u = 0, networks at 1/(n √(1−ρ₀)): {starts}."]
        for network in theirs:
            said += note_rounding(t1, network, network.width)
        if not all(network.running.all() for network in theirs):
            said.append(
                "A network is stopped where its inputs have become one, or one of them "
                "has no active unit left."
            )
        return said

    start = np.zeros((), v0.dtype)
    return Sides(np.asarray(v0), t1, key, start, observables, solved, sampled, notes)


def check_pair(limit, v0: jax.Array) -> float:
    """The correlation of two inputs that differ, and are drawn together."""
    if float(limit.attraction) == 0:
        raise ValueError(
            "`slope_plus` and `slope_minus` must differ for inputs to become one; got "
            f"{full_name(limit)}, whose u stays 0. A linear network is "
            "`ShapedMLP(Identity())`."
        )
    if v0.shape != (2, 2):
        raise ValueError(
            f"`v0` must be the covariance of two inputs, (2, 2), for an `UnshapedMLP`; got "
            f"shape {v0.shape}. Choose two, e.g. `v0[:2, :2]`."
        )
    rho0 = float(correlation(v0)[0, 1])
    even = limit.slope_plus == -limit.slope_minus
    nearest = abs(rho0) if even else rho0
    if nearest > 1 - 8 * jnp.finfo(v0.dtype).eps:
        accepted = "between -1 and 1 for an even activation" if even else "below 1"
        raise ValueError(
            f"`v0` must have a correlation {accepted}; got {rho0:.17g}, for which the two "
            "are one from the first layer on. Choose two inputs that differ."
        )
    return rho0
