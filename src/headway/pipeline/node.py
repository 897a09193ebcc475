"""One call of a step in a run: it waits for what it needs and for its place, runs, and ends once.

Everything is synchronous but the function itself (`work`): a call that waits has no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from headway.errors import BudgetExceeded, ConfigError
from headway.pipeline.cycle import check_line
from headway.pipeline.failures import locate
from headway.pipeline.limit import Limit
from headway.pipeline.patience import cancel_task
from headway.pipeline.record import Record, edge_to
from headway.pipeline.source import Source
from headway.pipeline.wiring import Need, filled
from headway.pipeline.work import work
from headway.types.steps import StepOutcome

if TYPE_CHECKING:
    from headway.pipeline.crew import Crew
    from headway.pipeline.spec import Spec

__all__ = ["Cause", "Node"]

Cause: TypeAlias = StepOutcome | Literal["", "child", "cut"]
"""Why a step's task is cancelled: "child", a call that it made has failed; "cut", it is optional and the run's deadline
has come."""


class Node(Source):
    """A call under way. `parent` is the call (or the pipeline's function, index -1) that made it."""

    __slots__ = (
        "_needs",
        "_stage",
        "any_of",
        "args",
        "awaits",
        "cause",
        "children",
        "context",
        "failure",
        "limits",
        "missing",
        "named",
        "parent",
        "record",
        "spec",
        "started",
        "task",
        "threads",
        "timer",
    )

    def __init__(
        self,
        run: Crew,
        spec: Spec,
        index: int,
        args: tuple[Any, ...],
        named: dict[str, Any],
        *,
        parent: Node | None = None,
        limits: tuple[Limit, ...] = (),
    ) -> None:
        super().__init__(run, f"{spec.name}#{index}", index, kept_bytes_max=spec.options.kept_bytes_max)
        self.spec = spec
        caller = -1 if parent is None else parent.index
        self.record = Record(spec.name if index >= 0 else "", index, caller, run.loop.time())
        self.args = args
        self.named = named
        self.parent = parent
        self.limits = limits
        self.context: Context = copy_context()
        self.task: asyncio.Task[None] | None = None
        self.started = False
        """Its task has run."""
        self.cause: Cause = ""
        """Why its task was cancelled."""
        self.failure: BaseException | None = None
        """Of a call that it made, for which it was cancelled."""
        self.children: dict[Node, None] | None = None
        self.awaits: list[Source] = []
        """What it waits for, all of it."""
        self.any_of: list[Collection[Source]] = []
        """What it waits for, any of each."""
        self.threads = 0
        """Of it, which could not be cancelled and still run."""
        self.missing = 0
        self._needs: Sequence[Need] = ()
        self._stage = 0
        self.timer: asyncio.TimerHandle | None = None

    # -- before it runs --------------------------------------------------------------------------------------------

    def begin(self, needs: Sequence[Need] = ()) -> None:
        """Start it, or have it started by what it needs."""
        if self.done:
            return  # its run was being cancelled already when it was called
        self._needs = needs
        for source, stream in needs:
            source.readers += 1
            self.missing += source.needed_by(self, stream=stream)
        if not self.missing:
            self._ready()

    def arrived(self) -> None:
        """One of the things it needs is there."""
        self.missing -= 1
        if not self.missing and not self.done:
            self._ready()

    def _ready(self) -> None:
        record = self.record
        record.ready_at_s = self.run.loop.time()
        if self._needs:
            edges = [edge_to(source, stream=stream) for source, stream in self._needs]
            record.edges = (*record.edges, *edges)
        self.run.admit(self)

    def admitted(self) -> None:
        """A place is there, or none is needed: go on to the next limit, or start. Called by the crew only."""
        run = self.run
        if run.stopping or self.done:
            return  # it is about to be cancelled, or was
        while self._stage < len(self.limits):
            limit = self.limits[self._stage]
            if self not in limit.holders and not limit.take(self):
                try:
                    check_line(limit, self)
                except ConfigError as error:
                    locate(self, error)
                    self.end("failed", error)
                return
            self._stage += 1
        decision = run.decide(self) if self.index >= 0 else "full"
        if decision == "skip":
            self.end("skipped", value=self.spec.options.stand_in)
            return
        if decision is None:
            return
        self.record.smaller = decision == "smaller" and bool(self.spec.options.smaller)
        self.task = asyncio.Task(work(self), loop=run.loop, name=self.name, context=self.context)

    def fill(self) -> None:
        """Put what its handles stand for among its arguments. Raises why there is no such value."""
        if self._needs or self.spec.function.has_streams:
            self.args, self.named = filled(self.spec.function, self.args, self.named, self._given)

    def _given(self) -> Source:
        return Source(self.run, self.name, self.index)

    # -- while it runs ---------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """A try begins: its time runs."""
        if self.spec.options.timeout_s is not None:
            self.timer = self.run.loop.call_later(self.spec.options.timeout_s, self._late)

    def disarm(self) -> None:
        """It has ended."""
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def _late(self) -> None:
        if not self.cause:
            cancel_task(self, "timeout")

    def push(self, chunk: Any) -> None:
        super().push(chunk)
        if self.record.first_at_s is None:
            self.record.first_at_s = self.first_at_s

    def cancel(self, cause: Cause = "cancelled") -> None:
        """End it before its time. It ends at once where it has not begun."""
        if self.done:
            return
        if self.started and self.task is not None:
            if self.cause == "" or (self.cause in ("timeout", "child") and cause != "cut"):
                cancel_task(self, cause)
            return
        if self.task is not None:
            self.task.cancel()
            self.run.ending(self.task)
        self.cause = cause
        self.end_cancelled()

    def cancel_children(self) -> None:
        """End what it has called and what is not done, in the order of the calls."""
        children, self.children = self.children, None
        for child in children or ():
            child.cancel()

    def child_failed(self, error: BaseException) -> None:
        """A call that it made has failed, and with it, it has."""
        if self.failure is None and not self.done and self.task is not None:
            self.failure = error
            self.cancel_children()
            if self.cause == "":
                cancel_task(self, "child")

    # -- its end ---------------------------------------------------------------------------------------------------

    def end(self, outcome: StepOutcome, error: BaseException | None = None, value: Any = None) -> None:
        """Once: it is written down, its places are given back, and whoever waits is told."""
        if self.done:
            return
        run, record = self.run, self.record
        self.disarm()
        record.outcome = outcome
        record.end_at_s = run.loop.time()
        failure = error
        if failure is None and outcome in ("default", "skipped", "timeout"):
            failure = self.failure
        if failure is not None and not isinstance(failure, asyncio.CancelledError):
            record.error = type(failure).__name__
        if outcome not in ("ok", "cached"):
            self.cancel_children()
        if outcome in ("default", "skipped") and not self.chunks:
            self.chunks = None
        self.args, self.named, self.children, self.task = (), {}, None, None
        needs, self._needs, self.failure = self._needs, (), None
        run.ended(self)
        self.conclude(value, error, is_default=outcome in ("default", "skipped"))
        if self.parent is not None and self.parent.children is not None:
            self.parent.children.pop(self, None)
        if outcome in ("failed", "timeout", "budget") and error is not None:
            self._tell_parent(error)  # first of all, so that nothing begins that would be cancelled at once
        self.announce()
        if record.first_at_s is None and outcome in ("ok", "cached", "default", "skipped"):
            record.first_at_s = self.end_at_s
        self.give_places()
        for source, _ in needs:
            source.leave(early=not source.done)

    def give_places(self) -> None:
        """Others may have its places; that of a thread only when the thread has ended, too."""
        for limit in self.limits:
            if not (self.threads and limit is self.run.thread_limit):
                limit.give(self)

    def end_cancelled(self) -> None:
        """It has ended by its cancellation."""
        cause = self.cause
        if cause == "cut":
            self.failure = self.run.late
            self.end("skipped", value=self.spec.options.stand_in)
            return
        # The error is a new one: the frames of the one that was raised hold on to what they read.
        self.end(cause if cause in ("deadline", "budget") else "cancelled", asyncio.CancelledError())

    def _tell_parent(self, error: BaseException) -> None:
        at = self.parent
        while at is not None and at.index >= 0:
            if not at.done:
                at.child_failed(error)
                return
            at = at.parent
        self.run.fail(error, node=self)

    def drop(self) -> None:
        self.cancel()

    def waits_for(self) -> Iterable[Source]:
        """What has to be there before it can end."""
        if self.started:
            return self.awaits
        return [source for source, stream in self._needs if not (source.done or (stream and source.chunks))]

    def held_up_by(self) -> Iterable[Source]:
        """Whose places it stands in line for, or which of several it waits for."""
        if self.any_of:
            return [source for group in self.any_of for source in group]
        if self.done or self.missing or self.task is not None or self._stage >= len(self.limits):
            return ()
        return self.limits[self._stage].holders

    def give_in(self, error: Exception) -> None:
        """It has failed for good: its default stands in, or the failure stands."""
        if self.spec.options.is_tolerant:
            self.failure = error
            self.end("default", value=self.spec.options.stand_in)
            return
        locate(self, error)
        late = self.cause == "timeout"
        self.end("timeout" if late else "budget" if isinstance(error, BudgetExceeded) else "failed", error)
