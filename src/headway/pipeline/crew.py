"""Who owns the calls of a run: every call of a step is in a crew until it has ended, and the crew ends when all have.

A strict nursery, like asyncio's TaskGroup but for three things: calls that wait for what they need have no task, calls
are cancelled in the order in which they were made (so that a run on virtual time is the same for the same seed), and a
step that does not let itself be cancelled is left behind after a while instead of holding the run for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any
from weakref import ref

from headway.errors import BudgetExceeded
from headway.pipeline.bounds import Bounds
from headway.pipeline.current import Frame
from headway.pipeline.deadline import Deadline
from headway.pipeline.failures import holds, note
from headway.pipeline.limit import Limit
from headway.pipeline.node import Node
from headway.pipeline.options import RunOptions
from headway.pipeline.spec import Spec
from headway.pipeline.threads import RUN_THREADS_MAX
from headway.policy.degrade import Decision, Left
from headway.types.scope import Scope
from headway.types.steps import StepOutcome
from headway.types.views import Tags

if TYPE_CHECKING:
    from headway.pipeline.record import Record
    from headway.pipeline.run import Run

__all__ = ["Crew"]


class Crew:
    """The calls of one run. Made on the run's own loop, when it begins.

    Args:
        run: The run as the program knows it.
        id_: The run's id.
        spec: The pipeline's function.
        options: How it is made.
    """

    def __init__(self, run: Run[Any], id_: str, spec: Spec, options: RunOptions) -> None:
        self.public: Run[Any] | None = run
        """None when it is over: what outlives it (a connection that a step has opened) must not hold on to it."""
        self.id = id_
        self.spec = spec
        self.loop = asyncio.get_running_loop()
        is_repeatable = options.engine is None and getattr(self.loop, "is_virtual", False)
        self.rng = Random(spec.name if is_repeatable else id_)
        self.start_at_s = self.loop.time()
        self.start_wall_s: float = getattr(self.loop, "wall_s", time.time)()
        self._degrade = options.degrade
        self._experience = options.experience
        self._starts: Counter[str] = Counter()
        self.bounds = Bounds(options, self.start_at_s)
        self.over = False
        """Everything has ended; handles cannot be used any more."""
        self.stopping = False
        """What is left is being cancelled."""
        self.error: BaseException | None = None
        """The first that reached the run: the one that surfaces."""
        self.records: list[Record] = []
        """The pipeline's function first, then steps in the order of their calls."""
        self._cause: StepOutcome = "cancelled"
        self._stopped_at_s: float | None = None
        """When something was left to be cancelled."""
        self.at_end: list[Callable[[], object]] = []
        """Called when it is over."""
        self.live: dict[Node, None] = {}
        """What has not ended."""
        self._admitted: deque[Node] = deque()
        self._is_admitting = False
        self._frames: list[ref[Frame]] = []
        self._limits: dict[Spec, Limit] = {}
        self.thread_limit = Limit(RUN_THREADS_MAX)
        self._ending: list[asyncio.Task[None]] = []
        self._idle: asyncio.Future[None] | None = None
        self._scopes: list[Scope] = []
        self._deadline = Deadline(self, options.deadline_s)

    # -- calls -----------------------------------------------------------------------------------------------------

    def begin(self, args: tuple[Any, ...], named: dict[str, Any]) -> Node:
        """The call of the pipeline's own function."""
        main = Node(self, self.spec, -1, args, named)
        self.records.append(main.record)
        self.live[main] = None
        main.begin()
        return main

    def add(
        self, spec: Spec, args: tuple[Any, ...], named: dict[str, Any], frame: Frame, limits: tuple[Limit, ...]
    ) -> Node:
        """A call of a step, made by that frame; to be begun."""
        if spec.options.concurrency is not None:
            limits = (*limits, self._limit(spec, spec.options.concurrency))
        if spec.function.kind == "plain" and not getattr(self.loop, "is_virtual", False):
            limits = (*limits, self.thread_limit)
        node = Node(self, spec, len(self.records) - 1, args, named, parent=frame.node, limits=limits)
        record = node.record
        if frame.seen is not None:
            record.edges = ((frame.seen.index, "control", frame.seen_at_s),)
        self.records.append(record)
        parent = frame.node
        if self.stopping or parent is None or parent.cause:  # what is being cancelled begins nothing
            node.end("cancelled", asyncio.CancelledError())
            return node
        self.live[node] = None
        if parent.index >= 0:
            if parent.children is None:
                parent.children = {}
            parent.children[node] = None
        return node

    def admit(self, node: Node) -> None:
        """It has a place, or needs none. Those who are let in by that come after it: a line of any length is a loop."""
        self._admitted.append(node)
        if not self._is_admitting:
            self._is_admitting = True
            try:
                while self._admitted:
                    self._admitted.popleft().admitted()
            finally:
                self._is_admitting = False

    def frame(self, node: Node) -> Frame:
        """Where a try of it runs."""
        frame = Frame(self, node)
        self._frames.append(ref(frame))
        return frame

    def _limit(self, spec: Spec, places: int) -> Limit:
        limit = self._limits.get(spec)
        if limit is None:
            limit = self._limits[spec] = Limit(places)
        return limit

    def scope_of(self, node: Node) -> Scope:
        """The surroundings of a step's calls of models."""
        step = node.name if node.index >= 0 else ""
        bounds = self.bounds
        scope = bounds.scope(
            Tags(run=self.id, step=step, parent=self.spec.name, session=bounds.session),
            node.spec.options.smaller if node.record.smaller else {},
            (node.record, self.records[0]) if step else (node.record,),
            is_thread=bool(step) and node.spec.function.kind == "plain",
        )
        self._scopes.append(scope)
        return scope

    @property
    def late(self) -> BaseException | None:
        """Its deadline has come, and the rest is being put together."""
        return self._deadline.late

    def decide(self, node: Node) -> Decision | None:
        """What becomes of a step that is about to start: as it is, with smaller models, or left out; None: its end."""
        spec = node.spec
        if self._deadline.late is not None:
            return self._deadline.decide(node)
        if self._degrade is None:
            return "full"
        needed = self._experience.needed(spec.name, self._starts[spec.name])
        self._starts[spec.name] += 1
        time_s, usd = (None, None) if needed is None else needed
        deadline_at_s, allowance = self.bounds.deadline_at_s, self.bounds.purse
        return self._degrade.decide(
            time=Left(deadline_at_s - self.loop.time(), deadline_at_s - self.start_at_s, time_s),
            dollars=None if allowance is None else Left(allowance.left, allowance.usd_max, usd),
            optional=spec.options.optional,
        )

    def told(self) -> str:
        """The run, in a message."""
        return f"pipeline {self.spec.name!r} (run {self.id})"

    # -- ends ------------------------------------------------------------------------------------------------------

    def ended(self, node: Node) -> None:
        """A call has ended."""
        self.live.pop(node, None)
        if self._deadline.late is not None:
            self._deadline.look()
        if not self.live and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def ending(self, task: asyncio.Task[None]) -> None:
        """A task that was cancelled before it ran; it needs one more turn of the loop."""
        self._ending.append(task)

    def fail(self, error: BaseException, cause: StepOutcome = "cancelled", *, node: Node | None = None) -> None:
        """The run fails with the first error that reaches it; everything else is cancelled."""
        if self.error is None and not self.stopping:
            self.error = error
            self._cause = cause
            self.stop(cause)
            self._stopped_at_s = self.loop.time()
        elif node is not None:
            self.also(node, error)

    def also(self, node: Node, error: BaseException) -> None:
        """A step failed while it was being cancelled: no error of its own, but worth a note, without its words."""
        mine = self.error
        if mine is None or error is mine or (isinstance(error, BaseExceptionGroup) and holds(error, mine)):
            return
        who = node.name if node.index >= 0 else "the pipeline's function"
        note(mine, f"while it was being cancelled, {who} raised {type(error).__name__}")

    def stop(self, cause: StepOutcome = "cancelled") -> None:
        """Cancel what is left: the pipeline's function first, then steps in the order of their calls."""
        if not self.stopping:
            self.stopping = True
            if self.live:
                self._stopped_at_s = self.loop.time()
            for node in list(self.live):
                node.cancel(cause)

    async def drained(self) -> None:
        """Wait until every call has ended. A cancellation of the wait cancels them, and is raised when they have."""
        cancelled: asyncio.CancelledError | None = None
        while self.live:
            self._idle = self.loop.create_future()
            try:
                await self._idle
            except asyncio.CancelledError as error:
                cancelled = error
                self.stop()
        for _ in range(2):  # a task that was cancelled before it ran ends at the loop's next turn
            if any(not task.done() for task in self._ending):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def close(self) -> None:
        """Nothing can be called or awaited any more."""
        self.stopping = self.over = True
        for ended in self.at_end:
            ended()
        self.at_end.clear()
        self._write_down()
        self._deadline.cancel()
        self.public = None
        self._limits.clear()
        for one in self._frames:
            if (frame := one()) is not None:
                frame.node = frame.seen = None
        self._frames.clear()
        for scope in self._scopes:
            scope.close()
        self.bounds.close()

    def _write_down(self) -> None:
        """How it ended, where something was cut off: its function may have returned before that."""
        if self._stopped_at_s is None or not self.records:
            return
        whole, error = self.records[0], self.error
        if error is not None:
            late = self._cause == "deadline"
            whole.outcome = "deadline" if late else "budget" if isinstance(error, BudgetExceeded) else "failed"
            whole.error = type(error).__name__
        elif whole.outcome == "ok":
            whole.outcome = "cancelled"
        whole.end_at_s = max(whole.end_at_s or 0.0, self._stopped_at_s)
