"""A limit that may be enforced in slices of a second, whatever its headers say: the first one's end is crossed slowly.

At full speed all that is under way when the first refusal comes would be refused as well. Once a tenth of a slice was
spent beyond its end, and other answers came after that but no refusal, there are no slices. (That nothing came at all
proves nothing: then the provider or the network is slow.) Source: FACTS section 2 (60,000 a minute as 1,000 a
second); paces and margins are our own measurement (`bench/bench_limits_jobs.py`).
"""

from __future__ import annotations

from math import inf

__all__ = ["SLICE_S", "Slice"]

SLICE_S = 1.0
PACE = 1.5
"""How fast the end is crossed, as a multiple of the refill."""
BEFORE, BEHIND = 0.1, 0.1
"""Where slow crossing begins and ends, in slices."""

QUIET_S, AGAIN_S = 0.1, 0.05
"""How long after crossing the end an answer counts, and how long after that one a second: two round trips, about."""


class Slice:
    """What a slice would hold now.

    Args:
        refill_per_s: Units a second, > 0.
        careful: Go slowly from the beginning: nobody knows how much of the slice is there.
    """

    __slots__ = ("_before", "_behind_at_s", "_heard_at_s", "_level", "_next_at_s")

    def __init__(self, refill_per_s: float, *, careful: bool = False) -> None:
        self._before = inf if careful else BEFORE
        self._level = refill_per_s * SLICE_S
        self._next_at_s = -inf
        self._behind_at_s = inf
        self._heard_at_s = inf

    def wait_s(self, cost: float, refill_per_s: float, now_s: float) -> float:
        """Seconds until `cost` may be spent; 0.0 away from the end."""
        room = refill_per_s * SLICE_S
        if self._level - cost > self._before * room:
            return 0.0
        if self._level < -BEHIND * room:
            self._behind_at_s = min(self._behind_at_s, now_s)
        return self._next_at_s - now_s if self._next_at_s > now_s + 1e-9 else 0.0

    def charge(self, cost: float, refill_per_s: float, now_s: float) -> None:
        """Spend `cost`; below zero when it is given back."""
        self._level -= cost
        if cost > 0.0:
            self._next_at_s = now_s + cost / (PACE * refill_per_s)

    def disproved_by_answer(self, now_s: float) -> bool:
        """An answer has come that was admitted: whether there are no slices, as it shows."""
        if now_s < self._behind_at_s + QUIET_S:
            return False
        self._heard_at_s = min(self._heard_at_s, now_s)
        return now_s >= self._heard_at_s + AGAIN_S

    def advance(self, elapsed_s: float, refill_per_s: float) -> None:
        """Time has passed."""
        self._level = min(refill_per_s * SLICE_S, self._level + elapsed_s * refill_per_s)
