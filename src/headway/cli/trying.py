"""What the commands that try something on rows share: rows, prompts, the settings of a trial, and progress."""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.measure.compare.checkers import Checker
    from headway.measure.rewrite.settings import TrySettings
    from headway.measure.rewrite.taskedit import TaskText
    from headway.prompts.task import Task

__all__ = [
    "INPUT_ROWS_MAX",
    "LINES_MAX",
    "WIDTH",
    "WIDTH_MIN",
    "Telling",
    "checker",
    "column_of",
    "columns_of",
    "rows_of",
    "text_of",
    "try_settings",
    "writable",
]

INPUT_ROWS_MAX = 100_000
LINES_MAX = 200
"""Steps that are repeated after Ctrl-C, the last ones."""
_COLUMNS_SHOWN = 12
WIDTH = 16
"""Rows under way at once."""
WIDTH_MIN = 80
"""Of what is printed, in columns: on a narrower terminal lines break, but no figure is cut."""


def rows_of(name: str, *tasks: Task | None) -> list[dict[str, Any]]:
    """The rows of a file that can be read, with the columns of all tasks; what cannot is told and left out."""
    from headway.jobs.job import check_columns
    from headway.jobs.source import open_source

    source = open_source(name, rows_max=INPUT_ROWS_MAX)
    try:
        for task in tasks:
            if task is not None:
                check_columns(source, task)
        rows = list(source.rows)
    finally:
        source.close()
    broken = [row for row in rows if row.problem]
    if broken:
        typer.echo(f"{len(broken):,} of {len(rows):,} rows are left out; the first: {broken[0].problem}", err=True)
    return [row.row for row in rows if not row.problem]


def column_of(name: str, column: str) -> list[str]:
    """A column's values, of a file that can be read twice; of another none."""
    return [] if name == "-" else [str(row.get(column) or "") for row in rows_of(name)]


def checker(spec: str | None, column: str) -> Checker | None:
    """What `--check` names."""
    from headway.measure.compare.checkers import checker_of

    if spec is not None and spec.startswith("python:") and "" not in sys.path:
        sys.path.insert(0, "")  # a module that lies here is meant, as for python itself
    return checker_of(spec, column) if spec else None


def try_settings(
    *,
    margin: float,
    max_usd: str,
    seed: int,
    check: Checker | None,
    base_url: str | None,
    config: Path | None,
    concurrency: int = WIDTH,
    rows: int | None = None,
) -> TrySettings:
    """From the command line: margin in points, money as people write it."""
    from headway.cli.amounts import cap_of
    from headway.measure.rewrite.settings import TrySettings

    return TrySettings(
        concurrency=concurrency,
        margin=margin / 100,
        usd_max=cap_of(max_usd),
        seed=seed,
        checker=check,
        rows_max=rows,
        base={"base_url": base_url} if base_url else {},
        config=config,
    )


class Telling:
    """Says each step on stderr as it comes, and after Ctrl-C what was known by then.

    Args:
        quiet: Say nothing before Ctrl-C.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._dollars = 0.0

    def __call__(self, line: str, dollars: float) -> None:
        """A step, and the dollars so far."""
        self._lines.append(line)
        self._dollars = dollars
        if not self._quiet:
            sys.stderr.write(f"{line} (${dollars:.4f})\n")
            sys.stderr.flush()

    def interrupted(self) -> str:
        """What is known, and what it took."""
        head = f"interrupted; spent: ${self._dollars:.4f}; nothing was changed"
        if not self._lines:
            return f"{head}, and nothing is known yet"
        return "\n".join([f"{head}; known so far:", *(f"  {line}" for line in self._lines)])


def text_of(
    prompt: Path, rows: str, *, model: str = "", column: str = "", expected: str = "", api: str = ""
) -> TaskText:
    """The task file, or a task made of a text file and what the command line says.

    Raises:
        ConfigError: What a text file needs is not said, or is said of a task file; or the rows lack the column.
    """
    from headway.measure.rewrite.taskedit import TaskText, task_of_prompt
    from headway.prompts.plain import COLUMN, labels_said

    if prompt.suffix == ".toml":
        if model or column or expected or api:
            raise ConfigError("--model, --column, --expected and --api are for text files; a task file says them")
        return TaskText.read(prompt)
    if not model:
        raise ConfigError(f"{prompt} is no task file (.toml), so it does not say which model is asked; give --model")
    column = column or COLUMN
    labels: list[str] = []
    if expected:
        said = prompt.read_text(encoding="utf-8-sig", errors="replace") if prompt.is_file() else ""
        labels = labels_said(column_of(rows, expected), said)
    text = task_of_prompt(prompt, model=model, column=column, expected=expected, labels=labels, api=api)
    there = columns_of(rows)
    odd = [name for name in text.variant().task.columns if name not in there and set(name) & set('"\n')]
    if odd:
        raise ConfigError(
            f"{prompt}: braces name columns, and {odd[0].strip()!r:.60} is none; double those of JSON: {{{{"
        )
    if text.plain == "system" and there and column not in there:
        raise ConfigError(
            f"{prompt} names no {{column}}, so it is asked about the column {column!r}, which {rows} does not have; "
            f"it has: {', '.join(there[:_COLUMNS_SHOWN])}; name one with --column"
        )
    return text


def columns_of(name: str) -> tuple[str, ...]:
    """The columns of a file that can be read twice; of another none."""
    from headway.jobs.source import open_source

    if name == "-":
        return ()
    source = open_source(name, rows_max=INPUT_ROWS_MAX)
    try:
        return tuple(source.columns)
    finally:
        source.close()


def writable(path: Path | None, option: str) -> None:
    """A file that could not be written is found before anything is spent."""
    if path is None:
        return
    there = path if path.exists() else path.parent
    if not path.parent.is_dir() or path.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"{option}: {path} cannot be written; name a file in a folder that exists")
