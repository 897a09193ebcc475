"""What `headway lint` reads and writes: sources by their names, what was observed of them, files as a whole."""

from __future__ import annotations

import shutil
import sys
from glob import glob
from pathlib import Path
from typing import Any, Final

from headway.errors import ConfigError
from headway.prompts.lint.observed import calls_of
from headway.prompts.lint.source import BYTES_MAX, Source, log_source, read_source, source_of, text_of
from headway.store.rows import LogRow

__all__ = ["replace", "sources_of"]

CALLS_MAX: Final = 50_000
ROWS_MAX: Final = 200
FILES_MAX: Final = 1_000
_DATA: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
_SQLITE: Final = b"SQLite format 3\x00"


def sources_of(paths: list[str], log: Path | None, run: str | None, rows: str | None, model: str) -> list[Source]:
    """The sources, tasks with their calls and rows.

    Args:
        paths: Files, patterns of them, or "-" for standard input.
        log: A call log whose calls are looked up for each task.
        run: Of logs, only this run; None for all.
        rows: A file of rows that the tasks are run on.
        model: The model's name, instead of the files' own; "" for those.

    Raises:
        ConfigError: A file is missing or wrong.
        InputError: The rows cannot be read.
    """
    files = _files(paths)
    calls = _calls(log, run) if log is not None else []
    values = _rows(rows) if rows is not None else []
    sources: list[Source] = []
    for name in files:
        if name == "-":
            source = source_of("-", text_of("-", sys.stdin.buffer.read(BYTES_MAX + 1)), "text", model=model)
        elif _is_log(Path(name)):
            source = log_source(name, _calls(Path(name), run))
        else:
            source = read_source(Path(name), model=model)
        own = calls_of(source.task, calls) if source.task is not None else []
        sources.append(source.observing(own, values) if source.kind == "task" else source)
    return sources


def _files(paths: list[str]) -> list[str]:
    if not paths:
        raise ConfigError("nothing to lint; name a prompt, a task file or a call log, e.g. headway lint task.toml")
    files: list[str] = []
    for name in paths:
        found = sorted(glob(name, recursive=True)) if set(name) & set("*?[") and not Path(name).exists() else [name]  # noqa: PTH207
        if not found:
            raise ConfigError(f"there is no file like {name}")
        data = [one for one in found if Path(one).suffix.casefold() in _DATA]
        if data and data == found:
            raise ConfigError(
                f"{data[0]} is data, not a prompt; name a prompt or a task, and give this to --input or --verify"
            )
        files += [one for one in found if one not in data]
    if len(files) > FILES_MAX:
        raise ConfigError(f"{len(files):,} files are more than {FILES_MAX:,}; name fewer")
    return list(dict.fromkeys(files))


def _is_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False  # whoever reads it as text will say what is wrong


def _calls(path: Path, run: str | None) -> list[LogRow]:
    from headway.store.call_reader import CallLogReader

    with CallLogReader(path) as reader:
        return reader.calls(run=run, limit=CALLS_MAX)


def _rows(name: str) -> list[dict[str, Any]]:
    from headway.jobs.source import open_source

    source = open_source(name, rows_max=ROWS_MAX)
    try:
        return [row.row for row in source.rows if not row.problem]
    finally:
        source.close()


def replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, with the rights it had."""
    path = path.resolve()  # a link stays a link
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
