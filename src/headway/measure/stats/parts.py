"""Latency taken apart: how much of B's change comes from longer or shorter answers, and how much from speed.

On a row, with `first` the time to the first token and `n` the output tokens, a variant's own speed is

    per_token = (latency - first) / n        latency(m) = first + per_token * m

so that A would have taken latency_a(n_b) for as much as B wrote, and B latency_b(n_a). The length part is the mean, on
the log scale, of both ways to change the length alone (Fisher's ideal index: the same from A's side and from B's):

    length = sqrt(latency_a(n_b) / latency_a * latency_b / latency_b(n_a))        speed = latency_b / latency_a / length

and their product is the row's ratio. Without a first token (answers that were not streamed) a row alone does not tell
what a token takes; the rows together do, where their lengths differ: per_token is then each side's least-squares
slope of latency over tokens, and intervals come from drawing rows and fitting again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import median
from typing import NamedTuple

from headway.measure.stats.intervals import LEVEL, Interval
from headway.measure.stats.paired import typical_ratio
from headway.measure.stats.resample import grouped, read_draws

__all__ = ["Taken", "apart"]

_ROWS_MIN = 20
_SPREAD_MIN = 0.1
"""Of lengths, standard deviation over mean: with less, a slope over rows is a guess."""
_RESAMPLES_MAX = 300
_LEFT_MIN = 0.1
"""A row is not thought to get faster than this share of what it took by writing less, whatever the slope says."""


class Taken(NamedTuple):
    """One side of one row, all > 0; `first_s` is None when it was not streamed."""

    latency_s: float
    first_s: float | None
    tokens: float


def apart(
    a: Sequence[Taken], b: Sequence[Taken], *, rng: Random, resamples: int, clusters: Sequence[str] = ()
) -> tuple[Interval, Interval, str] | None:
    """The length part and the speed part of B over A, at 95 %, and how they were got; None where it cannot be told."""
    if len(a) < 2:
        return None
    if all(one.first_s is not None for one in (*a, *b)):
        lengths = [_length(x, y, _own_speed(x), _own_speed(y)) for x, y in zip(a, b, strict=True)]
        speeds = [y.latency_s / x.latency_s / length for x, y, length in zip(a, b, lengths, strict=True)]
        ones, tail = [1.0] * len(a), (1 - LEVEL) / 2
        length = typical_ratio(ones, lengths, tail=tail, clusters=clusters)
        speed = typical_ratio(ones, speeds, tail=tail, clusters=clusters)
        return (
            None if length is None or speed is None else (length, speed, "first token and time per token of each row")
        )
    return _over_rows(a, b, rng, min(resamples, _RESAMPLES_MAX), clusters)


def _over_rows(
    a: Sequence[Taken], b: Sequence[Taken], rng: Random, resamples: int, clusters: Sequence[str]
) -> tuple[Interval, Interval, str] | None:
    pairs = list(zip(a, b, strict=True))
    groups = [[pairs[i] for i in group] for group in grouped(len(pairs), clusters)]
    estimate = _medians(pairs)
    if estimate is None or len(groups) < _ROWS_MIN:
        return None
    lengths: list[float] = []
    speeds: list[float] = []
    for _ in range(resamples):
        drawn = _medians([pair for group in rng.choices(groups, k=len(groups)) for pair in group])
        if drawn is None:
            return None  # the lengths are too much alike for a slope that stands
        lengths.append(drawn[0])
        speeds.append(drawn[1])
    return (
        read_draws(estimate[0], lengths, len(groups), LEVEL),
        read_draws(estimate[1], speeds, len(groups), LEVEL),
        "slope of latency over tokens, all rows",
    )


def _medians(pairs: Sequence[tuple[Taken, Taken]]) -> tuple[float, float] | None:
    slope_a, slope_b = _slope([x for x, _ in pairs]), _slope([y for _, y in pairs])
    if slope_a is None or slope_b is None:
        return None
    lengths = [_length(x, y, slope_a, slope_b) for x, y in pairs]
    speeds = [y.latency_s / x.latency_s / length for (x, y), length in zip(pairs, lengths, strict=True)]
    return median(lengths), median(speeds)


def _length(a: Taken, b: Taken, per_token_a: float, per_token_b: float) -> float:
    more = b.tokens - a.tokens
    a_as_b = max(a.latency_s + per_token_a * more, _LEFT_MIN * a.latency_s)
    b_as_a = max(b.latency_s - per_token_b * more, _LEFT_MIN * b.latency_s)
    return float((a_as_b / a.latency_s * b.latency_s / b_as_a) ** 0.5)


def _own_speed(one: Taken) -> float:
    return max(one.latency_s - (one.first_s or 0.0), 0.0) / one.tokens


def _slope(side: Sequence[Taken]) -> float | None:
    """Seconds a token, >= 0; None where lengths differ too little."""
    count = len(side)
    mean_n = sum(one.tokens for one in side) / count
    mean_s = sum(one.latency_s for one in side) / count
    spread = sum((one.tokens - mean_n) ** 2 for one in side)
    if spread <= count * (_SPREAD_MIN * mean_n) ** 2:
        return None
    return max(sum((one.tokens - mean_n) * (one.latency_s - mean_s) for one in side) / spread, 0.0)
