"""One timer for a connection's whole life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

__all__ = ["Alarm"]


class Alarm:
    """Something is due at a moment that moves with every request; the timer itself is only moved when it would be late.

    Args:
        loop: Whose time it is.
        due: Called when it is due.
    """

    __slots__ = ("_at_s", "_due", "_loop", "_timer", "deadline_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        self._loop = loop
        self._due = due
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = inf
        self.deadline_s = inf
        """When it is due. It may be put off (also to infinity, for nothing is due) by setting this."""

    def after(self, delay_s: float) -> None:
        """It is due then."""
        self.deadline_s = deadline_s = self._loop.time() + delay_s
        if deadline_s < self._at_s:
            self._arm(deadline_s)

    def close(self) -> None:
        """Never again."""
        self.deadline_s = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer, self._at_s = None, inf
        if self._loop.time() >= self.deadline_s:
            self._due()
        elif self.deadline_s < inf:
            self._arm(self.deadline_s)
