"""The job runner: rows in, one record per row out, resumable at any moment."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.dispatch import Dispatcher, Lanes
from headway.jobs.feed import rows_of
from headway.jobs.index import Index
from headway.jobs.job import Finished, JobSettings, Tally, check_columns, journal_path, open_journal
from headway.jobs.journal import Journal, Line
from headway.jobs.lanes import Item
from headway.jobs.opening import JobEngine, cancel_forgotten, open_lanes
from headway.jobs.record import record_of, result_of
from headway.jobs.source import Source, SourceRow, open_source
from headway.jobs.verdict import Verdict
from headway.jobs.writer import json_line, write_output
from headway.policy.budget import SpendCap
from headway.prompts.requests import Requests
from headway.types import Result

__all__ = ["Finished", "JobSettings", "Tally", "check_columns", "journal_path", "run_job"]

PROGRESS_S = 0.25
SPENT_S = 1.0
_COLUMNS_MAX = 1_000


async def run_job(
    settings: JobSettings,
    engine: JobEngine,
    *,
    source: Source | None = None,
    journal: Journal | None = None,
    on_result: Callable[[Result, bool], None] | None = None,
    on_progress: Callable[[Tally], None] | None = None,
    on_line: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a job to its end, or until it is cancelled; either way every finished row is in the journal.

    Args:
        settings: The job.
        engine: Sends the rows.
        source: The input, when it was opened before; it is closed here either way.
        journal: Where finished rows go when there is no `out`; closed here. A temporary one when None.
        on_result: Called with every result, and whether an earlier run had it.
        on_progress: Called about four times a second, and at the end.
        on_line: Takes the JSONL lines in input order when there is no `out`.

    Raises:
        ConfigError: The output or its journal cannot be written or belongs to another job; nothing was sent.
        InputError: The input cannot be read, or lacks a column that the prompt needs.
    """
    source = source or open_source(settings.input, kind=settings.kind, rows_max=settings.rows_max)
    try:
        check_columns(source, settings.task)
        journal = open_journal(settings, source) if journal is None else journal
        try:
            if journal.forgotten:
                await cancel_forgotten(engine, settings.task.path, journal)
            if engine.budget is not None:
                engine.budget.cap.book(journal.spent())  # the budget is the job's, however often it is resumed
            run = _Run(settings, source, journal, on_result, on_line)
            return await run.go(engine, on_progress)
        finally:
            journal.close()
    finally:
        source.close()


class _Run:
    """One run's books: which row's line is where, and which rows are in flight.

    Memory: what is in flight; for each row 8 bytes, its offset, and about 18, the key that tells equals apart.
    """

    def __init__(
        self,
        settings: JobSettings,
        source: Source,
        journal: Journal,
        on_result: Callable[[Result, bool], None] | None,
        on_line: Callable[[bytes], None] | None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._journal = journal
        self._on_result = on_result
        self._on_line = on_line
        self._offsets = array("q")  # per row: where its line is in the journal, -1 while it is owed
        self._written = 0  # rows that `on_line` has had
        self._equals = Index()  # how many rows of that key there were so far
        self._dispatcher: Dispatcher | None = None
        self._lanes: Lanes | None = None
        self._columns = dict.fromkeys(source.columns)
        self._verdict = Verdict(own=isinstance(settings.task, Requests))
        self.tally = Tally(total=source.rows_total)

    async def _book(self, cap: SpendCap) -> None:
        """Note what was spent, also on rows that were not finished: the budget is the job's, whatever ends this run."""
        noted = cap.dollars_spent
        while True:
            await asyncio.sleep(SPENT_S)
            if cap.dollars_spent != noted:
                noted = cap.dollars_spent
                self._note_spent(noted)

    def _note_spent(self, dollars: float) -> None:
        """A disk that is full is told by the next row; it must not hide what ended the run."""
        with suppress(HeadwayError):
            self._journal.note_spent(dollars)

    async def go(self, engine: JobEngine, on_progress: Callable[[Tally], None] | None) -> Finished:
        """Send what is owed, write down what comes back, and put the output together."""
        ticking = asyncio.create_task(self._tick(on_progress)) if on_progress else None
        booking = asyncio.create_task(self._book(engine.budget.cap)) if engine.budget is not None else None
        dispatcher, lanes = self._dispatcher, self._lanes = open_lanes(
            engine, self._settings, self._journal, self._take, left=self._left
        )
        try:
            await dispatcher.run(self._owed(), lanes)
            for row, key, result in self._verdict.close():
                self._write(row, key, result)
        except (ConfigError, InputError):
            raise
        except HeadwayError as error:  # a lane broke, or the disk is full: what was finished is kept
            dispatcher.reason = str(error)
        finally:
            await lanes.aclose()
            if engine.budget is not None:
                self._note_spent(engine.budget.cap.dollars_spent)
            for task in (ticking, booking):
                if task:
                    task.cancel()
        stopped = self._verdict.reason or dispatcher.reason
        if not stopped and self._settings.out is not None:
            out = self._settings.out
            columns, safe = list(self._columns), self._settings.csv_safe
            write_output(out, self._offsets, self._journal, columns, csv_safe=safe, source=self._source)
        if on_progress:
            on_progress(self.tally)
        return Finished(tally=self.tally, stopped=stopped, moved=dispatcher.moved, offsets=self._offsets)

    def _left(self) -> int | None:
        """Rows that were not read yet."""
        return None if self.tally.total is None else max(0, self.tally.total - len(self._offsets))

    async def _tick(self, on_progress: Callable[[Tally], None]) -> None:
        while True:
            self.tally.lanes = tuple(self._lanes.views()) if self._lanes is not None else ()
            on_progress(self.tally)
            await asyncio.sleep(PROGRESS_S)

    async def _owed(self) -> AsyncGenerator[Item, None]:
        """The rows that have to be sent; the others are settled here."""
        async with aclosing(rows_of(self._source)) as rows:
            async for row in rows:
                if self._verdict.reason:
                    return
                key = self._key(row)
                self._offsets.append(-1)
                if not row.row.keys() <= self._columns.keys() and len(self._columns) < _COLUMNS_MAX:
                    self._columns.update(dict.fromkeys(row.row))
                if self._resume(row, key):
                    continue
                if row.problem:
                    self._write(row.index, key, _unreadable(row))
                    continue
                self.tally.sent += 1
                yield Item(row.index, key, row.row)
        self.tally.total = len(self._offsets)

    def _key(self, row: SourceRow) -> str:
        """The row's request, and which of its equals it is."""
        key = ""
        if not row.problem:
            try:
                key = self._settings.task.row_key(row.row)
            except InputError:
                pass  # the engine meets the same error and makes the row's sentence of it
        if not key:
            key = hashlib.blake2b(repr((row.problem, row.row)).encode(), digest_size=16).hexdigest()
        return f"{key}#{self._equals.count(key)}"

    def _resume(self, row: SourceRow, key: str) -> bool:
        """Whether an earlier run settled the row; its record then gets the row's present columns."""
        found = self._journal.find(key)
        if found is None or (not found[1].ok and (self._settings.retry_failed or self._batched(key))):
            return False
        offset, record = found[0], found[1].read()
        if record.input != row.row:
            record = msgspec.structs.replace(record, input=row.row)
            offset = self._journal.append(key, record, moved=True)
        self.tally.resumed += 1
        self._settle(row.index, offset, result_of(record, row.index, row.row), resumed=True)
        return True

    def _batched(self, key: str) -> bool:
        """Whether a row that failed once is in a batch of an earlier run since."""
        batch = self._lanes.open.get("batch") if self._lanes is not None else None
        return batch is not None and batch.owes(key)

    def _take(self, item: Item, result: Result) -> None:
        if self._verdict.reason and not self._verdict.drain and result.error:
            return  # the job is stopping: what fails now stays owed
        if result.index != item.row:
            result = msgspec.structs.replace(result, index=item.row)
        if result.lane == "batch" and result.outcome != "budget":
            self._write(item.row, item.key, result)  # paid or refused already: to stop would save nothing
            return
        for one in self._verdict.judge(item.row, item.key, result):
            self._write(*one)
        if self._verdict.reason and not self._verdict.drain and self._dispatcher and self._lanes:
            self._dispatcher.stop(self._lanes)

    def _write(self, row: int, key: str, result: Result) -> None:
        offset = self._journal.append(key, record_of(result))
        self._settle(row, offset, result, resumed=False)

    def _settle(self, row: int, offset: int, result: Result, *, resumed: bool) -> None:
        self._offsets[row] = offset
        self.tally.done += 1
        self.tally.failed += bool(result.error)
        if self._on_result:
            self._on_result(result, resumed)
        while self._on_line and self._written < len(self._offsets) and self._offsets[self._written] >= 0:
            line: Line = self._journal.read(self._offsets[self._written])
            self._written += 1
            self._on_line(json_line(self._written, line))


def _unreadable(row: SourceRow) -> Result:
    return Result(index=row.index, row=row.row, error=row.problem, outcome="input", error_code="input")
