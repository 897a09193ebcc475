"""Files of work, read lazily: CSV, JSONL, or text of one item a line; a path, or "-" for standard input.

A broken row is a row with a problem, never a crash and never left out; a broken *file* is an `InputError`
before anything is sent. Compressed files (gzip) are read as what is in them.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, TextIO, cast

from headway.errors import InputError
from headway.jobs.detect import Format, delimiter_of, encoding_of, format_of
from headway.jobs.rows import (
    LINE_CHARS_MAX,
    SourceRow,
    csv_rows,
    jsonl_columns,
    jsonl_rows,
    text_rows,
)

__all__ = ["LINE_CHARS_MAX", "Source", "SourceRow", "open_source"]

_HEAD_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"
_COUNT_BYTES_MAX = 64 * 1024 * 1024
_NOT_TEXT = {b"PK\x03\x04": "a spreadsheet or archive", b"PAR1": "a Parquet file", b"%PDF": "a PDF"}


class Source(NamedTuple):
    """An opened file of work. Iterate `rows` once; `close` it afterwards.

    `columns` are the names rows are known to have: a CSV's header, the first JSONL object's keys, or
    ``text``. `rows_total` is their number where counting is cheap (files up to 64 MiB), else None.
    `waits` is true for standard input, whose next row may be long in coming.
    """

    name: str
    format: Format
    encoding: str
    columns: tuple[str, ...]
    rows_total: int | None
    waits: bool
    rows: Iterator[SourceRow]
    files: tuple[IO[Any], ...]

    def close(self) -> None:
        """Let go of the file; but not of standard input, where a thread may sit in a read."""
        for file in () if self.waits else self.files:
            file.close()


def open_source(
    name: str, *, kind: Format | None = None, rows_max: int | None = None, stdin: BinaryIO | None = None
) -> Source:
    """Open a file of work and read its head.

    Args:
        name: A path, or "-" for standard input.
        kind: What it holds; told from the suffix, else from the content, when None.
        rows_max: Stop after that many rows.
        stdin: What "-" stands for; the process's standard input when None.

    Raises:
        InputError: The file is missing, unreadable, empty or no text, or its header is unusable.
    """
    waits = name == "-"
    label = "standard input" if waits else name
    raw = _open(name, stdin)
    try:
        stream, head = _with_head(raw, label)
        encoding = encoding_of(head)
        peek = head.decode(encoding, "replace")
        kind = kind or format_of("" if waits else name, peek)
        delimiter = delimiter_of(peek) if kind == "csv" else ""
        total = None if waits else _count(name, kind, encoding, delimiter)
        lines = io.TextIOWrapper(stream, encoding, "surrogateescape", newline="")
        columns, rows = _rows(lines, label, kind, delimiter)
        if kind == "jsonl":
            columns = jsonl_columns(peek)
    except InputError:
        raw.close()
        raise
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raw.close()
        raise InputError(f"{label} cannot be read: {_reason(error)}") from None
    if rows_max is not None and total is not None:
        total = min(total, rows_max)
    rows = _guarded(rows, label, rows_max)
    return Source(label, kind, encoding, columns, total, waits, rows, (lines, stream, raw))


def _open(name: str, stdin: BinaryIO | None) -> BinaryIO:
    if name == "-":
        # a reader of our own: a thread that still waits in the interpreter's would block its shutdown
        return stdin or cast(BinaryIO, io.FileIO(0, closefd=False))
    path = Path(name)
    try:
        return path.open("rb", buffering=0)
    except IsADirectoryError:
        raise InputError(f"{name} is a folder; name a file in it") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {_reason(error)}") from None


def _with_head(raw: BinaryIO, label: str) -> tuple[BinaryIO, bytes]:
    """The decompressed stream from its beginning, and its first bytes: up to 64 KiB, at least a line."""
    head = _read_head(raw)
    if not head:
        raise InputError(f"{label} is empty; it needs at least one row")
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"{label} is {what}, not text; export it as CSV or JSONL")
    stream = cast(BinaryIO, io.BufferedReader(_Rejoined(head, raw), _HEAD_BYTES))
    if not head.startswith(_GZIP):
        return stream, head
    plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    head = _read_head(plain)
    return cast(BinaryIO, io.BufferedReader(_Rejoined(head, plain), _HEAD_BYTES)), head


def _read_head(raw: BinaryIO) -> bytes:
    head = b""
    while len(head) < _HEAD_BYTES and b"\n" not in head:
        chunk = raw.read(_HEAD_BYTES - len(head))
        if not chunk:
            break
        head += chunk
    return head


class _Rejoined(io.RawIOBase):
    """The head that was read, then the rest of the stream: standard input cannot be read twice."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._head[: len(buffer)] or self._rest.read(len(buffer)) or b""
        except ValueError:  # how Python says that another thread closed it
            raise OSError("it was closed while it was read") from None
        self._head = self._head[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _count(name: str, kind: Format, encoding: str, delimiter: str) -> int | None:
    """The rows in a file that is small enough to be read twice; None otherwise."""
    path = Path(name)
    if not path.is_file() or path.stat().st_size > _COUNT_BYTES_MAX:
        return None
    with path.open("rb") as raw:
        if raw.read(2) == _GZIP:
            return None  # how much is in it only reading it would tell
        raw.seek(0)
        with io.TextIOWrapper(raw, encoding, "surrogateescape", newline="") as lines:
            _, rows = _rows(lines, name, kind, delimiter)
            return sum(1 for _ in rows)


def _rows(lines: TextIO, label: str, kind: Format, delimiter: str) -> tuple[tuple[str, ...], Iterator[SourceRow]]:
    """The columns known by the format, and the rows."""
    if kind == "csv":
        return csv_rows(lines, label, delimiter)
    return ((), jsonl_rows(lines)) if kind == "jsonl" else (("text",), text_rows(lines))


def _guarded(rows: Iterator[SourceRow], label: str, rows_max: int | None) -> Iterator[SourceRow]:
    """The rows up to the limit; what breaks the file midway is an `InputError` that says after which row."""
    read = 0
    try:
        while rows_max is None or read < rows_max:
            row = next(rows, None)
            if row is None:
                return
            read += 1
            yield row
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise InputError(f"{label} cannot be read after row {read}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
