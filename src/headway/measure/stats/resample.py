"""The bootstrap: intervals for statistics that have no formula, by drawing the same number of rows again and again.

Percentile intervals, not BCa: the acceleration of BCa comes from the jackknife, which fails for medians and other
quantiles (Efron, "The jackknife, the bootstrap and other resampling plans", 1982, section 3.4), and most of what is
asked here is a quantile. Percentile intervals follow any change of scale, so A over B is the inverse of B over A. Their
known fault, being too narrow for means of few rows, is met by Hesterberg's expansion ("What teachers should know about
the bootstrap", 2015, section 3.2): the tail that is read off is the normal one at t * sqrt(n / (n - 1)) instead of z.
`bench/bench_stats.py` shows what they cover.

Where rows hang together (one row asked several times, rows of one document) whole clusters are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum, sqrt
from random import Random
from statistics import NormalDist

from headway.measure.stats.intervals import LEVEL, Interval, ranked_quantile, t_quantile

__all__ = ["RESAMPLES", "Statistic", "bootstrap", "clustered_mean", "paired_ratio"]

Statistic = Callable[[Sequence[float]], float]

RESAMPLES = 1000
"""Enough for the 2.5 % tails (25 draws in each); intervals of a level above 1 - 20 / resamples are not to be had."""
_NORMAL = NormalDist()


def bootstrap(
    values: Sequence[float],
    statistic: Statistic,
    *,
    rng: Random,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    clusters: Sequence[str] = (),
) -> Interval | None:
    """`statistic` of finite `values` with its interval; None below two values (clusters, where they are given).

    Args:
        values: In any unit, at least two.
        statistic: Of a sequence as long as `values` (with clusters: about as long).
        rng: The dice.
        level: Two-sided, 0..1.
        resamples: How often to draw, >= 100.
        clusters: Of each value, the name of its cluster; "" stands alone. Empty: all stand alone.
    """
    groups = [[values[i] for i in group] for group in grouped(len(values), clusters)]
    if len(groups) < 2:
        return None
    estimate = statistic(values)
    if min(values) == max(values):
        return Interval(estimate=estimate, low=estimate, high=estimate, level=level)
    if len(groups) == len(values):
        draws = [statistic(rng.choices(values, k=len(values))) for _ in range(resamples)]
    else:
        draws = [
            statistic([value for group in rng.choices(groups, k=len(groups)) for value in group])
            for _ in range(resamples)
        ]
    return read_draws(estimate, draws, len(groups), level)


def paired_ratio(
    a: Sequence[float],
    b: Sequence[float],
    statistic: Statistic,
    *,
    rng: Random,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    clusters: Sequence[str] = (),
) -> Interval | None:
    """`statistic(b) / statistic(a)`, with its interval from drawing pairs; below 1: B has less.

    Args:
        a: Of A, finite and >= 0.
        b: Of B, in the same order of rows.
        statistic: Of one side's values.
        rng: The dice.
        level: Two-sided, 0..1.
        resamples: How often to draw, >= 100.
        clusters: As in `bootstrap`.

    Returns:
        None below two pairs (clusters), or where the statistic of A or B can be zero: there is no ratio.
    """
    groups = grouped(len(a), clusters)
    if len(groups) < 2 or statistic(a) <= 0 or statistic(b) <= 0:
        return None
    estimate = statistic(b) / statistic(a)
    if all(x == y for x, y in zip(a, b, strict=True)):
        return Interval(estimate=1.0, low=1.0, high=1.0, level=level)
    pairs = [[(a[i], b[i]) for i in group] for group in groups]
    single, flat = len(pairs) == len(a), [group[0] for group in pairs]
    draws: list[float] = []
    for _ in range(resamples):
        drawn = rng.choices(flat, k=len(flat)) if single else [p for g in rng.choices(pairs, k=len(pairs)) for p in g]
        below, above = statistic([p[0] for p in drawn]), statistic([p[1] for p in drawn])
        if below <= 0 or above <= 0:
            return None
        draws.append(above / below)
    return read_draws(estimate, draws, len(groups), level)


def quantile_ratios(
    a: Sequence[float], b: Sequence[float], qs: Sequence[float], *, rng: Random, resamples: int, clusters: Sequence[str]
) -> list[Interval | None]:
    """`paired_ratio` of several quantiles at once, of values > 0: drawing and sorting is what takes time."""
    pairs = [[(a[i], b[i]) for i in group] for group in grouped(len(a), clusters)]
    if len(pairs) < 2:
        return [None] * len(qs)
    single, flat = len(pairs) == len(a), [group[0] for group in pairs]
    draws: list[list[float]] = [[] for _ in qs]
    for _ in range(resamples):
        drawn = rng.choices(flat, k=len(flat)) if single else [p for g in rng.choices(pairs, k=len(pairs)) for p in g]
        below, above = sorted([p[0] for p in drawn]), sorted([p[1] for p in drawn])
        for q, ratios in zip(qs, draws, strict=True):
            ratios.append(ranked_quantile(above, q) / ranked_quantile(below, q))
    ranked_a, ranked_b = sorted(a), sorted(b)
    estimates = [ranked_quantile(ranked_b, q) / ranked_quantile(ranked_a, q) for q in qs]
    return [read_draws(one, ratios, len(pairs), LEVEL) for one, ratios in zip(estimates, draws, strict=True)]


def clustered_mean(
    sums: Sequence[float], sizes: Sequence[int], *, rng: Random, level: float, resamples: int = RESAMPLES
) -> Interval:
    """The mean of all values, whose clusters have these sums and sizes (at least two clusters), drawing clusters."""
    groups = list(zip(sums, sizes, strict=True))
    estimate = fsum(sums) / sum(sizes)
    draws: list[float] = []
    for _ in range(resamples):
        drawn = rng.choices(groups, k=len(groups))
        draws.append(sum(part for part, _ in drawn) / sum(size for _, size in drawn))
    return read_draws(estimate, draws, len(groups), level)


def grouped(count: int, clusters: Sequence[str]) -> list[list[int]]:
    """The indices 0..count - 1 by cluster, in order of appearance; "" stands alone."""
    if not any(clusters):
        return [[i] for i in range(count)]
    groups: list[list[int]] = []
    place: dict[str, int] = {}
    for i, name in enumerate(clusters):
        at = place.setdefault(name, len(groups)) if name else len(groups)
        if at == len(groups):
            groups.append([])
        groups[at].append(i)
    return groups


def read_draws(estimate: float, draws: list[float], count: int, level: float) -> Interval:
    """The interval off the draws, with Hesterberg's expansion; it always holds the estimate."""
    tail = (1 - level) / 2
    expanded = 1 - _NORMAL.cdf(t_quantile(tail, count - 1) * sqrt(count / (count - 1)))
    ranked = sorted(draws)
    low, high = ranked_quantile(ranked, expanded), ranked_quantile(ranked, 1 - expanded)
    return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate), level=level)
