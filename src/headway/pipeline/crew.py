"""Who owns the calls of a run: every call of a step is in a crew until it has ended, and the crew ends when all have.

A strict nursery, like asyncio's TaskGroup but for three things: calls that wait for what they need have no task, calls
are cancelled in the order in which they were made (so that a run on virtual time is the same for the same seed), and a
step that does not let itself be cancelled is left behind after a while instead of holding the run for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from headway.attempt.allowance import RunAllowance
from headway.engine.current import on_this_loop
from headway.errors import BudgetExceeded, DeadlineExceeded
from headway.pipeline.current import Frame
from headway.pipeline.limit import Limit
from headway.pipeline.node import Node
from headway.pipeline.options import RunOptions
from headway.pipeline.spec import Spec
from headway.policy.degrade import Decision, Left
from headway.types.scope import Scope
from headway.types.steps import StepOutcome
from headway.types.trace import Trace
from headway.types.views import Tags

if TYPE_CHECKING:
    from headway.pipeline.record import Record
    from headway.pipeline.run import Run

__all__ = ["Crew"]

THREADS_MAX = 64
"""Plain functions of one run at work at a time."""


class Crew:
    """The calls of one run. Made on the run's own loop, when it begins.

    Args:
        run: The run as the program knows it.
        id_: The run's id.
        spec: The pipeline's function.
        options: How it is made.
    """

    def __init__(self, run: Run[Any], id_: str, spec: Spec, options: RunOptions) -> None:
        self.public = run
        self.id = id_
        self.spec = spec
        self.session = options.session
        self.loop = asyncio.get_running_loop()
        is_repeatable = options.engine is None and getattr(self.loop, "is_virtual", False)
        self.rng = Random(spec.name if is_repeatable else id_)
        self.start_at_s = self.loop.time()
        self.start_wall_s: float = getattr(self.loop, "wall_s", time.time)()
        self.degrade = options.degrade
        self._experience = options.experience
        self._starts: Counter[str] = Counter()
        self.allowance = None if options.budget_usd is None else RunAllowance(options.budget_usd)
        self.over = False
        """Everything has ended; handles cannot be used any more."""
        self.stopping = False
        """What is left is being cancelled."""
        self.error: BaseException | None = None
        """The first that reached the run: the one that surfaces."""
        self.records: list[Record] = []
        """The pipeline's function first, then steps in the order of their calls."""
        self._cause: StepOutcome = "cancelled"
        self._failed_at_s = 0.0
        self.at_end: list[Callable[[], object]] = []
        """Called when it is over."""
        self._live: dict[Node, None] = {}
        self._limits: dict[Spec, Limit] = {}
        self._threads = Limit(THREADS_MAX)
        self._ending: list[asyncio.Task[None]] = []
        self._idle: asyncio.Future[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._scopes: list[Scope] = []
        self._deadline_s = inf if options.deadline_s is None else options.deadline_s
        if options.deadline_s is not None:
            self._timers.append(self.loop.call_later(options.deadline_s, self._expire))

    # -- calls -----------------------------------------------------------------------------------------------------

    def begin(self, args: tuple[Any, ...], named: dict[str, Any]) -> Node:
        """The call of the pipeline's own function."""
        main = Node(self, self.spec, -1, args, named)
        self.records.append(main.record)
        self._live[main] = None
        main.begin()
        return main

    def add(
        self, spec: Spec, args: tuple[Any, ...], named: dict[str, Any], frame: Frame, limits: tuple[Limit, ...]
    ) -> Node:
        """A call of a step, made by that frame; to be begun."""
        if spec.options.concurrency is not None:
            limits = (*limits, self._limit(spec, spec.options.concurrency))
        if spec.function.kind == "plain" and not getattr(self.loop, "is_virtual", False):
            limits = (*limits, self._threads)
        node = Node(self, spec, len(self.records) - 1, args, named, parent=frame.node, limits=limits)
        record = node.record
        if frame.seen is not None:
            record.edges = ((frame.seen.index, "control", frame.seen_at_s),)
        self.records.append(record)
        if self.stopping or frame.node.cause:  # what is being cancelled begins nothing
            node.end("cancelled", asyncio.CancelledError())
            return node
        self._live[node] = None
        if frame.node.index >= 0:
            if frame.node.children is None:
                frame.node.children = {}
            frame.node.children[node] = None
        return node

    def _limit(self, spec: Spec, places: int) -> Limit:
        limit = self._limits.get(spec)
        if limit is None:
            limit = self._limits[spec] = Limit(places)
        return limit

    def scope_of(self, node: Node) -> Scope:
        """The surroundings of a step's calls of models."""
        step = node.name if node.index >= 0 else ""
        scope = Scope(
            Tags(run=self.id, step=step, parent=self.spec.name, session=self.session),
            deadline_at_s=self.start_at_s + self._deadline_s,
            models=node.spec.options.smaller if node.record.smaller else None,
            allowance=self.allowance,
            ended=on_this_loop(self._booking(node)),
        )
        self._scopes.append(scope)
        return scope

    def decide(self, spec: Spec) -> Decision:
        """What becomes of a step that is about to start: as it is, with smaller models, or left out."""
        if self.degrade is None:
            return "full"
        needed = self._experience.needed(spec.name, self._starts[spec.name])
        self._starts[spec.name] += 1
        time_s, usd = (None, None) if needed is None else needed
        left_s = self.start_at_s + self._deadline_s - self.loop.time()
        allowance = self.allowance
        return self.degrade.decide(
            time=Left(left_s, self._deadline_s, time_s),
            dollars=None if allowance is None else Left(allowance.left, allowance.usd_max, usd),
            optional=spec.options.optional,
        )

    def _booking(self, node: Node) -> Callable[[Trace], None]:
        record, whole = node.record, self.records[0]

        def ended(trace: Trace) -> None:
            record.add(trace)
            if record is not whole:
                whole.add(trace)

        return ended

    def threads(self) -> ThreadPoolExecutor:
        """Where plain functions run."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="headway-step")
        return self._pool

    def told(self) -> str:
        """The run, in a message."""
        return f"pipeline {self.spec.name!r} (run {self.id})"

    # -- ends ------------------------------------------------------------------------------------------------------

    def ended(self, node: Node) -> None:
        """A call has ended."""
        self._live.pop(node, None)
        if not self._live and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def ending(self, task: asyncio.Task[None]) -> None:
        """A task that was cancelled before it ran; it needs one more turn of the loop."""
        self._ending.append(task)

    def fail(self, error: BaseException, cause: StepOutcome = "cancelled") -> None:
        """The run fails with the first error that reaches it; everything else is cancelled."""
        if self.error is not None:
            if error is not self.error:
                self.error.add_note(f"in the same moment another step failed: {type(error).__name__}: {error}")
        elif not self.stopping:
            self.error = error
            self._cause = cause
            self._failed_at_s = self.loop.time()
            self.stop(cause)

    def also(self, node: Node, error: BaseException) -> None:
        """A step failed while it was being cancelled: no error of its own, but worth a note."""
        if self.error is not None and error is not self.error:
            self.error.add_note(f"while it was being cancelled, {node.name} raised {type(error).__name__}")

    def _expire(self) -> None:
        late = DeadlineExceeded(
            f"{self.told()} was not done within its deadline of {self._deadline_s:g} s; raise deadline_s, or declare "
            "what may be left out (optional=, degrade=)"
        )
        self.fail(late, "deadline")

    def stop(self, cause: StepOutcome = "cancelled") -> None:
        """Cancel what is left: the pipeline's function first, then steps in the order of their calls."""
        if not self.stopping:
            self.stopping = True
            for node in list(self._live):
                node.cancel(cause)

    async def drained(self) -> None:
        """Wait until every call has ended. A cancellation of the wait cancels them, and is raised when they have."""
        cancelled: asyncio.CancelledError | None = None
        while self._live:
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
        if self.error is not None and self.records:
            whole, late = self.records[0], self._cause == "deadline"
            whole.outcome = "deadline" if late else "budget" if isinstance(self.error, BudgetExceeded) else "failed"
            whole.error = type(self.error).__name__
            whole.end_at_s = max(whole.end_at_s or 0.0, self._failed_at_s)  # its function may have returned before
        for timer in self._timers:
            timer.cancel()
        for scope in self._scopes:
            scope.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
