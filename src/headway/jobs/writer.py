"""The output: journal lines in input order, as JSONL or as CSV with the input's columns kept."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from headway.errors import ConfigError
from headway.jobs.journal import Journal, Line
from headway.jobs.record import Record

__all__ = ["RESULT_COLUMNS", "check_writable", "csv_lines", "json_line", "write_output"]

RESULT_COLUMNS = ("output", "error", "latency_s", "tokens_in", "tokens_out", "dollars", "cache")
"""What a CSV has after the input's columns; one that the input has too is prefixed with ``headway_``."""

_CHUNK_BYTES = 256 * 1024
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_line(number: int, line: Line) -> bytes:
    """One line of JSONL output: the row's number in the input, from 1, then its record."""
    return b'{"row":%d,' % number + bytes(line.record)[1:] + b"\n"


def csv_lines(lines: Iterator[Line], columns: Sequence[str], *, safe: bool = False) -> Iterator[bytes]:
    """The header, then one record a row. `safe` puts ' before model text that looks like a formula.

    Source: OWASP, "CSV Injection": what begins with = + - @, tab or carriage return runs in a spreadsheet.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(_unlike(columns, name) for name in RESULT_COLUMNS)])
    for line in lines:
        yield _taken(text)
        writer.writerow(_cells(line.read(), columns, safe))
    yield _taken(text)


def write_output(
    path: Path, offsets: array[int], journal: Journal, columns: Sequence[str], *, csv_safe: bool = False
) -> None:
    """Write the whole output and put it in place at once: there is the old file or the new one, never half.

    Args:
        path: Where; CSV when it ends in ``.csv``, else JSONL.
        offsets: Per row in input order, where its line is in the journal.
        journal: The journal.
        columns: The input's columns, for CSV.
        csv_safe: See `csv_lines`.

    Raises:
        ConfigError: The place cannot be written.
    """
    lines = (journal.read(offset) for offset in offsets)
    if path.suffix.lower() == ".csv":
        chunks = csv_lines(lines, columns, safe=csv_safe)
    else:
        chunks = (json_line(number, line) for number, line in enumerate(lines, 1))
    try:
        with _replacing(path) as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        kept = "the finished rows are in its journal"
        raise ConfigError(f"{path} cannot be written: {error.strerror}; {kept}") from None


def check_writable(path: Path, option: str = "--out") -> None:
    """Find out before anything is spent whether the output's folder takes files.

    Raises:
        ConfigError: It does not.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it with {option}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        folder = path.parent
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another {option}") from None


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when all went well, and leaves nothing behind when not."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb", buffering=_CHUNK_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _unlike(columns: Sequence[str], name: str) -> str:
    while name in columns:
        name = f"headway_{name}"
    return name


def _taken(text: io.StringIO) -> bytes:
    value = text.getvalue()
    text.seek(0)
    text.truncate()
    return value.encode()


def _cells(record: Record, columns: Sequence[str], safe: bool) -> list[Any]:
    tokens = record.tokens
    output, error = _cell(record.output), record.error or ""
    if safe:
        output, error = (f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in (output, error))
    return [
        *(_cell(record.input.get(name)) for name in columns),
        output,
        error,
        record.latency_s,
        tokens.input if tokens else "",
        tokens.output if tokens else "",
        "" if record.dollars is None else record.dollars,
        record.cache,
    ]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
