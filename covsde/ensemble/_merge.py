"""Shards of an ensemble, merged to the whole."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from .._checks import found
from ._fingerprint import differences
from ._result import Ensemble
from ._samples import Samples


def merge(shards: Sequence[Ensemble | str | Path]) -> Ensemble:
    """All shards of an ensemble, as one run would have had it.

    Counts, quantiles, histograms and extremes are those of one run exactly; moments to
    rounding.

    **Arguments:**

    - `shards`: results of [`covsde.ensemble`][] with `shard=(i, N)` for every i, or files
      that `Ensemble.save` wrote, in any order.

    **Returns:** an [`covsde.Ensemble`][].

    **Raises:** `ValueError` where shards are of different ensembles, overlap, or do not
    cover all paths; `TypeError` for what is no shard.
    """
    parts = sorted(_loaded(shards), key=lambda part: part.paths)
    first = parts[0]
    for part in parts[1:]:
        if part.recipe != first.recipe:
            raise ValueError(
                "`shards` must be of one ensemble; got several: "
                f"{differences(first.recipe, part.recipe)}. Merge those of one run."
            )
    end = 0
    for part in [*parts, None]:
        begin = int(first.recipe["num_paths"]) if part is None else part.paths[0]
        if begin < end:
            raise ValueError(
                f"`shards` must not overlap; got paths {begin} to {end - 1} more than "
                "once. Give each shard once, all with the same N."
            )
        if begin > end:
            raise ValueError(
                f"`shards` must have all paths; got none of {end} to {begin - 1}. Give all "
                "N shards."
            )
        end = begin if part is None else part.paths[1]
    samples = [part.samples for part in parts if part.samples is not None]
    return Ensemble(
        ts=first.ts,
        names=first.names,
        statistics=first.statistics,
        tally=reduce(first.survey.merge, [part.tally for part in parts]),
        paths=(0, end),
        samples=Samples(
            np.concatenate([one.vs for one in samples]),
            np.concatenate([one.stopped_at for one in samples]),
        )
        if samples
        else None,
        recipe=first.recipe,
    )


def _loaded(shards) -> list[Ensemble]:
    accepted = "a sequence of ensembles, or of files of them"
    message = f"`shards` must be {accepted}; got {{}}. For example `['a.nc', 'b.nc']`."
    if isinstance(shards, str | Path | Ensemble) or not isinstance(shards, Sequence):
        raise TypeError(message.format(found(shards)))
    if not shards:
        raise ValueError(message.format("none"))
    for one in shards:
        if not isinstance(one, Ensemble | str | Path):
            raise TypeError(message.format(found(one)))
    return [one if isinstance(one, Ensemble) else Ensemble.load(one) for one in shards]
