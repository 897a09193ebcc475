"""The map phase by the batch lane: what all documents ask first, as one job at half the price.

The job is one of `headway run`'s, over whole requests and with a journal of its own beside the output: it resumes, it
finds batches again that were made and not written down, and what no batch answers goes online. Its answers are kept in
the engine's cache (`Engine.adopt`), where the summarizing that follows finds them, request by request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from headway.engine import Engine
from headway.errors import ConfigError
from headway.jobs.attach import open_batches
from headway.jobs.job import JobSettings, Tally
from headway.jobs.journal import Header, Journal
from headway.jobs.rows import SourceRow
from headway.jobs.runner import run_job
from headway.jobs.source import Source
from headway.pipeline.documents.kept import Kept
from headway.pipeline.documents.reading import Document, read_document, shown
from headway.pipeline.documents.rows import Row
from headway.pipeline.mapreduce.dollars import plus
from headway.policy.lanes import LaneSettings
from headway.prompts.output import Api
from headway.prompts.requests import Requests
from headway.types import Result

__all__ = ["Batched", "Left", "Paid", "batches_left", "batches_path", "run_batches"]

_SUFFIX: Final = ".batches"


class Paid(msgspec.Struct):
    """What batches took for one document."""

    dollars: float | None = 0.0
    """None: unknown."""
    requests: int = 0

    def add(self, result: Result) -> None:
        """Count a request that has ended."""
        self.dollars = plus(self.dollars, _paid(result))
        self.requests += result.attempts

    def added(self, row: Row) -> Row:
        """The document's row, with this: what was asked by batches is a hit of the cache to whoever made the row."""
        return msgspec.structs.replace(
            row, dollars=plus(self.dollars, row.dollars), requests=row.requests + self.requests
        )


class Batched(msgspec.Struct):
    """What came of a job of batches."""

    paid: dict[str, Paid] = {}
    """By the documents' digests, earlier runs included."""
    dollars: float | None = 0.0
    """What was paid in this run."""
    before: float = 0.0
    """What earlier runs paid for batches, in dollars."""
    stopped: str = ""
    """Why it stopped early, as a sentence."""

    def add(self, result: Result, resumed: bool) -> None:
        """Count a request that has ended; `resumed`: in an earlier run."""
        self.paid.setdefault(str(result.row["custom_id"]).partition("-")[0], Paid()).add(result)
        if not resumed:
            self.dollars = plus(self.dollars, _paid(result))


def _paid(result: Result) -> float | None:
    return result.dollars if result.attempts else result.dollars or 0.0


class Left(NamedTuple):
    """What an earlier run's batches come to."""

    ids: list[str]
    """Those at the provider, whose answers nobody has taken."""
    dollars: float
    """What was paid for others."""


def batches_path(out: Path) -> Path:
    """Where the journal of an output's batches is: beside it."""
    return out.with_name(out.name + _SUFFIX)


def batches_left(out: Path, origin: str) -> Left:
    """The batches of an earlier run.

    Args:
        out: The output.
        origin: The provider's address.

    Raises:
        ConfigError: The journal is in use, or another provider's.
    """
    if not batches_path(out).exists():
        return Left([], 0.0)
    journal = Journal.open(batches_path(out), Header(origin=origin))
    try:
        return Left(sorted(open_batches(journal.events)), journal.spent())
    finally:
        journal.close()


async def run_batches(
    engine: Engine,
    paths: Sequence[Path],
    asks: Callable[[Document], Sequence[bytes]],
    kept: Kept,
    *,
    api: Api,
    concurrency: int,
    budget_usd: float | None = None,
    spent: float = 0.0,
    fresh: bool = False,
    on_progress: Callable[[Tally], None] | None = None,
) -> Batched:
    """Ask by batches what the documents that are owed ask first.

    Args:
        engine: Its cache has to be on, for that is where the answers are found.
        paths: The documents.
        asks: The bodies of a document's first requests, exactly as they are sent later.
        kept: The output; documents that an earlier run finished ask nothing.
        api: What the bodies are requests of.
        concurrency: For requests that no batch answers, and that go online.
        budget_usd: The engine's cap.
        spent: Dollars that earlier runs have spent on all of it, batches included.
        fresh: Forget batches of earlier runs; they are cancelled.
        on_progress: See `run_job`.

    Raises:
        ConfigError: The journal is another job's, or the cache is off.
    """
    if engine.settings.cache == "off":
        raise ConfigError("--lane batch needs the cache, where the answers are kept; leave --no-cache out")
    name, out = batches_path(kept.out), shown(kept.out)
    task = Requests(api=api, where=shown(name))
    header = Header(task=task.fingerprint, input=out, origin=engine.settings.base_url)
    journal = Journal.open(name, header, fresh=fresh)
    batched = Batched(before=journal.spent())
    if engine.budget is not None:
        engine.budget.cap.book(max(0.0, spent - batched.before))  # `run_job` books what the batches spent
    settings = JobSettings(
        input=out,
        task=task,
        concurrency=concurrency,
        origin=engine.settings.base_url,
        lanes=LaneSettings(lane="batch"),
        budget_usd=budget_usd,
        retry_failed=True,
    )
    rows = _rows(paths, asks, kept, task)
    source = Source(
        name=out,
        format="jsonl",
        encoding="utf-8",
        columns=(),
        rows_total=None,
        waits=False,
        rows=rows,
        files=(),
    )
    finished = await run_job(
        settings, engine, source=source, journal=journal, on_result=batched.add, on_progress=on_progress
    )
    batched.stopped = finished.stopped
    return batched


def _rows(
    paths: Sequence[Path], asks: Callable[[Document], Sequence[bytes]], kept: Kept, task: Requests
) -> Iterator[SourceRow]:
    """One row a request, read lazily; documents that cannot be read ask nothing, and equal ones ask once."""
    index, seen = 0, set[str]()
    for path in paths:
        document = read_document(path)
        if document.problem or document.digest in seen or kept.has(document):
            continue
        seen.add(document.digest)
        for number, body in enumerate(asks(document)):
            request = msgspec.json.decode(body)
            request.pop("stream", None)
            yield SourceRow(index, {"custom_id": f"{document.digest}-{number}", "url": task.path, "body": request})
            index += 1
