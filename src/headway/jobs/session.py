"""A job from the command line: an engine, a run, a progress line, and the figures at the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headway.config import load_settings
from headway.engine import Engine
from headway.jobs.runner import Finished, JobSettings, Tally, journal_path, run_job
from headway.jobs.writer import check_writable
from headway.report.summary import Summary, SummaryBuilder
from headway.types import Result

__all__ = ["Session", "SessionSettings"]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds a job."""

    job: JobSettings
    engine: dict[str, Any]
    """Keyword settings of the engine; None values are left to the file, the environment and the defaults."""
    config: Path | None = None
    reuse: bool = True
    """Cache and join, as jobs do unless told not to."""
    json: bool = False
    report: Path | None = None
    quiet: bool = False
    command: str = ""
    """How the job was started, for the report."""


class Line(Protocol):
    """The live progress line."""

    def update(self, tally: Tally, snapshot: dict[str, Any], hits: int) -> None:
        """Show where the job stands."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class Session:
    """Runs one job and tells about it: progress on stderr; the summary on stdout, or on stderr when rows go there."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._job = settings.job
        self._tally = Tally()
        self._hits = 0
        task = settings.job.task
        self._builder = SummaryBuilder(model=task.model, expected_column=task.expected)

    async def run(self) -> int:
        """Run the job to its end.

        Returns:
            The exit code: 0 when every row succeeded, else 1.

        Raises:
            ConfigError, InputError: Nothing was sent, or the input broke midway; what was finished is kept.
        """
        settings = self._settings
        if settings.report:
            check_writable(settings.report)
        plain = load_settings(settings.engine, file=settings.config)
        cache = (None if plain.cache != "off" else "disk") if settings.reuse else "off"
        async with Engine(config=settings.config, **{**settings.engine, "cache": cache}) as engine:
            started_s = asyncio.get_running_loop().time()
            with _progress(settings.quiet) as line:
                finished = await run_job(
                    msgspec.structs.replace(self._job, origin=engine.settings.base_url),
                    engine,
                    on_result=self._count,
                    on_progress=lambda tally: self._show(line, engine, tally),
                    on_line=None if self._job.out else _write_row,
                )
            sys.stdout.flush()
            summary = self._summary(finished, engine, asyncio.get_running_loop().time() - started_s)
        return self._tell(finished, summary)

    def interrupted(self) -> None:
        """Say what is kept and how to go on."""
        tally, out = self._tally, self._job.out
        total = "" if tally.total is None else f" of {tally.total:,}"
        kept = f"kept in {journal_path(out)}; the same command goes on from there" if out else "written"
        _say(f"interrupted: {tally.done:,}{total} rows are {kept}")

    def _count(self, result: Result, resumed: bool) -> None:
        self._hits += result.cache in ("memory", "sqlite", "joined", "stale")
        # what an earlier run sent is no attempt, and no request in flight, of this one
        self._builder.add(msgspec.structs.replace(result, attempts=0) if resumed else result)
