"""What `compare`, `compress` and `optimize` share: rows, the settings of a trial, and progress."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.measure.compare.checkers import Checker
    from headway.measure.rewrite.settings import Told, TrySettings
    from headway.prompts.task import Task

__all__ = [
    "INPUT_ROWS_MAX",
    "WIDTH",
    "WIDTH_MIN",
    "checker",
    "column_of",
    "rows_of",
    "teller",
    "try_settings",
    "writable",
]

INPUT_ROWS_MAX = 100_000
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
    from headway.cli.amounts import dollars_of
    from headway.measure.rewrite.settings import TrySettings

    return TrySettings(
        concurrency=concurrency,
        margin=margin / 100,
        usd_max=None if max_usd.strip().lower() == "none" else dollars_of(max_usd, "--max-usd"),
        seed=seed,
        checker=check,
        rows_max=rows,
        base={"base_url": base_url} if base_url else {},
        config=config,
    )


def teller(*, quiet: bool) -> Told | None:
    """Shows steps as they come, on a terminal."""
    if quiet or not sys.stderr.isatty():
        return None

    def tell(line: str, dollars: float) -> None:
        sys.stderr.write(f"{line} (${dollars:.4f})\n")
        sys.stderr.flush()

    return tell


def writable(path: Path | None, option: str) -> None:
    """A file that could not be written is found before anything is spent."""
    if path is not None and (not path.parent.is_dir() or path.is_dir()):
        raise ConfigError(f"{option}: {path} cannot be written; name a file in a folder that exists")
