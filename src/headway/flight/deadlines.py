"""One timer for the deadlines of all flights: most calls end long before theirs, and a timer each costs them 3 us."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
from typing import Protocol

__all__ = ["Deadlines", "Expiring"]

MANY = 256
GAP_S = 0.005
"""With that many under way, the timer rings at most that often: each ring looks at all of them."""


class Expiring(Protocol):
    """What has deadlines."""

    def expire(self, now_s: float) -> float:
        """End what is due; when to look again, infinite for never."""
        ...


class Deadlines:
    """Rings when the earliest deadline that was noted is due.

    Args:
        everything: Whatever is under way; looked at when the timer rings.
    """

    __slots__ = ("_at_s", "_everything", "_timer", "loop")

    def __init__(self, everything: Iterable[Expiring]) -> None:
        self.loop = asyncio.get_running_loop()
        self._everything = everything
        self._at_s = inf
        self._timer: asyncio.TimerHandle | None = None

    def note(self, at_s: float) -> None:
        """A deadline: the timer rings no later."""
        if at_s < self._at_s:
            self.cancel()
            self._at_s = at_s
            self._timer = self.loop.call_at(at_s, self._ring)

    def cancel(self) -> None:
        """Ring no more."""
        self._at_s = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._at_s, self._timer = inf, None
        now_s = self.loop.time()
        under_way = tuple(self._everything)
        next_s = min([each.expire(now_s) for each in under_way], default=inf)
        self.note(max(next_s, now_s + GAP_S) if len(under_way) > MANY else next_s)
