"""The job runner: rows in, one record per row out, resumable at any moment."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.detect import Format
from headway.jobs.dispatch import Dispatcher, Lanes
from headway.jobs.feed import rows_of
from headway.jobs.index import Index
from headway.jobs.journal import Header, Journal, Line
from headway.jobs.lanes import Item, LaneView
from headway.jobs.opening import JobEngine, open_lanes
from headway.jobs.place import check_out
from headway.jobs.record import record_of, result_of
from headway.jobs.shards import check_begun
from headway.jobs.source import Source, SourceRow, open_source
from headway.jobs.verdict import Verdict
from headway.jobs.writer import json_line, write_output
from headway.policy.lanes import LaneSettings
from headway.prompts.requests import Requests
from headway.prompts.task import Task
from headway.types import Result

__all__ = ["Finished", "JobSettings", "Tally", "check_columns", "journal_path", "run_job"]

PROGRESS_S = 0.25
_COLUMNS_MAX = 1_000


class JobSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One job. `input` is a path or "-"; without `out`, results go to `on_line` in input order when ready."""

    input: str
    task: Task
    out: Path | None = None
    kind: Format | None = None
    rows_max: int | None = None
    concurrency: int = 512
    """Rows in flight at once. Pacing is the limits' business, so it may be generous."""
    retry_failed: bool = False
    """Send again what failed in an earlier run."""
    fresh: bool = False
    """Forget earlier runs, and overwrite an output that no journal belongs to."""
    csv_safe: bool = False
    """In CSV output, put ' before model text that a spreadsheet would run as a formula."""
    origin: str = ""
    """The provider's address; a journal with answers of another one is refused."""
    lanes: LaneSettings = LaneSettings()
    """At once, at half the price, or whichever is in time; see `policy.lanes`."""
    budget_usd: float | None = None
    """The most that the job may spend, earlier runs included; the engine has it, too, and keeps it."""
    group: bool = False
    """Small rows may be sent several to a prompt while the limits are the brake; the engine has to allow it, too."""
    reuse: bool = True
    """Whether equal rows share an answer, in the batch lane."""


class Tally(msgspec.Struct, kw_only=True):
    """Where a job stands. Rows; `total` is None while it is not known."""

    total: int | None = None
    done: int = 0
    failed: int = 0
    resumed: int = 0
    sent: int = 0
    lanes: tuple[LaneView, ...] = ()
    """The lanes that are open, as they were at the last tick."""
    lane_done: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows done in this run, by the lane that did them."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. `stopped` is a sentence when it stopped early; rows that were not done stay owed."""

    tally: Tally
    stopped: str = ""
    offsets: array[int] = array("q")
    """Per row in input order, where its line is in the journal; -1 where the row was not done."""


def journal_path(out: Path) -> Path:
    """Where the journal of an output is: beside it."""
    return out.with_name(out.name + ".journal")


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
        journal = _open_journal(settings, source) if journal is None else journal
        try:
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

    async def go(self, engine: JobEngine, on_progress: Callable[[Tally], None] | None) -> Finished:
        """Send what is owed, write down what comes back, and put the output together."""
        ticking = asyncio.create_task(self._tick(on_progress)) if on_progress else None
        dispatcher, lanes = self._dispatcher, self._lanes = open_lanes(
            engine, self._settings, self._journal, self._take, total=lambda: self.tally.total
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
            if ticking:
                ticking.cancel()
        stopped = self._verdict.reason or dispatcher.reason
        if not stopped and self._settings.out is not None:
            out = self._settings.out
            columns, safe = list(self._columns), self._settings.csv_safe
            write_output(out, self._offsets, self._journal, columns, csv_safe=safe, source=self._source)
        if on_progress:
            on_progress(self.tally)
        return Finished(tally=self.tally, stopped=stopped, offsets=self._offsets)

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
                if len(self._columns) < _COLUMNS_MAX:
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
        if found is None or (self._settings.retry_failed and not found[1].ok):
            return False
        offset, record = found[0], found[1].read()
        if record.input != row.row:
            record = msgspec.structs.replace(record, input=row.row)
            offset = self._journal.append(key, record, moved=True)
        self.tally.resumed += 1
        self._settle(row.index, offset, result_of(record, row.index, row.row), resumed=True)
        return True

    def _take(self, item: Item, result: Result) -> None:
        if self._verdict.reason and not self._verdict.drain:
            return  # the job is stopping: what comes in now stays owed
        if result.index != item.row:
            result = msgspec.structs.replace(result, index=item.row)
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
        if not resumed:
            self.tally.lane_done[result.lane] = self.tally.lane_done.get(result.lane, 0) + 1
        if self._on_result:
            self._on_result(result, resumed)
        while self._on_line and self._written < len(self._offsets) and self._offsets[self._written] >= 0:
            line: Line = self._journal.read(self._offsets[self._written])
            self._written += 1
            self._on_line(json_line(self._written, line))


def _unreadable(row: SourceRow) -> Result:
    return Result(index=row.index, row=row.row, error=row.problem, outcome="input", error_code="input")


def check_columns(source: Source, task: Task) -> None:
    """Find a column that is not there before anything is spent.

    Raises:
        InputError: Naming the file, the column and the nearest one.
    """
    if not source.columns:
        return  # JSONL whose first lines are broken: each row will tell
    needs = dict.fromkeys(task.columns, "the prompt needs")
    if task.expected:
        needs.setdefault(task.expected, "'expected' names")
    for column, need in needs.items():
        if column not in source.columns:
            there = ", ".join(source.columns[:12])
            hint = "; say what it is with --format" if source.format == "text" else ""
            raise InputError(f"{source.name} has no column {column!r}, which {need}; it has: {there}{hint}")


def _open_journal(settings: JobSettings, source: Source) -> Journal:
    """The journal beside the output, or one without a name when there is no output file."""
    out = settings.out
    if out is None:
        return Journal.temporary()
    check_out(out, source)
    path = journal_path(out)
    if not settings.fresh:
        check_begun(out, path)
    header = Header(task=settings.task.fingerprint, input=source.name, origin=settings.origin)
    return Journal.open(path, header, fresh=settings.fresh)
