"""`headway.run`: a job from a program or a notebook, over a file, dicts, or a table."""

from __future__ import annotations

import asyncio
import os
import tempfile
from array import array
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, Literal

import msgspec

from headway.config import Settings, load_settings
from headway.engine import Engine
from headway.engine.background import BackgroundLoop
from headway.errors import ConfigError
from headway.jobs.given import Given, take
from headway.jobs.job_result import JobResult
from headway.jobs.journal import Journal
from headway.jobs.place import out_path
from headway.jobs.runner import Finished, JobSettings, journal_path, run_job
from headway.policy.lanes import LaneSettings
from headway.prompts.output import Api, Text
from headway.prompts.task import Task
from headway.report.summary import SummaryBuilder
from headway.types import Handler, Result
from headway.wire.endpoints import PRESETS

__all__ = ["job_engine", "run", "run_async"]

DISK_ROWS_MAX = 100_000
"""Jobs of more rows keep answers in memory only, unless the cache is set."""
MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""A job's memory tier, unless it is set: equal rows mostly stand near each other."""
TIMEOUT_S = 7 * 86_400.0
"""A row's, from hand-over to answer, unless it is set: rows wait for limits and for the budget as long as it takes.
How long a provider may be silent is another matter (`first_byte_timeout_s`)."""
_NAME = "the job's journal"


def run(
    data: Any,
    task: Task | str | Path,
    *,
    out: str | Path | None = None,
    lane: Literal["online", "flex", "batch", "auto"] = "online",
    deadline_s: float | None = None,
    budget_usd: float | None = None,
    concurrency: int = 512,
    cache: bool | str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | Path | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
    handler: Handler | None = None,
) -> JobResult:
    """Ask a model about every row; wait until all are done. For ordinary programs, and for notebooks.

    ::

        frame = pandas.read_csv("tickets.csv")
        job = headway.run(frame, "triage.toml")
        frame = job.table                     # the same frame, with the columns output, error, dollars, ...

    Args:
        data: A path (CSV, JSONL, text, Parquet, Arrow, a folder of one of them, a glob); dicts; a data frame of pandas
            or polars; or anything that gives an Arrow stream.
        task: A task, or the path of a task file.
        out: A file (.csv, .parquet, else JSONL), or a folder with a slash at the end. With it the job can be resumed:
            the same call sends what is still owed, and nothing else.
        lane: How rows go out: at once, or slower for half the price; see the page on jobs.
        deadline_s: When rows have to be done, in seconds from now; None: no hurry.
        budget_usd: Stop before spending more, in dollars.
        concurrency: Rows in flight at once, 1 to 100,000.
        cache: As the setting `cache`. None: as it is set, else on the disk, as for ``headway run``.
        base_url: The provider's address; None: as it is set.
        api_key: The provider's key; None: as it is set.
        config: A settings file; by default `headway.toml`, if it is there.
        retry_failed: Send again what failed in an earlier run.
        fresh: Forget earlier runs, and overwrite the output.
        handler: Takes the network's place: a simulator or a fake.

    Raises:
        ConfigError, InputError: Something is wrong with the call or the data; the message says what.
        HeadwayError: The disk is full, or the like. With `out`, what was finished is kept.
    """
    background = BackgroundLoop()
    try:
        return background.run(
            run_async(
                data,
                task,
                out=out,
                lane=lane,
                deadline_s=deadline_s,
                budget_usd=budget_usd,
                concurrency=concurrency,
                cache=cache,
                base_url=base_url,
                api_key=api_key,
                config=config,
                retry_failed=retry_failed,
                fresh=fresh,
                handler=handler,
            )
        )
    finally:
        background.close()


async def run_async(
    data: Any,
    task: Task | str | Path,
    *,
    out: str | Path | None = None,
    lane: Literal["online", "flex", "batch", "auto"] = "online",
    deadline_s: float | None = None,
    budget_usd: float | None = None,
    concurrency: int = 512,
    cache: bool | str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | Path | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
    handler: Handler | None = None,
) -> JobResult:
    """As `run`, for programs with an event loop. `data` is read on the loop: an iterator that waits makes it wait."""
    if not 1 <= concurrency <= 100_000:
        raise ConfigError(f"concurrency must be a number from 1 to 100,000, not {concurrency}")
    if deadline_s is not None and not deadline_s > 0:
        raise ConfigError(f"deadline_s must be a number of seconds above 0, not {deadline_s}")
    job = JobSettings(
        input="-",
        task=task if isinstance(task, Task) else Task.load(task),
        out=None if out is None else out_path(str(out)),
        concurrency=concurrency,
        retry_failed=retry_failed,
        fresh=fresh,
        lanes=LaneSettings(lane=lane, deadline_s=inf if deadline_s is None else deadline_s),
        budget_usd=budget_usd,
        reuse=cache not in (False, "off"),
    )
    keywords = {"base_url": base_url, "api_key": api_key, "budget_usd": budget_usd}
    given = take(data)
    try:
        engine = job_engine(
            keywords, api=job.task.api, cache=cache, config=config, handler=handler, rows=given.source.rows_total
        )
        async with engine:
            return await _run(given, msgspec.structs.replace(job, origin=engine.settings.base_url), engine)
    finally:
        given.source.close()


def job_engine(
    given: Mapping[str, Any],
    *,
    api: Api = "responses",
    cache: bool | str | None = None,
    config: str | Path | None = None,
    handler: Handler | None = None,
    rows: int | None = None,
) -> Engine:
    """An engine for a job: answers are kept where nothing else is set, and failures are not logged.

    They are kept on the disk, for other jobs; in memory alone where there are so many that writing them twice (the
    journal has them, too) would be the brake.

    Args:
        given: Settings; None values are left to the file, the environment and the defaults.
        api: The task's. Where no address is set, its own provider's is taken.
        cache: As the setting; None: as it is set, but the disk where it is off.
        config: The settings file.
        handler: Takes the network's place.
        rows: How many there are, where that is known.
    """
    plain = load_settings(given, file=config)
    unset = "memory" if (rows or 0) > DISK_ROWS_MAX else "disk"
    keywords = {**given, "cache": cache if cache is not None else unset if plain.cache == "off" else plain.cache}
    if plain.cache_memory_bytes_max == Settings().cache_memory_bytes_max:
        keywords["cache_memory_bytes_max"] = MEMORY_BYTES_MAX
    if plain.log_level == "warning":
        keywords["log_level"] = "off"  # failures are in the results; beside them they would be noise
    if plain.timeout_s == Settings().timeout_s:
        keywords["timeout_s"] = TIMEOUT_S
    if api == "messages" and plain.base_url == Settings().base_url:
        keywords["base_url"] = PRESETS["anthropic"].base_url  # never OpenAI's, with a key that is not theirs
    return Engine(handler=handler, config=config, **keywords)


async def _run(given: Given, job: JobSettings, engine: Engine) -> JobResult:
    task, loop = job.task, asyncio.get_running_loop()
    builder = SummaryBuilder(
        model=task.model, expected_column=task.expected, categories=not isinstance(task.output, Text)
    )

    def count(result: Result, resumed: bool) -> None:
        builder.add(result, resumed=resumed)

    started_s = loop.time()
    kept = _unnamed() if job.out is None else None
    journal = None if kept is None else Journal(os.dup(kept), _NAME)
    try:
        finished = await run_job(job, engine, source=given.source, journal=journal, on_result=count)
        live = engine.snapshot()
        summary = builder.build(
            wall_s=loop.time() - started_s,
            throttled=live["throttled"],
            allowed_rpm=live["allowed_rpm"],
            attempts=live["attempts"],
            owed=max(0, (finished.tally.total or 0) - finished.tally.done),
        )
        reader = Journal(os.dup(kept) if kept is not None else _opened(journal_path(job.out or Path())), _NAME)
    finally:
        if kept is not None:
            os.close(kept)
    return JobResult(given, reader, _all_offsets(given, finished), summary, finished.stopped)


def _unnamed() -> int:
    """A file that is gone when it is closed."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def _all_offsets(given: Given, finished: Finished) -> array[int]:
    """Also for the rows that were not reached, where it is known that there are some."""
    missing = (given.source.rows_total or 0) - len(finished.offsets)
    return finished.offsets + array("q", [-1]) * max(0, missing)
