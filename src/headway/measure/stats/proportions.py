"""Right or wrong, twice on the same rows: exact McNemar, and intervals for the difference of the rates.

Only the rows on which the two differ tell anything about which is better, and only all of them how sure that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, erfc, fsum, sqrt
from random import Random

from headway.measure.stats.intervals import Interval, normal_quantile, standard_error, t_quantile
from headway.measure.stats.resample import clustered_mean, grouped

__all__ = ["graded_difference", "mcnemar", "mcnemar_tail", "paired_difference"]

_DRAWS_MIN = 15
"""Of the bootstrap in a tail that it is trusted with."""
_SEEN_MIN = 10


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that the rows which only A, or only B, got right split like tosses of a coin; 1 without any.

    Source: McNemar (1947) in its exact form, the sign test: twice the smaller binomial tail, at most 1.
    """
    return min(1.0, 2.0 * mcnemar_tail(max(only_a, only_b), min(only_a, only_b)))


def mcnemar_tail(more: int, less: int) -> float:
    """P(at least `more` of `more + less` tosses are heads): one-sided, exact up to 1,000 tosses, then normal."""
    tosses = more + less
    if tosses <= 1000:
        return float(sum(comb(tosses, k) for k in range(more, tosses + 1)) / (1 << tosses))
    return 0.5 * erfc((more - 0.5 - tosses / 2) / sqrt(tosses / 2))


def paired_difference(only_a: int, only_b: int, rows: int, *, tail: float) -> Interval:
    """Rate of B less rate of A, -1..1, over `rows` >= 1 paired rows, leaving out `tail` (0..0.5) on either side.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design" (Statistics in Medicine 1998): the differences that a score test does not reject, found by bisection. It has
    width even where no two rows differ: z^2 / (n + z^2).
    """
    estimate = (only_b - only_a) / rows
    z = normal_quantile(tail) if tail > 0 else 38.0
    low = _edge(only_b, only_a, rows, z)
    high = -_edge(only_a, only_b, rows, z)
    return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate), level=1 - 2 * tail)


def graded_difference(
    differences: Sequence[float], *, tail: float, rng: Random, resamples: int, clusters: Sequence[str] = ()
) -> Interval | None:
    """The mean of score differences (B less A, -1..1), leaving out `tail` (0..0.5) on either side.

    By drawing clusters (rows, where there are none) where that reaches into the tail, by Student's interval of the
    cluster sums where it does not. Either is then widened for what has not been seen: rows that agree so far say
    little about the rare row that does not, so that z^2 / (n + z^2) of the greatest difference seen is added at
    right angles, of the greatest possible (1) while fewer than ten rows (clusters, by their mean) differ. Without
    any difference that is Tango's interval.

    None below two rows (clusters).
    """
    groups = grouped(len(differences), clusters)
    if len(groups) < 2:
        return None
    sums = [fsum(differences[i] for i in group) for group in groups]
    sizes = [len(group) for group in groups]
    mean, z, n = fsum(differences) / len(differences), normal_quantile(tail) if tail > 0 else 38.0, len(groups)
    size = len(differences) / n
    if tail * resamples >= _DRAWS_MIN:
        drawn = clustered_mean(sums, sizes, rng=rng, level=1 - 2 * tail, resamples=resamples)
        below, above = mean - drawn.low, drawn.high - mean
    else:
        error = standard_error([(part - mean * count) / size for part, count in zip(sums, sizes, strict=True)])
        below = above = (t_quantile(tail, n - 1) if tail > 0 else z) * error
    seen = [abs(part) / count for part, count in zip(sums, sizes, strict=True) if part]
    unseen = (max(seen) if len(seen) >= _SEEN_MIN else 1.0) * z * z / (n + z * z)
    return Interval(
        estimate=mean,
        low=max(-1.0, mean - sqrt(below * below + unseen * unseen)),
        high=min(1.0, mean + sqrt(above * above + unseen * unseen)),
        level=1 - 2 * tail,
    )


def _edge(up: int, down: int, rows: int, z: float) -> float:
    """The least difference, -1..1, which the score test does not reject when `up` rows speak for it, `down` against."""
    low, high = -1.0, (up - down) / rows
    for _ in range(50):
        middle = (low + high) / 2
        # The likeliest rate of rows that go down, if the difference were `middle`: the root of a quadratic.
        linear = (2 * rows - up + down) * middle - up - down
        root = sqrt(max(linear * linear + 8 * rows * down * middle * (1 - middle), 0.0))
        rate = (root - linear) / (4 * rows)
        spread = sqrt(max(rows * (2 * rate + middle * (1 - middle)), 0.0))
        low, high = (middle, high) if up - down - rows * middle > z * spread else (low, middle)
    return high
