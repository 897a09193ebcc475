"""Ratios of paired values, B over A, with intervals of any level in closed form: what early looks need.

A look that may spend a millionth needs the millionth part of a tail, which no bootstrap of bearable size has.

- `typical_ratio`, for times and lengths: what a row's ratio typically is, by Hodges and Lehmann (1963): the median of
  all means of two log ratios, with the interval that inverts Wilcoxon's signed-rank test (Hollander, Wolfe, Chicken,
  "Nonparametric statistical methods", 2013, section 3.3). Rows differ from each other a hundredfold, which a ratio of
  medians is blurred by, and a ratio within each row is not. When A and B are the same, a pair is as likely the other
  way round, so that the test is exact whatever the noise is like, and a few requests that hang move it little.
- `total_ratio`, for dollars: the ratio of the sums, since sums are what is paid. Its logarithm is nearly a mean of
  b / mean(b) - a / mean(a), so that it gets Student's interval (Cochran, "Sampling techniques", 1977, chapter 6).

With clusters, a cluster counts as one value: its mean log ratio, or its sums.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from math import exp, fsum, log, sqrt

from headway.measure.stats.intervals import Interval, normal_quantile, standard_error, t_quantile
from headway.measure.stats.resample import grouped

__all__ = ["total_ratio", "typical", "typical_ratio"]

_DUST = 1e-9
"""Log ratios nearer to 0 are 0: what bisection leaves must not make a difference of none."""
_ALL_MAX = 300
_EXACT_MAX = 60
"""Beyond it the normal approximation is good to a hundredth of the tail, and on the safe side far out."""


def typical_ratio(
    a: Sequence[float], b: Sequence[float], *, tail: float, clusters: Sequence[str] = ()
) -> Interval | None:
    """What B over A typically is on a row, from values > 0 in the same order; `tail` as in `typical`.

    None below two pairs (clusters): one says nothing of how far it may be off.
    """
    logs = [log(y) - log(x) for x, y in zip(a, b, strict=True)]
    groups = grouped(len(logs), clusters)
    found = typical([fsum(logs[i] for i in group) / len(group) for group in groups], tail=tail)
    if found is None or len(groups) < 2:
        return None
    return Interval(estimate=exp(found.estimate), low=exp(found.low), high=exp(found.high), level=found.level)


def typical(values: Sequence[float], *, tail: float) -> Interval | None:
    """The pseudomedian of log ratios, with the interval that leaves out `tail` (0..0.5) on either side.

    Where there are too few values for that, the interval goes from the least to the greatest, and `level` says less
    than was asked for. None without values.
    """
    n = len(values)
    if n == 0:
        return None
    ranked = sorted(values)
    pairs = n * (n + 1) // 2
    cut = _signed_rank(n, tail)
    level = 1 - 2 * (tail if cut >= 0 else 0.5**n)
    cut = max(cut, 0)
    if ranked[0] == ranked[-1]:
        return Interval(estimate=ranked[0], low=ranked[0], high=ranked[0], level=level)
    below, above, low, high = _walsh(ranked, ((pairs - 1) // 2, pairs // 2, cut, pairs - 1 - cut))
    middle = (below + above) / 2
    return Interval(estimate=middle, low=min(low, middle), high=max(high, middle), level=level)


def total_ratio(
    a: Sequence[float], b: Sequence[float], *, tail: float, clusters: Sequence[str] = ()
) -> Interval | None:
    """Sum of B over sum of A, of values >= 0 in the same order, leaving out `tail` (0..0.5) on either side.

    None where a sum is zero, or below two pairs (clusters).
    """
    groups = grouped(len(a), clusters)
    sums = [(fsum(a[i] for i in group), fsum(b[i] for i in group)) for group in groups]
    mean_a, mean_b = fsum(a) / max(len(sums), 1), fsum(b) / max(len(sums), 1)
    if len(sums) < 2 or mean_a <= 0 or mean_b <= 0:
        return None
    ratio = mean_b / mean_a
    if tail <= 0.0:
        return Interval(estimate=ratio, low=ratio, high=ratio, level=0.0)
    error = standard_error([y / mean_b - x / mean_a for x, y in sums])
    half = t_quantile(tail, len(sums) - 1) * error if error > 1e-12 else 0.0  # below it is the dust of rounding
    return Interval(
        estimate=ratio, low=ratio * exp(-min(half, 50.0)), high=ratio * exp(min(half, 50.0)), level=1 - 2 * tail
    )


@lru_cache(maxsize=4096)
def _signed_rank(n: int, tail: float) -> int:
    """The greatest c with P(W <= c) <= tail for Wilcoxon's signed-rank sum W of n values; -1: there is none."""
    if n > _EXACT_MAX:
        middle, deviation = n * (n + 1) / 4, sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(-1, int(middle - normal_quantile(tail) * deviation - 0.5)) if tail > 0.5**n else -1
    ways = [1]
    for rank in range(1, n + 1):
        wider = ways + [0] * rank
        for place, count in enumerate(ways):
            wider[place + rank] += count
        ways = wider
    allowed, seen = tail * 2**n, 0
    for place, count in enumerate(ways):
        seen += count
        if seen > allowed:
            return place - 1
    return len(ways) - 1


def _walsh(ranked: Sequence[float], places: Sequence[int]) -> list[float]:
    """The means of all pairs of `ranked`, each value with itself included, at these places of their order (from 0).

    There are n (n + 1) / 2 of them. Many are not made: a bisection over the value counts them in n steps.
    """
    if len(ranked) <= _ALL_MAX:
        sums = sorted([x + y for i, x in enumerate(ranked) for y in ranked[i:]])
        return [sums[place] / 2 for place in places]
    found = []
    for place in places:
        low, high = ranked[0], ranked[-1]
        for _ in range(44):
            middle = (low + high) / 2
            low, high = (low, middle) if _below(ranked, 2 * middle) > place else (middle, high)
        found.append(high if abs(high) > _DUST else 0.0)
    return found


def _below(ranked: Sequence[float], total: float) -> int:
    """How many pairs i <= j have ranked[i] + ranked[j] <= total."""
    count, end = 0, len(ranked)
    for i, value in enumerate(ranked):
        end = bisect_right(ranked, total - value, i, end) if end > i else i
        if end <= i:
            break
        count += end - i
    return count
