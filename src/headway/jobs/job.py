"""What a job is: its settings, how far it is, how it ended; and what is looked at before a row is sent."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec

from headway.errors import InputError
from headway.jobs.detect import Format
from headway.jobs.journal import Header, Journal
from headway.jobs.lanes import LaneView
from headway.jobs.place import check_out
from headway.jobs.shards import check_begun
from headway.jobs.source import Source
from headway.policy.lanes import LaneSettings
from headway.prompts.task import Task

__all__ = ["Finished", "JobSettings", "Tally", "check_columns", "journal_path", "open_journal"]


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


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. `stopped` is a sentence when it stopped early; rows that were not done stay owed."""

    tally: Tally
    stopped: str = ""
    moved: int = 0
    """Rows that no batch or no flex answered, and that went online at the full price."""
    offsets: array[int] = array("q")
    """Per row in input order, where its line is in the journal; -1 where the row was not done."""


def journal_path(out: Path) -> Path:
    """Where the journal of an output is: beside it."""
    return out.with_name(out.name + ".journal")


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


def open_journal(settings: JobSettings, source: Source) -> Journal:
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
