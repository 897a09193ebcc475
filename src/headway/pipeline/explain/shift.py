"""Has a p95 gone up? An exact test, its correction for many steps, and a guard against drift.

Source: the exceedance (precedence) test, Nelson, "Tables for a precedence life test" (1963) and Balakrishnan and Ng,
"Precedence-Type Tests and Applications" (2006): how many of the later values exceed the r-th of the m earlier ones has,
where nothing has changed, the same distribution whatever the values are distributed like. Holm, "A simple sequentially
rejective multiple test procedure" (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, inf, lgamma
from typing import NamedTuple

from headway.pipeline.explain.quantiles import quantile

__all__ = ["BEFORE_MIN", "NOW_MIN", "Shift", "exceedance_p", "holm", "shift_of"]

BEFORE_MIN = 50
NOW_MIN = 20
_Q = 0.95
_BLOCKS_MAX = 10


class Shift(NamedTuple):
    """What has become of a p95."""

    before_count: int
    now_count: int
    before_p95_s: float
    now_p95_s: float
    p: float
    """How likely so many late values are if nothing has changed."""
    worst_p95_s: float
    """The highest p95 of the last ten earlier stretches of as many values; 0 where there is none."""

    @property
    def ratio(self) -> float:
        """The new p95 over the old one; 1 where both are 0."""
        if self.before_p95_s > 0:
            return self.now_p95_s / self.before_p95_s
        return 1.0 if self.now_p95_s <= 0 else inf

    def beyond(self, share: float) -> bool:
        """It is up by more than `share`, against all that went before and against the worst stretch of it.

        What was slow for an hour every day before is no news. `bench/bench_regressions.py` shows what that is worth.
        """
        return self.now_p95_s > (1 + share) * max(self.before_p95_s, self.worst_p95_s)


def shift_of(before: Sequence[float], now: Sequence[float]) -> Shift | None:
    """The p95 of later values against that of earlier ones; None below 50 earlier or 20 later ones.

    Args:
        before: In the order of time, in seconds.
        now: The same, all later than `before`.
    """
    if len(before) < BEFORE_MIN or len(now) < NOW_MIN:
        return None
    ranked, ranked_now = sorted(before), sorted(now)
    place = ceil(_Q * len(ranked))
    limit_s = ranked[place - 1]
    beyond = sum(value > limit_s for value in now)  # equal ones do not count: ties make the test careful, not wrong
    size = len(now)
    ends = range(len(before), max(size - 1, len(before) - _BLOCKS_MAX * size), -size)
    return Shift(
        before_count=len(before),
        now_count=size,
        before_p95_s=quantile(ranked, _Q),
        now_p95_s=quantile(ranked_now, _Q),
        p=exceedance_p(beyond, size, len(before), place),
        worst_p95_s=max((quantile(sorted(before[end - size : end]), _Q) for end in ends), default=0.0),
    )


def exceedance_p(beyond: int, now_count: int, before_count: int, place: int) -> float:
    """The chance of at least `beyond` of the later values above the earlier value of rank `place`, nothing changed.

    Args:
        beyond: 0 to `now_count`.
        now_count: How many later values there are, >= 1.
        before_count: How many earlier ones, >= 1.
        place: 1 is the smallest earlier value, `before_count` the greatest.
    """
    total = _log_ways(before_count + now_count, now_count)
    above = before_count - place
    return min(
        1.0,
        sum(
            exp(_log_ways(n + above, n) + _log_ways(now_count - n + place - 1, now_count - n) - total)
            for n in range(beyond, now_count + 1)
        ),
    )


def _log_ways(among: int, taken: int) -> float:
    return lgamma(among + 1) - lgamma(taken + 1) - lgamma(among - taken + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values, each raised so that the chance of any false alarm among all of them is what it says."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, ps[i] * (len(ps) - rank)))
        adjusted[i] = highest
    return adjusted
