"""What is asked before a row can be: a task may want to know something first, such as a summary of a long column.

A task says so by `first`: None for most, else a function of a row that gives a `First`, or None for this row. The
requests go through the same engine (cache, limits, budget of dollars), and what they take is on the row's account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from headway.engine.row import add_usage
from headway.engine.sentences import FAULTS, fault
from headway.errors import InputError
from headway.types import Result, TaskLike

__all__ = ["First", "FirstOf", "Prepared", "first_of", "prepared", "together"]

Row = Mapping[str, Any]
T = TypeVar("T")
AskOne: TypeAlias = Callable[[TaskLike, Row], Coroutine[Any, Any, Result]]


class First(Protocol):
    """What one row needs first."""

    @property
    def asks(self) -> Sequence[tuple[TaskLike, Row]]:
        """Rows of other tasks, asked side by side; at least one."""
        ...

    def ready(self, results: Sequence[Result]) -> Row:
        """The row as it can be asked about. Raises `InputError` when it cannot."""
        ...


FirstOf: TypeAlias = Callable[[Row], First | None]


def first_of(task: TaskLike) -> FirstOf | None:
    """The task's `first`; None where nothing is asked first, as for all tasks that do not know of it."""
    return getattr(task, "first", None)


class Prepared(NamedTuple):
    """A row after what was asked first: `row` is to be asked about, or `failed` is its end."""

    row: Row
    results: Sequence[Result] = ()
    failed: Result | None = None
    took_s: float = 0.0

    def whole(self, result: Result, row: Row) -> Result:
        """What became of the row as it came in (`row`), with all that was asked on its account."""
        if not self.results:
            return result
        every = [*self.results, result]
        dollars = [one.dollars for one in every if one.dollars is not None]
        saved = [one.saved_dollars for one in every if one.saved_dollars is not None]
        usages = [one.usage for one in every if one.usage is not None]
        return msgspec.structs.replace(
            result,
            row=row,
            latency_s=result.latency_s + self.took_s,
            started_at_s=result.started_at_s - self.took_s,
            wait_s=result.wait_s + max(one.wait_s for one in self.results),
            usage=reduce(add_usage, usages) if usages else None,
            dollars=sum(dollars) if len(dollars) == len(every) else None,
            saved_dollars=sum(saved) if saved else None,
            attempts=sum(one.attempts for one in every),
            repairs=sum(one.repairs for one in every),
        )


async def prepared(first_of_row: FirstOf, row: Row, index: int, ask: AskOne) -> Prepared:
    """Ask what the row needs first.

    Args:
        first_of_row: From `first_of`.
        row: The row.
        index: Its place in the input, from 0.
        ask: Asks about one row of one task.

    Raises:
        ConfigError: A mistake in the program.
    """
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    try:
        first = first_of_row(row)
    except (InputError, *FAULTS) as odd:
        error = odd if isinstance(odd, InputError) else InputError(fault("first", odd))
        return Prepared(row, (), _failed(row, index, error, started_s))
    if first is None:
        return Prepared(row)
    results = await together([ask(task, one) for task, one in first.asks])
    took_s = loop.time() - started_s
    bad = next((one for one in results if one.error), None)
    if bad is None:
        try:
            return Prepared(first.ready(results), results, None, took_s)
        except InputError as error:
            bad = _failed(row, index, error, started_s)
    else:
        bad = msgspec.structs.replace(bad, error=f"what had to be asked first failed: {bad.error}", value=None, text="")
    end = msgspec.structs.replace(
        bad, index=index, row=row, usage=None, dollars=0.0, saved_dollars=None, attempts=0, repairs=0, wait_s=0.0,
        latency_s=0.0, started_at_s=started_s + took_s,
    )  # fmt: skip
    return Prepared(row, results, end, took_s)


def _failed(row: Row, index: int, error: InputError, started_s: float) -> Result:
    return Result(
        index=index, row=row, error=str(error), outcome=error.code, error_code=error.code, dollars=0.0,
        cache="off", started_at_s=started_s,
    )  # fmt: skip


async def together(asking: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once, to their end; the first failure, or leaving, ends the others."""
    jobs = [asyncio.ensure_future(one) for one in asking]
    try:
        return await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
