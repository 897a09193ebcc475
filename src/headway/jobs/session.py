"""A job from the command line: an engine, a run, a progress line, and the figures at the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from math import isinf
from pathlib import Path
from typing import Any

import msgspec

from headway.engine import Engine
from headway.errors import ConfigError
from headway.jobs.library import job_engine
from headway.jobs.place import check_writable
from headway.jobs.plan_session import tell_plan
from headway.jobs.runner import Finished, JobSettings, Tally, journal_path, run_job
from headway.jobs.source import Source, open_source
from headway.prompts.output import Text
from headway.report import format as fmt
from headway.report.panel import Panel
from headway.report.panel_state import PanelCounts, PanelState
from headway.report.summary import Summary, SummaryBuilder
from headway.types import Result

__all__ = ["Session", "SessionSettings", "told"]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A job and what surrounds it."""

    job: JobSettings
    engine: dict[str, Any]
    """Settings of the engine; None values are left to the file, the environment and the defaults."""
    config: Path | None = None
    reuse: bool = True
    """Cache and join, as jobs do unless told not to."""
    json: bool = False
    report: Path | None = None
    quiet: bool = False
    command: str = ""
    """How the job was started, for the report."""
    plan: bool = False
    """Say what the job would come to instead of running it."""
    warning: Callable[[], str] | None = None
    """Asked when the input was read: a sentence on what is odd about it, or ""."""


class Session:
    """Runs one job and tells about it: rows to stdout without an output file, and then all else to stderr."""

    def __init__(self, settings: SessionSettings, source: Source | None = None) -> None:
        self._settings = settings
        self._job = settings.job
        self._source = source
        self._tally = Tally()
        self._panel: Panel | None = None
        self._counts: PanelCounts | None = None
        self._cut_rows = self._cut_tokens = 0
        task = settings.job.task
        self._builder = SummaryBuilder(
            model=task.model, expected_column=task.expected, categories=not isinstance(task.output, Text)
        )

    def open(self) -> None:
        """Open the input, outside the loop: waiting for the first line of standard input, Ctrl-C has to work.

        Raises:
            InputError: It cannot be read.
        """
        self._source = self._source or open_source(self._job.input, kind=self._job.kind, rows_max=self._job.rows_max)

    def _check_report(self, report: Path) -> None:
        """A page written over the input, the task or the results would destroy them."""
        job, config = self._job, self._settings.config
        for name, what in (
            (job.input, "input"),
            (job.out, "output"),
            (job.task.where, "task file"),
            (config, "settings"),
        ):
            if name not in (None, "-") and Path(str(name)).resolve() == report.resolve():
                raise ConfigError(f"{report} is the {what} itself; choose another --report")

    async def run(self) -> int:
        """Run the job to its end.

        Returns:
            The exit code: 0 when every row succeeded, else 1.

        Raises:
            ConfigError, InputError: Nothing was sent, or the input broke midway; what was finished is kept.
        """
        settings = self._settings
        if settings.report:
            check_writable(settings.report, "--report")
            self._check_report(settings.report)
        cache = None if settings.reuse else "off"
        rows = self._source.rows_total if self._source is not None else None
        async with job_engine(
            settings.engine, api=self._job.task.api, cache=cache, config=settings.config, rows=rows
        ) as engine:
            if settings.plan:
                job = msgspec.structs.replace(self._job, origin=engine.settings.base_url)
                code = await tell_plan(job, engine, source=self._source, json=settings.json, quiet=settings.quiet)
                self._warn()
                return code
            job = msgspec.structs.replace(self._job, origin=engine.settings.base_url)
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            with self._panel_of(engine, loop) as self._panel:
                finished = await run_job(
                    job,
                    engine,
                    source=self._source,
                    on_result=self._count,
                    on_progress=self._show,
                    on_line=None if job.out else _write_row,
                )
            took_s = loop.time() - started_s
            summary = self._figures(engine, took_s)
            used = told(engine.settings)
        self._tell(finished, summary, used)
        self._warn()
        late_s = took_s - self._job.lanes.deadline_s
        if late_s > 0 and not finished.stopped:
            _say(f"done {fmt.seconds(late_s)} after the deadline")
        return 1 if finished.stopped or finished.tally.failed else 0

    def _warn(self) -> None:
        """Say what is odd about the input."""
        warning = self._settings.warning() if self._settings.warning is not None else ""
        if warning:
            _say(f"warning: {warning}")

    def interrupted(self) -> None:
        """Say what is kept and how to go on."""
        tally, out = self._tally, self._job.out
        total = "" if tally.total is None else f" of {tally.total:,}"
        batched = sum(lane.out for lane in tally.lanes if lane.name == "batch")
        if not tally.done and not batched:
            _say("interrupted before a row was finished")
        elif out is None:
            _say(f"interrupted after {tally.done:,}{total} rows; with --out FILE a run can be resumed")
        else:
            kept = f"{tally.done:,}{total} rows are kept in {journal_path(out)}"
            there = f", {batched:,} are in batches that go on at the provider" if batched else ""
            _say(f"interrupted: {kept}{there}; the same command goes on from there")

    def _panel_of(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> Panel:
        """What shows the job while it runs: a live panel on a terminal, a line now and then elsewhere."""
        job, counts = self._job, PanelCounts(loop.time())
        self._counts = counts
        ends_at_s = loop.time() + job.lanes.deadline_s

        def state() -> PanelState:
            now_s = loop.time()
            return counts.state(
                now_s,
                label=f"{job.input}  {job.task.model}",
                total=self._tally.total,
                live=engine.snapshot(),
                lanes=self._tally.lanes,
                deadline_left_s=None if isinf(ends_at_s) else ends_at_s - now_s,
                budget_usd=job.budget_usd,
            )

        plain = job.out is None and sys.stdout.isatty()
        return Panel(state, quiet=self._settings.quiet, plain=plain, clock=loop.time)

    def _count(self, result: Result, resumed: bool) -> None:
        self._builder.add(result, resumed=resumed)
        if not resumed and (left_out := self._job.task.left_out_tokens(result.row)):
            self._cut_rows += 1
            self._cut_tokens += left_out
        if self._counts is not None:
            self._counts.add(result, resumed)

    def _show(self, tally: Tally) -> None:
        self._tally = tally
        if self._panel is not None:
            self._panel.refresh()
        if self._job.out is None:
            sys.stdout.buffer.flush()

    def _figures(self, engine: Engine, wall_s: float) -> Summary:
        live = engine.snapshot()
        return self._builder.build(
            wall_s=wall_s,
            throttled=live["throttled"],
            allowed_rpm=live["allowed_rpm"],
            attempts=_sent(live),
            owed=max(0, (self._tally.total or 0) - self._tally.done),
        )

    def _tell(self, finished: Finished, summary: Summary, used: dict[str, Any], kept_in: Path | None = None) -> None:
        """The report, the table or the JSON, and last what the user has to know."""
        settings, tally, out = self._settings, finished.tally, self._job.out
        if settings.report:
            from headway.report.html import write_report  # charts, only for those who want them

            write_report(settings.report, summary, title=self._job.input, settings=used, command=settings.command)
        target = sys.stdout if out else sys.stderr
        if settings.json:
            target.write(msgspec.json.encode(summary.to_dict()).decode() + "\n")
        elif not settings.quiet and tally.done:
            from rich.console import Console

            from headway.report.terminal import print_summary

            print_summary(summary, Console(file=target), title=f"{self._job.input}  {self._job.task.model}")
        if self._cut_rows:
            rows = "1 row was cut to its" if self._cut_rows == 1 else f"{self._cut_rows:,} rows were cut to their"
            _say(f"{rows} [context]: {self._cut_tokens:,} tokens left out")
        if finished.moved:
            _say(f"{finished.moved:,} rows that no batch and no flex answered went online, at the full price")
        if finished.stopped:
            kept = ""
            if out and tally.done:
                kept = f"; {tally.done:,} finished rows are kept in {kept_in or journal_path(out)}"
            _say(f"stopped: {finished.stopped.rstrip('.')}{kept}")
        elif tally.failed:
            again = "; --retry-failed sends them again" if out else ""
            _say(f"{tally.failed:,} of {tally.done:,} rows failed, each with its error in the output{again}")


def _write_row(line: bytes) -> None:
    sys.stdout.buffer.write(line)


def told(settings: Any) -> dict[str, Any]:
    """The engine's settings that are worth telling; never the key."""
    names = ("base_url", "cache", "prompt_cache", "limits", "requests_per_min", "tokens_per_min", "budget_usd")
    return {name: getattr(settings, name) for name in names if getattr(settings, name) not in (None, "")}


def _sent(live: Mapping[str, Any]) -> int:
    """Requests that were really sent: those of a group are one."""
    grouping = live["grouping"] or {"members": 0, "groups": 0}
    return int(live["attempts"]) - int(grouping["members"]) + int(grouping["groups"])


def _say(sentence: str) -> None:
    sys.stderr.write(f"headway run: {sentence}\n")
