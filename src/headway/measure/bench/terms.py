"""Single figures under other tools' names, and the statistics that those tools give of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, median, pstdev

import msgspec

from headway.measure.stats.intervals import ranked_quantile

__all__ = ["Term", "linear", "mean_spread", "single", "spread", "weighed"]


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One figure under a tool's own name; `values` by its names of statistics, "" for a single value."""

    name: str
    unit: str
    values: Mapping[str, float | None]
    """None: there was nothing to take it from."""


def spread(name: str, unit: str, values: Sequence[float]) -> Term:
    """AIPerf's columns; percentiles by linear interpolation (numpy's), the standard deviation of the population."""
    ordered = sorted(values)
    stats = {
        "avg": fmean(ordered) if ordered else None,
        "min": ordered[0] if ordered else None,
        "max": ordered[-1] if ordered else None,
        "p99": linear(ordered, 0.99),
        "p95": linear(ordered, 0.95),
        "p50": linear(ordered, 0.5),
        "std": pstdev(ordered) if ordered else None,
    }
    return Term(name=name, unit=unit, values=stats)


def weighed(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Term:
    """GuideLLM's columns, of values with weights: of the distribution that they are."""
    ordered = sorted(pairs)
    whole = sum(weight for _, weight in ordered)
    if whole <= 0:
        empty: dict[str, float | None] = dict.fromkeys(("mean", "median", "std_dev", "p95", "p99"))
        return Term(name=name, unit=unit, values=empty)
    mean = sum(value * weight for value, weight in ordered) / whole
    variance = sum(weight * (value - mean) ** 2 for value, weight in ordered) / whole

    def reached(share: float) -> float:
        seen = 0.0
        for value, weight in ordered:
            seen += weight
            if seen >= share * whole - 1e-9:
                return value
        return ordered[-1][0]

    stats = {
        "mean": mean,
        "median": reached(0.5),
        "std_dev": sqrt(variance),
        "p95": reached(0.95),
        "p99": reached(0.99),
    }
    return Term(name=name, unit=unit, values=stats)


def mean_spread(name: str, values: Sequence[float]) -> Term:
    """The columns of vLLM, in milliseconds."""
    ordered = sorted(values)
    stats = {
        "mean": fmean(ordered) if ordered else None,
        "median": median(ordered) if ordered else None,
        "std": pstdev(ordered) if ordered else None,
        "p99": linear(ordered, 0.99),
    }
    return Term(name=name, unit="ms", values=stats)


def single(name: str, unit: str, value: float | None) -> Term:
    """A figure that is one number."""
    return Term(name=name, unit=unit, values={"": None if value is None else float(value)})


def linear(ordered: Sequence[float], share: float) -> float | None:
    """The quantile by linear interpolation between ranks, as numpy's default."""
    return ranked_quantile(ordered, share) if ordered else None
