"""The lanes that there are for a job: online always; flex and batch where format and engine offer them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from headway.jobs.dispatch import Dispatcher, Lanes
from headway.jobs.journal import Journal
from headway.jobs.lane_online import EngineLike, OnlineLane
from headway.jobs.lanes import Item, Lane
from headway.policy.lanes import LaneName, LanePolicy
from headway.types import Result

if TYPE_CHECKING:
    from headway.jobs.runner import JobSettings

__all__ = ["open_lanes"]


def open_lanes(
    engine: EngineLike,
    settings: JobSettings,
    journal: Journal,
    take: Callable[[Item, Result], None],
    *,
    total: Callable[[], int | None],
) -> tuple[Dispatcher, Lanes]:
    """What places a job's rows, and the lanes it may place them in; none is opened before a row needs it."""
    makers: dict[LaneName, Callable[[], Lane]] = {}
    lanes = Lanes(makers)

    def online() -> Lane:
        return OnlineLane(
            engine,
            settings.task,
            concurrency=settings.concurrency,
            settle=dispatcher.settled("online"),
            rows=total() if settings.lanes.lane == "online" else None,
        )

    makers["online"] = online
    policy = LanePolicy(settings.lanes, lanes.offers)
    dispatcher = Dispatcher(policy, take, budget=lambda: inf, rate=lambda: None, rows_total=total)
    return dispatcher, lanes
