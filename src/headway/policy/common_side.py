"""One side of a bucket that workers share: its requests, or its tokens. See `policy.common_limits`."""

from __future__ import annotations

from math import inf

import msgspec

from headway.policy.slices import Slice

__all__ = ["SLICE_S", "Claim", "Pair", "Side"]

SLICE_S = 0.1
"""Seconds of refill that a worker takes at once when there is no more than that."""
_BELOW_S = 0.2
"""How far below empty a limit starts that an answer has told: nobody knows what is under way."""
_PART = 0.25
"""Of what is to spare, to one worker at once."""
_HEADROOM_S = 0.1
"""Refill that stays in the bucket, for clocks and networks that waver."""
Pair = tuple[float, float]
"""Requests and tokens."""


class Claim(msgspec.Struct, frozen=True):
    """What one worker takes for the limit of one side."""

    per_min: float | None
    capacity_s: float
    claimed_s: float
    """See `SharedBucket`."""


class Side:
    """Requests, or tokens."""

    __slots__ = ("_known", "_slice", "_tried", "capacity_s", "corrected", "level", "per_min")

    def __init__(self) -> None:
        self.per_min: float | None = None
        self.capacity_s = 60.0
        self.level = 0.0
        self.corrected = 0.0
        self._slice: Slice | None = None  # whose end is crossed slowly; see `policy.slices`
        self._tried = False  # there are none
        self._known = False  # a worker knows the capacity

    @property
    def most(self) -> float:
        return (self.per_min or 0.0) / 60.0 * self.capacity_s

    @property
    def per_s(self) -> float:
        return (self.per_min or 0.0) / 60.0

    def advance(self, passed_s: float) -> None:
        """Time has passed."""
        if self.per_min is not None:
            self.level = min(self.most, self.level + self.per_s * passed_s)
            if self._slice is not None:
                self._slice.advance(passed_s, self.per_s)

    def due_s(self, cost: float, now_s: float) -> float:
        """Seconds until that may be spent. More than fits in waits for a full bucket: the provider knows better."""
        if self.per_min is None or cost <= 0.0:
            return 0.0
        needed = min(cost + min(self.most, self.per_s) * _HEADROOM_S, self.most)
        wait_s = max(0.0, (needed - self.level) / self.per_s)
        return wait_s if self._slice is None else max(wait_s, self._slice.wait_s(cost, self.per_s, now_s))

    def more(self, least: float, wanted: float, *, waits: bool) -> float:
        """How much to grant of what is wanted, where `least` is granted anyway."""
        if self.per_min is None:
            return inf
        slice_ = self.per_s * SLICE_S
        spare = self.level - min(self.most, self.per_s) * _HEADROOM_S - least
        if self._slice is not None:  # slowly
            return max(least, min(wanted, slice_ * _PART))
        if waits:
            return max(least, min(wanted, slice_))
        return least + max(0.0, min(wanted - least, spare, max(slice_, spare * _PART)))

    def spend(self, cost: float, due_at_s: float) -> None:
        """Take it out; below zero when it is given back."""
        if self.per_min is None or cost == inf:
            return
        self.level = min(self.most, self.level - cost)
        if self._slice is not None:
            self._slice.charge(cost, self.per_s, due_at_s)

    def tell(self, claims: list[Claim], now_s: float, *, larger: bool, full: bool) -> None:
        """What workers take the limit for. The smallest holds; where somebody knows the capacity, nobody doubts it."""
        least = min((one.per_min for one in claims if one.per_min is not None), default=None)
        old, had = self.per_min, self.most
        self.per_min = least
        if least is None:
            self.level, self._slice = 0.0, None
            return
        same = old is not None and abs(old - least) <= 0.02 * old
        if not same:
            self._known = self._tried = False
            self._slice = None
        claims = [one for one in claims if one.per_min is not None and one.per_min <= 1.02 * least]
        known = min((one.capacity_s for one in claims if not one.claimed_s), default=None)
        if known is not None:
            # Of two capacities the smaller was found out, unless who told it takes it back.
            self.capacity_s = min(known, self.capacity_s) if self._known and same and not larger else known
            self._known, self._slice = True, None
        elif not self._known:
            self.capacity_s = max(one.claimed_s for one in claims)
        if old is None:
            self.level = self.most if full else -_BELOW_S * self.per_s
        elif had > 0.0:
            # What is there is a share; what is owed, a time.
            level = self.level * (self.most / had if self.level > 0.0 else least / old)
            self.corrected += level - self.level  # marks that were given are of the level before
            self.level = level
        if not self._known and not self._tried and self._slice is None:
            self._slice = Slice(self.per_s, careful=True)

    def correct(self, reading: float | None, mark: Pair | None, claim: Claim, now_s: float) -> None:
        """A level that was read: a bound, or with a mark what the mark should have been."""
        if self.per_min is None or reading is None:
            return
        if self._slice is not None and mark is not None and self._slice.disproved_by_answer(now_s):
            self._slice, self._tried = None, True
        if claim.claimed_s and not self._known:  # it was told as if there were slices
            reading += (claim.claimed_s - claim.capacity_s) * (claim.per_min or 0.0) / 60.0
        if mark is None:
            self.level = min(self.level, reading)
            return
        # Requests of several workers overtake one another, so a tenth; what is far below is another one's use.
        off = reading - mark[0] - (self.corrected - mark[1])
        level = min(self.most, self.level + (off if off < -0.5 * self.per_s else 0.1 * off))
        level = max(level, min(self.level, -self.most))  # whatever was read: a provider's bucket is never in debt
        self.corrected += level - self.level
        self.level = level
