"""How values lie: mean and percentiles with their 95 % intervals; blank where there are too few values for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite, sqrt
from random import Random
from statistics import fmean, stdev

import msgspec

from headway.measure.stats.intervals import Interval, quantile, quantile_or_none
from headway.measure.stats.resample import bootstrap, clustered_mean

__all__ = ["Spread", "gap_spread_of", "spread_of"]

_LEVEL = 0.95
_Z = 1.959963984540054
_BOOTSTRAP_MAX = 100
"""From more values on, intervals come from ranks and from the standard error: the bootstrap's own limit, at no cost."""
_CLUSTERS_MAX = 400
_SEED = 20_261_121
"""The dice are the figures' own, so that the same run gives the same intervals."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of `count` finite values. p95 is None below 20 of them, p99 below 100: fewer do not reach so far."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    min: float | None = None
    max: float | None = None
    mean_interval: Interval | None = None
    """95 %; None below two values, and where it was not asked for."""
    p50_interval: Interval | None = None
    p95_interval: Interval | None = None


def spread_of(values: Sequence[float | None], *, tails: bool = False) -> Spread:
    """How values lie; None, NaN and infinities are left out.

    Args:
        values: In any unit.
        tails: With the intervals of mean and p95, too.
    """
    ranked = sorted(value for value in values if value is not None and isfinite(value))
    if not ranked:
        return Spread()
    p95 = quantile_or_none(ranked, 0.95)
    return Spread(
        count=len(ranked),
        mean=fmean(ranked),
        p50=quantile(ranked, 0.5),
        p95=p95,
        p99=quantile_or_none(ranked, 0.99),
        min=ranked[0],
        max=ranked[-1],
        mean_interval=_of_mean(ranked) if tails else None,
        p50_interval=_of_quantile(ranked, 0.5),
        p95_interval=_of_quantile(ranked, 0.95) if tails and p95 is not None else None,
    )


def gap_spread_of(gaps: Sequence[Sequence[float]]) -> Spread:
    """Of the gaps of all answers together; the interval of the mean draws answers, whose gaps are alike."""
    plain = spread_of([gap for own in gaps for gap in own])
    told = [own for own in gaps if own]
    mean = None
    if 2 <= len(told) <= _CLUSTERS_MAX:
        mean = clustered_mean([sum(own) for own in told], [len(own) for own in told], rng=Random(_SEED), level=_LEVEL)
    return msgspec.structs.replace(plain, mean_interval=mean, p50_interval=None)


def _of_mean(ranked: Sequence[float]) -> Interval | None:
    if len(ranked) <= _BOOTSTRAP_MAX:
        return bootstrap(ranked, fmean, rng=Random(_SEED), level=_LEVEL)
    mean, half = fmean(ranked), _Z * stdev(ranked) / sqrt(len(ranked))
    return Interval(estimate=mean, low=mean - half, high=mean + half, level=_LEVEL)


def _of_quantile(ranked: Sequence[float], q: float) -> Interval | None:
    """Source for many values: ranks n q +- z sqrt(n q (1 - q)), Hahn and Meeker, "Statistical Intervals" (1991)."""
    count = len(ranked)
    if count <= _BOOTSTRAP_MAX:
        return bootstrap(ranked, partial(quantile, q=q), rng=Random(_SEED), level=_LEVEL)
    half = _Z * sqrt(q * (1 - q) / count)
    low, high = quantile(ranked, max(0.0, q - half)), quantile(ranked, min(1.0, q + half))
    return Interval(estimate=quantile(ranked, q), low=low, high=high, level=_LEVEL)
