"""Keeps a rollup up to date with the call log: what is new at once, what is old bit by bit, the youngest first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from headway.insight.fold import Rollup
from headway.store.log_follower import LogFollower, Table
from headway.store.rows import Taken

__all__ = ["Follower"]

NEW_ROWS, OLD_ROWS = 5_000, 2_000
"""At a time; 2,000 take about 8 ms."""
AGED_EVERY_S: Final = 0.25
CLOCK_S: Final = 1.0
"""A clock that was set back so far makes stretches of time wrong: all of it is read anew."""


class _Place:
    """How far one table was read."""

    __slots__ = ("fold", "high", "low", "low_at_s", "table")

    def __init__(self, table: Table, fold: Callable[[Taken, float], float], high: int) -> None:
        self.table = table
        self.fold = fold
        self.high = high
        """All rows after that are yet to come."""
        self.low = high + 1
        """All rows before that are old ones that were not read yet; 0: there are none."""
        self.low_at_s = float("inf")


class Follower:
    """See the module. What it does is bounded by time, so that who waits for it waits for little.

    Args:
        path: The call log; it need not be there.
        wall_s: Unix seconds.
    """

    def __init__(self, path: str | os.PathLike[str], wall_s: Callable[[], float] = time.time) -> None:
        self.log = LogFollower(path)
        self._wall_s = wall_s
        self._number = 0
        self._aged_at_s = 0.0
        self.rollup = Rollup(wall_s())
        self.fresh: list[Taken] = []
        """Callers that came since somebody last took them away, oldest first."""
        self._places: tuple[_Place, ...] = ()

    @property
    def number(self) -> int:
        """Which log it is; see `LogFollower.number`."""
        return self._number

    @property
    def loading(self) -> bool:
        """Whether older calls are still to be read."""
        return any(place.low > 0 for place in self._places)

    @property
    def there(self) -> bool:
        """Whether there is a log."""
        return bool(self._places)

    def step(self, budget_s: float, *, fresh_max: int = 5_000) -> bool:
        """Read on for about so long; whether there is more to be read.

        Args:
            budget_s: Seconds, > 0.
            fresh_max: How many callers are kept in `fresh`, the youngest.
        """
        until_s = time.perf_counter() + budget_s
        if not self._look():
            return False
        more = False
        for place in self._places:
            while True:
                place.high, rows = self.log.after(place.table, place.high, NEW_ROWS)
                self._fold(place, rows)
                if place.table == "calls" and rows:
                    self.fresh = [*self.fresh, *rows][-fresh_max:]
                if len(rows) < NEW_ROWS:
                    break
                if time.perf_counter() >= until_s:
                    more = True
                    break
        while self.loading and time.perf_counter() < until_s:
            self._older()
        return more or self.loading

    def _look(self) -> bool:
        """Whether there is a log; begins anew where it is another one than before."""
        now_wall_s = self._wall_s()
        if not self.log.look():
            if self._places:
                self._places, self.rollup = (), Rollup(now_wall_s)
            return False
        fell_back = now_wall_s < self._aged_at_s - CLOCK_S
        if self.log.number != self._number or not self._places or fell_back:
            self._aged_at_s = now_wall_s
            self._number = self.log.number
            self.rollup = rollup = Rollup(now_wall_s)
            self.fresh = []
            self._places = (
                _Place("attempts", rollup.attempt, self.log.last("attempts")),
                _Place("calls", rollup.call, self.log.last("calls")),
            )
        elif now_wall_s - self._aged_at_s >= AGED_EVERY_S or now_wall_s < self._aged_at_s:
            self._aged_at_s = now_wall_s
            self.rollup.age(now_wall_s)
        return True

    def _older(self) -> None:
        """Read some of what was there before, of the table that was read less far back."""
        place = max((place for place in self._places if place.low > 0), key=lambda place: place.low_at_s)
        place.low, rows = self.log.before(place.table, place.low, OLD_ROWS)
        if rows:
            place.low_at_s = self._fold(place, rows)
            if place.low_at_s < self.rollup.since_wall_s:
                place.low = 0

    def _fold(self, place: _Place, rows: list[Taken]) -> float:
        """Count rows; when the last of them ended."""
        now_wall_s, fold, at_s = self._wall_s(), place.fold, 0.0
        for row in rows:
            at_s = fold(row, now_wall_s)
        return at_s
