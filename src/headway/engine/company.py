"""What an engine has in common with others: limits with other processes, and all that it has with its predecessor.

An engine that takes the place of another one (a changed configuration) goes on where that one stands: with the limits
that were learned, the health of upstreams, the dollars that are spent, the open connections, the caches and the log,
each of them as far as it is set as before. What it takes over, it closes; so the older of the two is closed first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.attempt.pace import Lane, Pace
from headway.config import Settings
from headway.engine.record import Recorder, open_recorder

if TYPE_CHECKING:
    from headway.attempt.budget import Budget
    from headway.engine.core import Engine
    from headway.engine.stack import Stack
    from headway.policy.shared_limits import LimitsShared

__all__ = ["Company", "Totals", "inherit", "same"]


class Totals:
    """What was counted since the beginning."""

    __slots__ = ("attempts", "budget", "dollars")

    def __init__(self) -> None:
        self.attempts = 0
        self.dollars: float | None = 0.0
        self.budget: Budget | None = None
        """The last one that there was: where a cap is taken out and put back, what was spent under it stays spent."""


class Company:
    """See the module.

    Args:
        limits: Buckets that other processes use as well; None: the engine's Redis, if it has one.
        before: Whose place the engine takes; open, and on the same loop.
    """

    __slots__ = ("before", "limits")

    def __init__(self, limits: LimitsShared | None = None, before: Engine | None = None) -> None:
        self.limits = limits
        self.before = before

    def recorder(self, settings: Settings, *, inline: bool) -> Recorder:
        """The predecessor's, where nothing about the log has changed; else another one with the same observers."""
        found = self.before.recorder if self.before is not None else None
        if found is not None and self.before is not None and same(self.before.settings, settings, "log"):
            return found.shared()
        made = open_recorder(settings, inline=inline)
        for observer in found.observers if found is not None else ():
            made.observe(observer)
        return made


def same(one: Settings, other: Settings, *beginnings: str) -> bool:
    """Whether two agree in all settings whose names begin like one of those."""
    names = [name for name in Settings.__struct_fields__ if name.startswith(beginnings)]
    return all(getattr(one, name) == getattr(other, name) for name in names)


def inherit(stack: Stack, before: Stack) -> None:
    """Have a stack that was just made go on where another one stands."""
    _adopt_limits(stack._pace, before._pace)
    if stack._router is not None and before._router is not None:
        stack._router.choice.adopt(before._router.choice)
    stack.totals = before.totals
    stack.totals.budget = before.budget or stack.totals.budget
    if stack.budget is not None and stack.totals.budget is not None:
        stack.budget.adopt(stack.totals.budget)
    before._handed_on = stack._upstream is before._upstream
    before.caches.handed_on = stack.caches.spaces is before.caches.spaces


def _adopt_limits(pace: Pace, before: Pace) -> None:
    """What was learned where both set out with the same; while both are used, they charge one account."""
    for scope, lane in before._lanes.items():
        mine = pace._lanes.get(scope)
        if lane.limits.settings == (pace._settings if mine is None else mine.limits.settings):
            pace._lanes[scope] = Lane(lane.limits, pace._queue_max, pace._loop)
    pace._pooled.update((one, pooled) for one, pooled in before._pooled.items() if pooled in pace._lanes)
