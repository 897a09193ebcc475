"""Many documents, each summarized by itself, so many at once; every one of them ends as a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.verdict import Verdict
from headway.pipeline.documents.kept import Kept
from headway.pipeline.documents.reading import Document, read_document
from headway.pipeline.documents.rows import Row
from headway.types import Result

__all__ = ["DOCUMENTS_AT_ONCE_MAX", "Failed", "Summarize", "Tally", "run_documents"]

DOCUMENTS_AT_ONCE_MAX: Final = 64
"""Documents in memory at once. What is in flight for them is bounded apart, over all of them together."""
BYTES_AT_ONCE_MAX: Final = 256 * 1024 * 1024
"""Bytes of theirs, together; a larger one is alone."""
_SPENT_S: Final = 1.0


class Failed(HeadwayError):
    """A document could not be summarized; `dollars` were spent on it all the same (None: unknown).

    Args:
        cause: Why.
        dollars: What was spent.
    """

    def __init__(self, cause: HeadwayError, dollars: float | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.dollars = dollars
        self.trace = cause.trace


Summarize: TypeAlias = Callable[[Document], Awaitable[Row]]
"""Makes a document's row, or raises `HeadwayError`; `Failed`, where money was spent."""


class Tally(msgspec.Struct, kw_only=True):
    """Where a run stands. Documents."""

    total: int = 0
    done: int = 0
    resumed: int = 0
    """Of those, what an earlier run had finished."""
    failed: int = 0
    with_gaps: int = 0
    stopped: str = ""
    """Why it stopped early, as a sentence; what was not reached stays owed."""


async def run_documents(
    paths: Sequence[Path],
    summarize: Summarize,
    *,
    at_once: int,
    kept: Kept | None = None,
    spent: Callable[[], float] | None = None,
    on_row: Callable[[Row, bool], None] | None = None,
    tally: Tally | None = None,
) -> Tally:
    """Summarize every document; a failure is its row's error, and stops the run only where all would meet it.

    Args:
        paths: The documents.
        summarize: See there.
        at_once: Documents under way at once, from 1; at most `DOCUMENTS_AT_ONCE_MAX` are.
        kept: The output; earlier runs' rows are taken from there, and the whole output is put in place at the end.
        spent: What the job has spent in all, in dollars, earlier runs included; it is noted in the journal every second
            and at the end, whether or not there is a budget: a later run may have one.
        on_row: Told of each row, and whether an earlier run had it.
        tally: Is counted up while the run goes.

    Raises:
        HeadwayError: The output cannot be written. What was finished is kept.
    """
    run = _Run(paths, summarize, kept, on_row, tally or Tally())
    workers = [asyncio.create_task(run.work()) for _ in range(min(at_once, DOCUMENTS_AT_ONCE_MAX, len(paths)))]
    booking = asyncio.create_task(_book(kept, spent)) if kept is not None and spent is not None else None
    try:
        await asyncio.gather(*workers)
        run.close()
    finally:
        for task in (*workers, *((booking,) if booking else ())):
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if kept is not None and spent is not None:
            kept.note_spent(spent())
    if kept is not None and not run.tally.stopped:
        kept.finish()
    return run.tally


async def _book(kept: Kept, spent: Callable[[], float]) -> None:
    """Note what was spent, also on documents that were not finished: the budget is the job's, whatever ends a run."""
    noted = spent()
    while True:
        await asyncio.sleep(_SPENT_S)
        if spent() != noted:
            noted = spent()
            kept.note_spent(noted)


class _Run:
    def __init__(
        self,
        paths: Sequence[Path],
        summarize: Summarize,
        kept: Kept | None,
        on_row: Callable[[Row, bool], None] | None,
        tally: Tally,
    ) -> None:
        self._next: Iterator[tuple[int, Path]] = iter(enumerate(paths))
        self._summarize = summarize
        self._kept = kept
        self._on_row = on_row
        self._verdict = Verdict()
        self._held: dict[int, tuple[Document, Row]] = {}  # failures that may be everybody's; bounded by the verdict
        self._room = asyncio.Condition()
        self._bytes = 0
        self.tally = tally
        tally.total = len(paths)

    async def work(self) -> None:
        """Take one document after the other, until there are none or it is known that none will succeed."""
        for index, path in self._next:
            async with self._held_in_memory(path):
                await self._settle(index, await _read(path))
            if self.tally.stopped:
                return

    @asynccontextmanager
    async def _held_in_memory(self, path: Path) -> AsyncGenerator[None, None]:
        """Wait until there is room for the document."""
        size = _size(path)
        async with self._room:
            await self._room.wait_for(lambda: not self._bytes or self._bytes + size <= BYTES_AT_ONCE_MAX)
            self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            async with self._room:
                self._room.notify_all()

    async def _settle(self, index: int, document: Document) -> None:
        row = self._kept.find(index, document) if self._kept is not None and document.digest else None
        if row is not None:
            self._told(row, resumed=True)
        elif document.problem:
            self._write(index, document, Row(path=document.path, error=f"{document.path} {document.problem}"))
        else:
            await self._one(index, document)

    async def _one(self, index: int, document: Document) -> None:
        result = Result(index=index, row={}, outcome="ok")
        try:
            row = await self._summarize(document)
        except HeadwayError as error:
            spent, cause = (error.dollars, error.cause) if isinstance(error, Failed) else (None, error)
            row = Row(path=document.path, error=str(error), dollars=spent)
            result = _failed(index, cause)
        self._held[index] = document, row
        for settled, _, _ in self._verdict.judge(index, "", result):
            self._write(settled, *self._held.pop(settled))
        self.tally.stopped = self._verdict.reason

    def close(self) -> None:
        """All are done: what was held back is the documents' own, unless it befell every one of them."""
        for settled, _, _ in self._verdict.close():
            self._write(settled, *self._held.pop(settled))
        self.tally.stopped = self._verdict.reason

    def _write(self, index: int, document: Document, row: Row) -> None:
        if self._kept is not None:
            self._kept.write(index, document, row)
        self._told(row, resumed=False)

    def _told(self, row: Row, *, resumed: bool) -> None:
        self.tally.done += 1
        self.tally.resumed += resumed
        self.tally.failed += row.error is not None
        self.tally.with_gaps += row.gaps > 0
        if self._on_row is not None:
            self._on_row(row, resumed)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it tells why


async def _read(path: Path) -> Document:
    """Read by a thread, for disks may be slow; in place where time is virtual, which threads would disturb."""
    if getattr(asyncio.get_running_loop(), "is_virtual", False):
        return read_document(path)
    return await asyncio.to_thread(read_document, path)


def _failed(index: int, error: HeadwayError) -> Result:
    """The failure as a job's row has it, for the verdict."""
    own = isinstance(error, ConfigError | InputError)
    outcome = getattr(error.trace, "outcome", None) or ("input" if own else error.code)
    code = getattr(error.trace, "error_code", "") or error.code
    return Result(index=index, row={}, outcome=outcome, error=str(error), error_code=code)
