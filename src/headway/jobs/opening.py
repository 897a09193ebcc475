"""The lanes that there are for a job: online always; flex and batch where format and engine offer them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headway.attempt.budget import Budget
from headway.errors import ConfigError
from headway.jobs.dispatch import Dispatcher, Lanes
from headway.jobs.journal import Journal
from headway.jobs.lane_online import EngineLike, OnlineLane
from headway.jobs.lanes import Item, Lane
from headway.jobs.purse import Purse
from headway.policy.lanes import LaneName, LanePolicy
from headway.types import Result, Tags
from headway.wire import batch_format_for
from headway.wire.prices import Prices

if TYPE_CHECKING:
    from headway.jobs.lane_batch_types import BatchEngine
    from headway.jobs.runner import JobSettings
    from headway.prompts.task import Task
    from headway.wire.batch import BatchFormat

__all__ = ["JobEngine", "cancel_forgotten", "open_lanes"]


class JobEngine(EngineLike, Protocol):
    """What a job asks of an engine; `headway.engine.Engine` is one. Batches ask for more (`BatchEngine`)."""

    def snapshot(self) -> dict[str, Any]:
        """See `Engine.snapshot`."""
        ...

    @property
    def budget(self) -> Budget | None:
        """See `Engine.budget`."""
        ...


def open_lanes(
    engine: JobEngine,
    settings: JobSettings,
    journal: Journal,
    take: Callable[[Item, Result], None],
    *,
    left: Callable[[], int | None],
) -> tuple[Dispatcher, Lanes]:
    """What places a job's rows, and the lanes it may place them in; none is opened before a row needs it.

    A journal that holds batches of an earlier run opens the batch lane at once: their rows belong nowhere else.

    Raises:
        ConfigError: The lane that was asked for is not there for this task.
    """
    task, asked, tags = settings.task, settings.lanes, Tags(run=journal.run)
    loop = asyncio.get_running_loop()
    deadline_at_s = None if isinf(asked.deadline_s) else loop.time() + asked.deadline_s
    makers: dict[LaneName, Callable[[], Lane]] = {}
    lanes = Lanes(makers)

    def online() -> Lane:
        rows = left() if asked.lane == "online" else None  # the first one has been read, which makes no difference
        settle = dispatcher.settled("online")
        priority = -1 if settings.group else 0
        return OnlineLane(
            engine, task, concurrency=settings.concurrency, settle=settle, priority=priority, tags=tags, rows=rows
        )

    def flex() -> Lane:
        settle = dispatcher.settled("flex")
        return OnlineLane(engine, task.flex(), concurrency=settings.concurrency, settle=settle, flex=True, tags=tags)

    def batch() -> Lane:
        from headway.jobs.lane_batch import BatchLane, BatchLaneSettings

        assert format_ is not None
        whole: BatchEngine = engine  # type: ignore[assignment]  # fakes that never batch need not have it all
        lane = BatchLane(
            whole,
            task,
            format_,
            settle=dispatcher.settled("batch"),
            journal=journal,
            done=lambda key: (found := journal.find(key)) is not None and found[1].ok,
            told=lambda key: journal.find(key) is not None,
            purse=purse,
            folder=_folder(settings.out),
            wall_s=getattr(loop, "wall_s", time.time),
            tags=tags,
            settings=BatchLaneSettings(reuse=settings.reuse, keep=journal.lasts),
        )
        lane.deadline_at_s = deadline_at_s
        return lane

    makers["online"] = online
    if task.api != "messages":
        makers["flex"] = flex
    format_ = _batch_format(task, asked.lane)
    if format_ is not None:
        makers["batch"] = batch
    if asked.lane != "auto" and asked.lane not in makers:
        raise ConfigError(f"--lane {asked.lane} is not offered for the {task.api} API; choose online or batch")
    policy = LanePolicy(asked, frozenset(makers))
    prices = Prices()
    rates = lambda model: prices.rates(model, settings.origin)  # noqa: E731
    purse = Purse(engine.budget, task, rates)
    dispatcher = Dispatcher(policy, take, purse=purse, rate=lambda: _rate(engine), rows_left=left)
    if journal.events and format_ is not None:
        lanes.get("batch")
        journal.events.clear()  # the lane has read them
    return dispatcher, lanes


async def cancel_forgotten(engine: JobEngine, path: str, journal: Journal) -> None:
    """Cancel batches of runs that `fresh` forgot: nobody would have their answers, nor stop them from being paid."""
    from headway.jobs.attach import open_batches
    from headway.jobs.lane_batch_calls import BatchCalls

    batch_ids, format_ = open_batches(journal.forgotten), batch_format_for(path)
    journal.forgotten.clear()
    if batch_ids and format_ is not None:
        whole: BatchEngine = engine  # type: ignore[assignment]
        names = ", ".join(batch_ids[:3]) + ", ..." * (len(batch_ids) > 3)
        log = logging.getLogger("headway.jobs")
        log.warning("--fresh forgets batches that an earlier run left at the provider, which are cancelled: %s", names)
        await BatchCalls(whole, format_, journal, time.time, None).cancel_all(batch_ids)


def _batch_format(task: Task, lane: str) -> BatchFormat | None:
    """The format of the task's batches; None where there are none, or where rows would have to wait for a summary."""
    if getattr(task, "first", None) is None:
        return batch_format_for(task.path)
    if lane == "batch":
        raise ConfigError(f'{task.where}: how = "summarise" asks twice about a row, so --lane batch is not offered')
    return None


def _rate(engine: JobEngine) -> float | None:
    """Requests a second that the provider's limits allow, as far as they are known."""
    allowed_rpm = engine.snapshot()["allowed_rpm"]
    return allowed_rpm / 60.0 if allowed_rpm else None


def _folder(out: Path | None) -> Path | None:
    """Where rows are spooled: beside the output, whose disk has room for as much."""
    return out.parent if out is not None else None
