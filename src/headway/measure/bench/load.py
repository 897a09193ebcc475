"""Drives load at targets: closed loops and open ones, several targets at the same time, through the engine.

Latency counts from the moment a request was due. A client that waits for an answer before it looks at its clock again
leaves out what its own waiting did (coordinated omission; G. Tene, "How NOT to measure latency"): here a request that
could not start on time is late by as much, and one that never started is counted as skipped.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from random import Random

from headway.engine import Engine
from headway.errors import ConfigError, HeadwayError
from headway.measure.bench.arrivals import Schedule, schedule_of
from headway.measure.bench.clock import LoopLag, unburdened, until
from headway.measure.bench.load_lane import GAPS_MAX, SPENT, WAITED, Lane, Setting
from headway.measure.bench.run_types import COUNT_MAX, Load, OwnError, Progress, Run, Target
from headway.measure.probe import Probe
from headway.measure.probing import probe

__all__ = ["LoadRun", "run_load"]

LEAD_S = 0.02
"""Between the start and the first moment that something is due, so that it is not late already."""


async def run_load(
    engine: Engine,
    targets: Sequence[Target],
    load: Load,
    *,
    own_error: OwnError | None = None,
    progress: Progress | None = None,
) -> list[Run]:
    """Put one load on every target at the same time, and return a run for each, in their order.

    Run it on `clock.precise_loop`, where nothing else is going on. To have what there is when it is interrupted, use a
    `LoadRun` of your own.

    Args:
        engine: What requests go through, where a target has none of its own. `attempts_max=1`, `cache="off"` and
            `log="off"` leave the provider's own time.
        targets: At least one, of different names. A busy minute is everybody's: at every moment that is due, or in
            every round of a closed loop, all are asked, in an order that is drawn anew.
        load: How hard, and for how long.
        own_error: From `self_check.calibrate`, to go with the runs.
        progress: Told after every request.

    Raises:
        ConfigError: There is no target, or two share a name.
    """
    driver = LoadRun(engine, targets, load, own_error=own_error, progress=progress)
    await driver.run()
    return driver.runs()


class LoadRun:
    """One load on its way: `run` it once; `runs` says at any time what has come of it. Arguments as of `run_load`.

    `ended` is told of every request that counts, skipped ones left out.
    """

    def __init__(
        self,
        engine: Engine,
        targets: Sequence[Target],
        load: Load,
        *,
        own_error: OwnError | None = None,
        progress: Progress | None = None,
        ended: Callable[[Probe], None] | None = None,
    ) -> None:
        names = [target.name for target in targets]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"targets need names of their own, one target at least; got {names}")
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._load = load
        self._own_error = own_error
        self._progress = progress
        self._ended = ended
        self._lanes = [Lane(target) for target in targets]
        self._schedule: Schedule | None = None if load.closed else schedule_of(load, Random(f"arrivals {load.seed}"))
        self._order = Random(f"order {load.seed}")
        self._lag = LoopLag()
        self._origin_s = 0.0
        self._began_wall_s = 0.0
        self._taken = self._done = 0
        self._warmup: int | None = None  # closed loops: the first index that counts, once it is known
        self._counting_from_s = 0.0
        self._driving: asyncio.Task[None] | None = None
        self._stopped = self._cancelled = False
        self.spent = False
        """Whether the engine's cap on spending ended it."""

    async def run(self) -> None:
        """Start everything, and wait until all has ended. Cancelled, it ends what is under way."""
        with unburdened():
            self._began_wall_s = getattr(self._loop, "wall_s", time.time)()
            self._origin_s = self._loop.time() + LEAD_S
            self._driving = self._loop.create_task(self._drive())
            self._lag.start()
            try:
                await self._driving
            except asyncio.CancelledError:
                self._cancelled = True
                current = asyncio.current_task()
                if not self._stopped or (current is not None and current.cancelling()):
                    raise
            except BaseExceptionGroup as group:
                raise _first(group) from None
            finally:
                self._lag.stop()
                for lane in self._lanes if self._cancelled else ():
                    lane.stopped(0 if self._schedule is None else self._schedule.warmup)

    def stop(self) -> None:
        """End it early: nothing more is started, and what is under way is given up. `run` returns."""
        self._stopped = True
        if self._driving is not None:
            self._driving.cancel()

    def runs(self) -> list[Run]:
        """What has come of it so far, a run for each target."""
        schedule = self._schedule
        setting = Setting(
            load=self._load,
            targets=len(self._lanes),
            origin_s=self._origin_s,
            began_wall_s=self._began_wall_s,
            loop_lag=self._lag.late.lag(),
            own_error=self._own_error,
            cancelled=self._cancelled,
            due_s=None if schedule is None else array("d", schedule.offsets_s[schedule.warmup :]),
        )
        return [lane.run(setting) for lane in self._lanes]

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self._schedule is not None:
                await self._open_loop(self._schedule, group)
            else:
                for slot in range(self._load.concurrency):
                    group.create_task(self._slot(slot))

    async def _open_loop(self, schedule: Schedule, group: asyncio.TaskGroup) -> None:
        """Start every request when it is due, or as soon after that as there is a place."""
        for index, offset_s in enumerate(schedule.offsets_s):
            await until(self._origin_s + offset_s)
            for lane in self._shuffled(self._order):
                lane.waiting.append((index, offset_s))
                self._fill(lane, schedule, group)
        if isfinite(schedule.ends_s) and any(lane.waiting for lane in self._lanes):
            await until(self._origin_s + schedule.ends_s)
            for lane in self._lanes:
                lane.skip(WAITED, sum(index >= schedule.warmup for index, _ in lane.waiting))
                lane.waiting.clear()

    def _fill(self, lane: Lane, schedule: Schedule, group: asyncio.TaskGroup) -> None:
        """Start what is due while there are places."""
        now_s = self._loop.time() - self._origin_s
        while lane.waiting and lane.under_way < self._load.concurrency_max:
            index, offset_s = lane.waiting.popleft()
            if now_s - offset_s > self._load.late_max_s:
                lane.skip(WAITED, int(index >= schedule.warmup))
            else:
                lane.under_way += 1
                lane.counting += index >= schedule.warmup
                group.create_task(self._started(lane, index, offset_s, schedule, group))

    async def _started(
        self, lane: Lane, index: int, offset_s: float, schedule: Schedule, group: asyncio.TaskGroup
    ) -> None:
        counted = index >= schedule.warmup
        await self._ask(lane, index, offset_s, counted=counted)
        lane.under_way -= 1
        lane.counting -= counted
        self._fill(lane, schedule, group)

    async def _slot(self, slot: int) -> None:
        """One of the requests that a closed loop keeps under way; with several targets, one to each."""
        load = self._load
        await until(self._origin_s + load.ramp_s * slot / load.concurrency)
        order = Random(f"order {load.seed} {slot}")
        while (taken := self._take()) is not None:
            index, counted = taken
            intended_s = self._loop.time() - self._origin_s
            if len(self._lanes) == 1:
                await self._in_round(self._lanes[0], index, intended_s, counted=counted)
                continue
            async with asyncio.TaskGroup() as round_:
                for lane in self._shuffled(order):
                    round_.create_task(self._in_round(lane, index, intended_s, counted=counted))

    async def _in_round(self, lane: Lane, index: int, intended_s: float, *, counted: bool) -> None:
        lane.counting += counted
        await self._ask(lane, index, intended_s, counted=counted)
        lane.counting -= counted

    def _take(self) -> tuple[int, bool] | None:
        """The next request of a closed loop and whether it counts; None when it is over."""
        load, index, now_s = self._load, self._taken, self._loop.time() - self._origin_s
        if self._warmup is None and index >= load.warmup_count and now_s >= load.warmup_s:
            self._warmup, self._counting_from_s = index, now_s
        counted = self._warmup is not None
        if self._warmup is not None:
            if index - self._warmup >= (load.count or COUNT_MAX):
                return None
            if load.duration_s is not None and now_s - self._counting_from_s >= load.duration_s:
                return None
        self._taken += 1
        return index, counted

    def _shuffled(self, order: Random) -> list[Lane]:
        lanes = self._lanes
        return lanes if len(lanes) == 1 else order.sample(lanes, len(lanes))

    async def _ask(self, lane: Lane, index: int, intended_s: float, *, counted: bool) -> None:
        """One request to its end, whatever that is."""
        target, load = lane.target, self._load
        now_s = self._loop.time() - self._origin_s
        if counted:
            lane.started(intended_s, now_s)
        try:
            body = target.body(index)
        except HeadwayError as error:
            what = Probe(
                index=index, variant=target.name, intended_s=intended_s, started_s=now_s, end_s=now_s,
                outcome=error.code, error=str(error),
            )  # fmt: skip
        else:
            what = await probe(
                target.engine or self._engine,
                target.path,
                body,
                intended_s=intended_s,
                origin_s=self._origin_s,
                index=index,
                variant=target.name,
                headers=target.headers,
                cache=target.cache,
                deadline_s=load.deadline_s,
                accept=target.accept,
                texts=load.texts,
                gaps=lane.gaps < GAPS_MAX,
            )
        if what.outcome == "budget":  # it was not sent, and nothing after it will be
            lane.skip(SPENT, int(counted))
            self.spent = True
            self.stop()
            return
        lane.ended(what, counted=counted)
        self._done += 1
        if counted and self._ended is not None:
            self._ended(what)
        if self._progress is not None:
            self._progress(self._done, self._total())

    def _total(self) -> int | None:
        """Requests in all, of all targets; None where the clock decides."""
        load, schedule = self._load, self._schedule
        if schedule is not None:
            return len(schedule.offsets_s) * len(self._lanes)
        if load.duration_s is not None or load.warmup_s > 0 or load.count is None:
            return None
        return (load.count + load.warmup_count) * len(self._lanes)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: a fault of a target's own code, or of ours."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
