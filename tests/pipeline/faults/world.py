"""Runs what was drawn: on virtual time, with an engine over a provider in-process, and everything that can be seen."""

from __future__ import annotations

import asyncio
import gc
import warnings
from dataclasses import dataclass, field
from typing import Any

import headway
from headway.sim import VirtualLoop, run_virtual
from headway.types.steps import StepRow
from tests.faults.rest import Rest, at_rest

from .drawn import Drawn
from .program import Left, Program
from .provider import Provider

__all__ = ["Record", "run"]

SETTLE_S = 30.0
"""What the engine may take to come to rest: a flight without readers ends at its next chunk."""


@dataclass
class Record:
    """All that is known of a run."""

    plan: Drawn
    ended: str = ""
    """"value", "cancelled", "left", or the class of the error that surfaced."""
    error: BaseException | None = None
    rows: list[StepRow] = field(default_factory=list)
    rest: Rest = field(default_factory=Rest)
    open_at_end: int = 0
    """Requests and replies still open at the moment when the run gave its result."""
    tasks_at_end: list[str] = field(default_factory=list)
    """Of steps, at that moment."""
    open: int = 0
    """Requests and replies still open when all had settled."""
    calls: int = 0
    running: int = 0
    unsettled: list[str] = field(default_factory=list)
    """Handles that had not ended with the run."""
    held: list[str] = field(default_factory=list)
    """Places of limits that were still taken."""
    children: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    dropped: dict[str, float] = field(default_factory=dict)
    """See `Program`."""
    left_at_s: float | None = None
    """When the program was cancelled, or raised."""
    complaints: list[str] = field(default_factory=list)
    """Of the loop: exceptions nobody took, tasks that were destroyed."""
    trace: bytes = b""


def run(plan: Drawn) -> Record:
    """Run it to its end."""
    record = Record(plan)

    async def main() -> None:
        await _World(plan, record).run()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of steps that do not let themselves be cancelled
        run_virtual(main)
    gc.collect(0)
    return record


class _World:
    def __init__(self, plan: Drawn, record: Record) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.plan = plan
        self.record = record
        self.program = Program(plan)
        self.run_: Any = None

    async def run(self) -> None:
        plan, record, program = self.plan, self.record, self.program
        self.loop.set_exception_handler(lambda _, context: record.complaints.append(str(context.get("message"))))
        provider = Provider(plan.seed, plan.faulty)
        engine = headway.Engine(
            handler=provider, api_key="sim", log="off", seed=plan.seed, log_level="off", timeout_s=60
        )
        engine.new_trace()  # opens it
        task = self.loop.create_task(self._use(engine), name="program")
        if plan.leave == "cancelled":
            self.loop.call_later(plan.leave_at_s, self._cancel, task)
        await asyncio.wait([task])
        self._note(task)
        record.open_at_end = provider.open
        record.tasks_at_end = sorted(one.get_name() for one in asyncio.all_tasks() if "#" in one.get_name())
        known = [handle for handle in (one() for one in program.handles) if handle is not None]
        record.unsettled = [repr(handle) for handle in known if not handle.done]
        del known
        if self.run_ is not None:
            record.rows = self.run_.rows()
            record.held = _held(self.run_)
        del task
        await asyncio.sleep(SETTLE_S)
        record.rest = at_rest(engine, self.loop)
        record.open, record.calls, record.running = provider.open, provider.calls, program.running
        await engine.aclose()
        record.children, record.dropped = program.children, program.dropped
        lines = [*program.lines, record.ended, *map(str, record.rows), str(record.calls)]
        record.trace = "\n".join(lines).encode()

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        if not task.done():
            self.record.left_at_s = self.loop.time()
            task.cancel()

    async def _use(self, engine: headway.Engine) -> Any:
        plan = self.plan
        if plan.read == "await":
            with headway.using(engine):
                return await self.program.pipeline()
        run = self.run_ = self.program.pipeline.run(
            engine=engine, deadline_s=plan.deadline_s, budget_usd=plan.budget_usd
        )
        value = None
        async with run:
            if plan.leave == "raises":
                await asyncio.sleep(plan.leave_at_s)
                self.record.left_at_s = self.loop.time()
                raise Left
            if plan.leave == "early":
                return None
            if plan.read == "stream":
                value = await self._read(run)
            elif plan.read == "rows":
                run.rows()
                await asyncio.sleep(min(1.0, plan.leave_at_s))
                run.rows()
            else:
                value = await run.result()
        return value

    async def _read(self, run: Any) -> Any:
        count = 0
        async for chunk in run.stream():
            self.program.say("read", str(chunk)[:80])
            count += 1
            if self.plan.leave == "chunks":
                break
        return count

    def _note(self, task: asyncio.Task[Any]) -> None:
        record = self.record
        if task.cancelled():
            record.ended = "cancelled"
        elif (error := task.exception()) is not None:
            record.error, record.ended = error, type(error).__name__
        else:
            record.ended = "value"
            self.program.say("value", str(task.result())[:200])


def _held(run: Any) -> list[str]:
    """Places taken, and calls in line for one."""
    limits = run._crew._limits.values()
    return [
        f"{len(one.holders)} places, {sum(not node.done for node in one.line)} in line" for one in limits if one.holders
    ]
