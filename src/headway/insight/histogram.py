"""Times counted in bins whose bounds grow by a tenth: any quantile of any number of them, within 5 %.

A bin is from b to 1.1 b, and answered by its geometric middle, so no value is further than a factor of sqrt(1.1) from
what is told for it: 4.9 %. Only bins that have something are kept, usually twenty; counts of two histograms add up.
Source: Masson, Rim and Lee, "DDSketch" (2019).
"""

from __future__ import annotations

from math import ceil, exp, log
from typing import TypeAlias

from headway.insight.documents import Quantiles

__all__ = ["RELATIVE_ERROR", "Histogram", "add", "bin_of", "merge", "quantile_s", "quantiles"]

Histogram: TypeAlias = dict[int, int]
"""Bin to count."""

_GROWTH = 1.1
RELATIVE_ERROR = _GROWTH**0.5 - 1.0
_LEAST_S = 1e-5
"""What is less is counted there."""
_SCALE = 1.0 / log(_GROWTH)
_ZERO = ceil(-log(_LEAST_S) * _SCALE)


def bin_of(value_s: float) -> int:
    """The bin of a time."""
    return int(log(value_s) * _SCALE + _ZERO) if value_s > _LEAST_S else 0


def add(histogram: Histogram, value_s: float) -> None:
    """Count a time."""
    place = bin_of(value_s)
    histogram[place] = histogram.get(place, 0) + 1


def merge(into: Histogram, other: Histogram) -> None:
    """Count what another one has counted."""
    for place, count in other.items():
        into[place] = into.get(place, 0) + count


def quantile_s(histogram: Histogram, q: float) -> float | None:
    """The nearest-rank `q`-quantile, 0..1; None where nothing was counted."""
    return _at(sorted(histogram.items()), sum(histogram.values()), q)


def quantiles(histogram: Histogram) -> Quantiles:
    """The three that are shown."""
    if not histogram:
        return NONE
    bins, count = sorted(histogram.items()), sum(histogram.values())
    return Quantiles(p50_s=_at(bins, count, 0.5), p95_s=_at(bins, count, 0.95), p99_s=_at(bins, count, 0.99))


NONE = Quantiles()


def _at(bins: list[tuple[int, int]], count: int, q: float) -> float | None:
    rank = max(1, ceil(q * count))
    for place, within in bins:
        rank -= within
        if rank <= 0:
            return exp((place - _ZERO + 0.5) / _SCALE)
    return None
