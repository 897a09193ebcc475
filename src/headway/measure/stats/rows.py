"""About how many more rows would decide: from the spread so far, for a power of 80 %."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf, log, sqrt
from statistics import NormalDist

from headway.measure.stats.findings import MetricFinding, QualityFinding
from headway.measure.stats.intervals import Interval, normal_quantile

__all__ = ["rounded_up", "rows_more", "rows_needed"]

_POWER_Z = NormalDist().inv_cdf(0.8)
_LOOKS = 1.05
"""What early looks cost in rows, about: the inflation factor of O'Brien-Fleming boundaries (Jennison, Turnbull)."""
_ROWS_MOST = 20_000
"""More than that is no advice."""
_MORE_MIN = 10


def rows_needed(effect: float, spread: float, *, tail: float, unseen: float = 0.0) -> float:
    """Rows after which an interval that leaves out `tail` is narrower than `effect` on one side, in 80 % of cases.

    Args:
        effect: From the estimate to where it must not reach, > 0 in any unit.
        spread: Standard deviation of a row, in the same unit.
        tail: 0..0.5.
        unseen: What `graded_difference` and Tango's interval add, per z^2 / rows: 1 for right and wrong, 0 for ratios.
    """
    if effect <= 0:
        return inf
    z = normal_quantile(tail)
    sampling, rest = ((z + _POWER_Z) * spread / effect) ** 2, unseen * z * z / effect
    return (sampling + sqrt(sampling * sampling + 4 * rest * rest)) / 2  # effect^2 = sampling' / n + (rest' / n)^2


def rows_more(
    metrics: Sequence[MetricFinding],
    quality: QualityFinding,
    *,
    rows: int,
    rows_min: int,
    smallest: float,
    tail: float,
    quality_tail: float,
) -> int | None:
    """How many more rows than `rows` would settle latency, dollars and quality; 0 when they are, None when none would.

    Args:
        metrics: Those the stop rule waits for.
        quality: As found.
        rows: So far.
        rows_min: Below it nothing is said.
        smallest: Ratios up to 1 + smallest are the same in practice.
        tail: One-sided, of the last look of a comparison that runs to its end, for metrics.
        quality_tail: The same for non-inferiority.
    """
    if rows < rows_min:
        return rows_min - rows
    needed = [_for_ratio(one, rows, log(1 + smallest), tail) for one in metrics if one.verdict == "unclear"]
    if quality.is_open:
        needed.append(_for_quality(quality, rows, quality_tail))
    if not needed:
        return 0
    most = _LOOKS * max(needed)
    return None if most > _ROWS_MOST else rounded_up(max(most - rows, _MORE_MIN))


def rounded_up(count: float) -> int:
    """To tens up to 100, twenties up to 400, and two digits that matter beyond."""
    step = 10 if count <= 100 else 20 if count <= 400 else 50 if count <= 1000 else 10 ** (len(str(ceil(count))) - 2)
    return ceil(count / step) * step


def _for_ratio(metric: MetricFinding, rows: int, same: float, tail: float) -> float:
    """Until it differs from 1, or lies within what is the same in practice."""
    ratio = metric.ratio
    if ratio is None or ratio.level <= 0 or not metric.rows:
        return inf
    effect, spread = abs(log(ratio.estimate)), _spread(log(ratio.low), log(ratio.high), ratio, metric.rows)
    needed = min(
        rows_needed(effect, spread, tail=tail),
        rows_needed(same - effect, spread, tail=tail),
    )
    return max(needed, 1.0) * rows / metric.rows


def _for_quality(quality: QualityFinding, rows: int, tail: float) -> float:
    """Until the interval stays above -margin, or below it."""
    difference = quality.difference
    if difference is None:
        return inf
    effect = abs(difference.estimate + quality.margin)
    n = quality.rows
    share = (quality.only_a + quality.only_b) / n
    spread = (
        sqrt(max(share - difference.estimate**2, 0.0))
        if quality.kind == "binary"
        else _spread(difference.low, difference.high, difference, n)
    )
    unseen = 1.0 if quality.kind == "binary" or share * n < 10 else 0.0  # beyond, it is in the spread already
    return rows_needed(effect, spread, tail=tail, unseen=unseen) * rows / n


def _spread(low: float, high: float, interval: Interval, rows: int) -> float:
    return (high - low) / 2 / normal_quantile((1 - interval.level) / 2) * sqrt(rows)
