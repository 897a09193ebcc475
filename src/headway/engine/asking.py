"""One task's rows through one engine: each asked in one call, or in a call for each of its outputs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from functools import reduce
from typing import Any, Literal, Protocol, TypeAlias, cast

import msgspec

from headway.engine.fan import Fan
from headway.engine.first import FirstOf, first_of, prepared, together
from headway.engine.row import RowAsk, add_usage
from headway.errors import ConfigError, HeadwayError
from headway.policy.merging import MergeCase, MergeSettings
from headway.policy.output_bound import OutputBound
from headway.types import Reply, Result, Tags, TaskLike

__all__ = ["Asker", "Priority", "Sender", "SeparableTask", "asked_apart"]

Row = Mapping[str, Any]
Priority: TypeAlias = int | Literal["low", "normal", "high"]
CacheMode: TypeAlias = Literal["on", "off", "refresh"]


class Sender(Protocol):
    """What is needed of an engine."""

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        key_body: bytes | None = None,
        tags: Tags | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        priority: Priority = 0,
    ) -> Reply:
        """As `Engine.send`."""
        ...  # fmt: skip


class SeparableTask(TaskLike, Protocol):
    """What a task with several outputs offers beyond `TaskLike`; `prompts.merge.MergedTask` does."""

    @property
    def merge(self) -> MergeSettings:
        """How it is asked."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Its outputs."""
        ...

    def part(self, *names: str) -> TaskLike:
        """The task that asks for these outputs only."""
        ...


def asked_apart(task: TaskLike) -> bool:
    """Whether the task is never asked as a whole."""
    settings = getattr(task, "merge", None)
    return isinstance(settings, MergeSettings) and settings.mode == "separate"


class Asker:
    """See the module. One for a run: what it learns about merging holds for the rows that follow.

    Args:
        engine: Sends the requests; may be anything with its `send`.
        task: What is asked. Where it has several outputs (`SeparableTask`), its settings say how.
        tags: For the call log.
        priority: As in `Engine.send`; so is `cache`, which a row's second questions do not heed.
        cache: None: as the engine is set.
        bound: See `engine.bounds`; for requests of the whole task.
        fan: See `engine.fan`; likewise.
    """

    __slots__ = ("_bound", "_cache", "_engine", "_fan", "_first", "_priority", "_separable", "_tags", "_task", "case")

    def __init__(
        self,
        engine: Sender,
        task: TaskLike,
        *,
        tags: Tags | None = None,
        priority: Priority = 0,
        cache: CacheMode | None = None,
        bound: OutputBound | None = None,
        fan: Fan | None = None,
    ) -> None:
        self._engine = engine
        self._task = task
        self._tags = tags or Tags()
        self._priority = priority
        self._cache = cache
        self._bound = bound
        self._fan = fan
        settings = getattr(task, "merge", None)
        self._separable = cast("SeparableTask", task) if isinstance(settings, MergeSettings) else None
        self._first = first_of(task)
        self.case = MergeCase(settings) if isinstance(settings, MergeSettings) else None
        """Whether rows are asked merged now, and what came of it; None for a task with one output."""

    @property
    def learning(self) -> bool:
        """Whether it is worth waiting for the first answers before many rows are asked."""
        if self._bound is not None and self._bound.learning:
            return True
        return self.case is not None and self.case.learning

    def ask(self, row: Row, index: int = 0) -> Coroutine[Any, Any, Result]:
        """Send the row, and what it asks next, until it is settled.

        Raises:
            ConfigError: A mistake in the program.
        """
        if self._first is not None:
            return self._prepared(self._first, row, index)
        return self._asked(row, index)

    async def _prepared(self, first: FirstOf, row: Row, index: int) -> Result:
        """The row after what it needs first; all of it is the row's."""

        def alone(task: TaskLike, one: Row) -> Coroutine[Any, Any, Result]:
            return self._whole(task, one, index)

        ready = await prepared(first, row, index, alone)
        return ready.whole(ready.failed or await self._asked(ready.row, index), row)

    def _asked(self, row: Row, index: int) -> Coroutine[Any, Any, Result]:
        if self.case is None:  # handed on as it is: one more frame would cost every plain row
            return self._whole(self._task, row, index, self._bound, self._fan)
        return self._several(self.case, row, index)

    async def _several(self, case: MergeCase, row: Row, index: int) -> Result:
        turn = case.choose()
        if turn.way == "separate":
            assert self._separable is not None
            return await self._separately(self._separable, row, index)
        result = await self._whole(self._task, row, index, self._bound, self._fan)
        _say(case, case.ended(turn, fell_back=result.repairs > 0 or result.outcome == "invalid_output"))
        return result

    async def _whole(
        self, task: TaskLike, row: Row, index: int, bound: OutputBound | None = None, fan: Fan | None = None
    ) -> Result:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        ask = RowAsk(task, row, bound)
        try:
            while not ask.settled:
                body, key_body = ask.body, ask.key_body
                if fan is not None:
                    body = fan.marked(body)
                    if body is not ask.body and key_body is None:
                        key_body = ask.body  # a breakpoint changes the price, not the question
                reply = await self._engine.send(
                    task.path,
                    body,
                    key_body=key_body,
                    tags=self._tags,
                    cache=ask.cache or self._cache,
                    priority=self._priority,
                )
                try:
                    data = await reply.read()
                except HeadwayError as error:
                    error.trace = reply.trace
                    raise
                assert reply.trace is not None  # the engine's replies carry their caller's trace
                ask.answered(reply.status, data, reply.trace)
        except ConfigError:
            raise
        except HeadwayError as problem:
            ask.failed(problem)
        return ask.result(index, latency_s=loop.time() - started_s, started_at_s=started_s)

    async def _separately(self, task: SeparableTask, row: Row, index: int) -> Result:
        """A call for each output; in sequence, a failure does not keep the others from being asked."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        names = task.names
        if task.merge.order == "sequential":
            results = [await self._whole(task.part(name), row, index) for name in names]
        else:
            results = await together([self._whole(task.part(name), row, index) for name in names])
        took_s = loop.time() - started_s
        return _joined(row, index, names, results, started_s, took_s, together=task.merge.order == "parallel")


def _say(case: MergeCase, changed: str) -> None:
    """Say in the log that the way of asking changed."""
    if changed == "reverted":
        logging.getLogger("headway.merging").warning(
            "%.0f %% of the last merged answers had to be asked for again, more than merge.fallback_max: separate "
            "calls from now on, and a merged one now and then to see whether it works again",
            100 * case.fallback_share,
        )
    elif changed:
        logging.getLogger("headway.merging").warning("merged answers are whole again: merged calls from now on")


def _joined(
    row: Row,
    index: int,
    names: Sequence[str],
    results: Sequence[Result],
    started_s: float,
    took_s: float,
    *,
    together: bool,
) -> Result:
    """One result of several: values by name, failures named, costs summed; the good values stay where one failed."""
    value = {name: one.value for name, one in zip(names, results, strict=True) if not one.error}
    bad = [(name, one) for name, one in zip(names, results, strict=True) if one.error]
    worst = next((one for _, one in bad if one.outcome != "invalid_output"), bad[0][1] if bad else results[0])
    dollars = [one.dollars for one in results if one.dollars is not None]
    saved = [one.saved_dollars for one in results if one.saved_dollars is not None]
    waits = [one.wait_s for one in results]
    usages = [one.usage for one in results if one.usage is not None]
    reasons = dict.fromkeys(one.error for _, one in bad)
    return Result(
        index=index,
        row=row,
        value=value or None,
        text=msgspec.json.encode(value).decode() if value else "",
        error="; ".join(f"{', '.join(name for name, one in bad if one.error == why)}: {why}" for why in reasons),
        outcome=worst.outcome,
        status=worst.status,
        error_code=worst.error_code,
        latency_s=took_s,
        wait_s=max(waits) if together else sum(waits),
        usage=reduce(add_usage, usages) if usages else None,
        dollars=sum(dollars) if len(dollars) == len(results) else None,
        saved_dollars=sum(saved) if saved else None,
        cache=next((one.cache for one in results if one.attempts), results[0].cache),
        attempts=sum(one.attempts for one in results),
        repairs=sum(one.repairs for one in results),
        started_at_s=started_s,
    )
