"""Quantiles, and None where there are too few values to reach that far."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

__all__ = ["quantile", "quantile_or_none"]

_VALUES_MIN = ((0.5, 1), (0.95, 20), (1.0, 100))


def quantile(ranked: Sequence[float], q: float) -> float:
    """The `q`-quantile, 0..1, of at least one value, ascending.

    Source: linear interpolation between the nearest ranks, type 7 of Hyndman and Fan, "Sample quantiles in
    statistical packages" (1996).
    """
    at = q * (len(ranked) - 1)
    below = floor(at)
    if below + 1 >= len(ranked):
        return ranked[-1]
    return ranked[below] + (ranked[below + 1] - ranked[below]) * (at - below)


def quantile_or_none(ranked: Sequence[float], q: float) -> float | None:
    """The same; None below 1 value for p50, 20 for p95, 100 beyond it: fewer do not reach so far."""
    needed = next(count for q_max, count in _VALUES_MIN if q <= q_max)
    return quantile(ranked, q) if len(ranked) >= needed else None
