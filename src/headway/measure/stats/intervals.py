"""An estimate with its interval, quantiles, and the two distributions whose tails intervals are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, floor, inf, isfinite, lgamma, log, log1p, sqrt
from statistics import NormalDist

import msgspec

__all__ = [
    "LEVEL",
    "Interval",
    "finite",
    "normal_quantile",
    "quantile",
    "quantile_or_none",
    "ranked_quantile",
    "t_quantile",
]

LEVEL = 0.95
"""The two-sided level of intervals that decide nothing."""
_NORMAL = NormalDist()
_Q_VALUES_MIN = ((0.5, 1), (0.95, 20), (1.0, 100))


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """`estimate`, and `low` <= `high` around it, all finite, which cover the true value with probability `level`."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL
    """Two-sided, 0..1."""

    @property
    def inverse(self) -> Interval:
        """Of a ratio > 0: the same seen from the other side."""
        return Interval(estimate=1 / self.estimate, low=1 / self.high, high=1 / self.low, level=self.level)


def finite(values: Iterable[float | None]) -> list[float]:
    """Those that are numbers: None, NaN and infinities are left out."""
    return [value for value in values if value is not None and isfinite(value)]


def quantile(values: Sequence[float], q: float) -> float:
    """The `q`-quantile, `q` in 0..1, of at least one finite value, in any order.

    Source: linear interpolation between the two nearest ranks, type 7 of Hyndman and Fan, "Sample quantiles in
    statistical packages" (1996): what NumPy, pandas and spreadsheets give.

    Raises:
        ValueError: There are no values, or `q` is out of range.
    """
    if not values or not 0.0 <= q <= 1.0:
        raise ValueError(f"a quantile needs values and a place in 0..1, not {len(values)} values and {q!r}")
    return ranked_quantile(sorted(values), q)


def ranked_quantile(ranked: Sequence[float], q: float) -> float:
    """`quantile` of values that are sorted already."""
    at = q * (len(ranked) - 1)
    below = floor(at)
    if below + 1 >= len(ranked):
        return ranked[-1]
    low, high = ranked[below], ranked[below + 1]
    return low if low == high else low + (high - low) * (at - below)


def quantile_or_none(values: Sequence[float], q: float) -> float | None:
    """`quantile`, or None where the values do not reach so far: up to p50 from 1, p95 from 20, beyond it from 100."""
    needed = next(count for q_max, count in _Q_VALUES_MIN if q <= q_max)
    return quantile(values, q) if len(values) >= needed else None


def normal_quantile(tail: float) -> float:
    """How many standard deviations leave `tail` (0..1) above them; infinite for 0."""
    return inf if tail <= 0.0 else -_NORMAL.inv_cdf(tail)


def t_quantile(tail: float, freedom: int) -> float:
    """What Student's t with `freedom` >= 1 degrees exceeds with probability `tail`, 0 < `tail` <= 0.5.

    Found by bisection on the tail itself, which is a regularized incomplete beta function: 1e-9 needs no table.
    """
    low, high = 0.0, 1.0
    while _t_tail(high, freedom) > tail and high < 1e15:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_tail(middle, freedom) > tail else (low, middle)
    return (low + high) / 2


def _t_tail(t: float, freedom: int) -> float:
    """P(T > t), t >= 0: half the incomplete beta function I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2)."""
    x = freedom / (freedom + t * t)
    return 0.5 if x >= 1.0 else 0.5 * _beta(x, freedom / 2, 0.5)


def _beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), by the continued fraction 6.4.5 of "Numerical Recipes" (Lentz's method), 0 < x < 1."""
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(1.0 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 200):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1.0 / _away(1.0 + step * d), _away(1.0 + step / c)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return front * fraction


def _away(value: float) -> float:
    """Not zero, as Lentz's method wants it."""
    return value if abs(value) > 1e-300 else 1e-300


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of at least two values; 0 when they are all alike."""
    if min(values) == max(values):
        return 0.0
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
