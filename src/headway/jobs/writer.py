"""The output: journal lines in input order, as JSONL, CSV or Parquet; one file, or a folder of parts."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec

from headway.errors import HeadwayError
from headway.jobs.journal import Journal, Line
from headway.jobs.opened import Columnar, Source
from headway.jobs.parquet import pyarrow
from headway.jobs.place import PART, Kind, kind_of
from headway.jobs.record import Record
from headway.jobs.tables import Shape, unlike

__all__ = [
    "PART_ROWS",
    "RESULT_COLUMNS",
    "csv_lines",
    "json_line",
    "replacing",
    "write_output",
]

RESULT_COLUMNS = ("output", "error", "latency_s", "tokens_in", "tokens_out", "dollars", "cache")
"""What a CSV has after the input's columns; one that the input has too is prefixed with ``headway_``."""
PART_ROWS: Final = 100_000
"""Rows of a part, where the output is a folder."""

_CHUNK_BYTES = 256 * 1024
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DONE = "_SUCCESS"

_Write: TypeAlias = Callable[[BinaryIO, int, Sequence[int]], None]
"""Writes rows into a file: the number of the first of them, and the offsets of their lines."""


def json_line(number: int, line: Line) -> bytes:
    """One line of JSONL output: the row's number in the input, from 1, then its record."""
    return b'{"row":%d,' % number + bytes(line.record)[1:] + b"\n"


def csv_lines(lines: Iterator[Line], columns: Sequence[str], *, safe: bool = False) -> Iterator[bytes]:
    """The header, then one record a row. `safe` puts ' before model text that looks like a formula.

    Source: OWASP, "CSV Injection": what begins with = + - @, tab or carriage return runs in a spreadsheet.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(unlike(columns, name) for name in RESULT_COLUMNS)])
    for line in lines:
        yield _taken(text)
        writer.writerow(_cells(line.read(), columns, safe))
    yield _taken(text)


def write_output(
    path: Path,
    offsets: array[int],
    journal: Journal,
    columns: Sequence[str],
    *,
    csv_safe: bool = False,
    source: Source | None = None,
    part_rows: int = PART_ROWS,
) -> None:
    """Write the whole output and put it in place at once: there is the old file or the new one, never half.

    A folder gets parts, ``part-00000.jsonl`` and so on: each appears whole, those of an earlier larger run go, and
    ``_SUCCESS`` is there when all of them are.

    Args:
        path: Where; a folder that exists, or a file: CSV or Parquet by its suffix, else JSONL.
        offsets: Per row in input order, where its line is in the journal.
        journal: The journal.
        columns: The input's columns, for CSV, and for Parquet where the input has no types.
        csv_safe: See `csv_lines`.
        source: The input; its types are kept in Parquet, and its format is that of the parts.
        part_rows: Rows of a part, from 1.

    Raises:
        HeadwayError: The place cannot be written, or the disk is full.
    """
    kind = kind_of(path, source)
    if kind == "parquet":
        write = _parquet_writer(offsets, journal, columns, source.table if source else None)
    else:
        write = _text_writer(kind, journal, columns, safe=csv_safe)
    try:
        if path.is_dir():
            _write_parts(path, kind, offsets, write, part_rows)
            return
        with replacing(path) as file:
            write(file, 1, offsets)
    except OSError as error:
        kept = "the finished rows are in its journal: mend that, and the same command writes it"
        raise HeadwayError(f"{path} cannot be written: {error.strerror}; {kept}") from None


def _text_writer(kind: Kind, journal: Journal, columns: Sequence[str], *, safe: bool) -> _Write:
    def write(file: BinaryIO, first: int, offsets: Sequence[int]) -> None:
        lines = (journal.read(offset) for offset in offsets)
        if kind == "csv":
            file.writelines(csv_lines(lines, columns, safe=safe))
        else:
            file.writelines(json_line(number, line) for number, line in enumerate(lines, first))

    return write


def _parquet_writer(offsets: Sequence[int], journal: Journal, columns: Sequence[str], table: Columnar | None) -> _Write:
    parquet = pyarrow("parquet")
    shape = Shape(columns, (journal.read(offset) for offset in offsets), table)

    def write(file: BinaryIO, first: int, offsets: Sequence[int]) -> None:
        with parquet.ParquetWriter(file, shape.schema, compression="zstd") as writer:
            for piece in shape.tables(journal.read(offset) for offset in offsets):
                writer.write_table(piece)

    return write


def _write_parts(folder: Path, kind: Kind, offsets: Sequence[int], write: _Write, part_rows: int) -> None:
    done = folder / _DONE
    done.unlink(missing_ok=True)
    names = set()
    for at, start in enumerate(range(0, max(1, len(offsets)), part_rows)):
        path = folder / f"part-{at:05}.{kind}"
        names.add(path.name)
        with replacing(path) as file:
            write(file, start + 1, offsets[start : start + part_rows])
    for path in folder.iterdir():
        if PART.fullmatch(path.name) and path.name not in names:
            path.unlink()
    with replacing(done):
        pass


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
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
