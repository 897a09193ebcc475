"""Text files of work: CSV, JSONL, or one item a line, compressed with gzip or not; or standard input."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from headway.errors import InputError
from headway.jobs.detect import Format, delimiter_of, encoding_of, format_of
from headway.jobs.opened import Source, Stamp, guarded, reason_of
from headway.jobs.rows import SourceRow, csv_rows, jsonl_columns, jsonl_rows, text_rows, widen_cells

__all__ = ["COUNT_BYTES_MAX", "open_text", "read_head"]

COUNT_BYTES_MAX = 256 * 1024 * 1024
"""Files up to this size are counted before they are read: at most half a second or so."""

_HEAD_BYTES = 64 * 1024
_COUNT_CHUNK_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"
_NOT_TEXT = {b"PK\x03\x04": "a spreadsheet or archive", b"%PDF": "a PDF"}
_NOT_PIPED = {b"PAR1": "a Parquet file", b"ARROW1": "an Arrow file"}


def open_text(
    name: str, *, kind: Format | None, rows_max: int | None, stdin: BinaryIO | None = None, counted: bool = True
) -> Source:
    """Open a text file and read its head; arguments as for `open_source`. `counted`: find out `rows_total`.

    Raises:
        InputError: The file is missing, unreadable, empty or no text, or its header is unusable.
    """
    waits = name == "-"
    label = "standard input" if waits else name
    if kind in ("parquet", "arrow"):
        raise InputError(f"{label} cannot be read as {kind}, which has to be in a file; name the file")
    raw = _open(name, stdin)
    try:
        head = read_head(raw)
        stamp = None if waits else Stamp(raw.fileno(), head)
        stream, head = _plain(raw, head, label, stamp)
        encoding = encoding_of(head)
        peek = head.decode(encoding, "replace")
        kind = kind or format_of("" if waits else name, peek)
        delimiter = delimiter_of(peek) if kind == "csv" else ""
        total = _count(name, kind, encoding, delimiter) if counted and not waits else None
        lines = io.TextIOWrapper(stream, encoding, "surrogateescape", newline="")
        columns, rows = _rows(lines, label, kind, delimiter)
        if kind == "jsonl":
            columns = jsonl_columns(peek)
    except InputError:
        raw.close()
        raise
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raw.close()
        raise InputError(f"{label} cannot be read: {reason_of(error)}") from None
    if rows_max is not None and total is not None:
        total = min(total, rows_max)
    rows = guarded(rows, label, rows_max, stamp)
    paths = () if waits else (Path(name),)
    return Source(label, kind, encoding, columns, total, waits, rows, (lines, stream, raw), paths)


def read_head(raw: BinaryIO) -> bytes:
    """The first bytes: up to 64 KiB, at least a line."""
    head = b""
    while len(head) < _HEAD_BYTES and b"\n" not in head:
        chunk = raw.read(_HEAD_BYTES - len(head))
        if not chunk:
            break
        head += chunk
    return head


def _open(name: str, stdin: BinaryIO | None) -> BinaryIO:
    if name == "-":
        # a reader of our own: a thread that still waits in the interpreter's would block its shutdown
        return stdin or cast(BinaryIO, io.FileIO(0, closefd=False))
    try:
        return Path(name).open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {reason_of(error)}") from None


def _plain(raw: BinaryIO, head: bytes, label: str, stamp: Stamp | None) -> tuple[BinaryIO, bytes]:
    """The decompressed stream from its beginning, and its first bytes."""
    if not head:
        raise InputError(f"{label} is empty; it needs at least one row")
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"{label} is {what}, not text; export it as CSV or JSONL")
    for magic, what in _NOT_PIPED.items():
        if head.startswith(magic):
            raise InputError(f"{label} is {what}, which is not read as text; name the file, and no other --format")
    stream = cast(BinaryIO, io.BufferedReader(_Rejoined(head, raw, stamp.size_bytes if stamp else None), _HEAD_BYTES))
    if not head.startswith(_GZIP):
        return stream, head
    plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    head = read_head(plain)
    return cast(BinaryIO, io.BufferedReader(_Rejoined(head, plain), _HEAD_BYTES)), head


class _Rejoined(io.RawIOBase):
    """The head that was read, then the rest of the stream: standard input cannot be read twice.

    Reading ends after `bytes_max`, where a file ended when it was opened.
    """

    def __init__(self, head: bytes, rest: BinaryIO, bytes_max: int | None = None) -> None:
        self._head = head
        self._rest = rest
        self._left = bytes_max

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer) if self._left is None else min(len(buffer), self._left)
        try:
            chunk = self._head[:size] or self._rest.read(size) or b""
        except ValueError:  # how Python says that another thread closed it
            raise OSError("it was closed while it was read") from None
        self._head = self._head[size:]
        if self._left is not None:
            self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _count(name: str, kind: Format, encoding: str, delimiter: str) -> int | None:
    """The rows in a file that is small enough to be read twice; None otherwise."""
    path = Path(name)
    if not path.is_file() or path.stat().st_size > COUNT_BYTES_MAX:
        return None
    with path.open("rb") as raw:
        if raw.read(2) == _GZIP:
            return None  # how much is in it only reading it would tell
        raw.seek(0)
        wide = encoding.startswith(("utf-16", "utf-32"))
        if kind != "csv" and not wide:
            return _lines_in(raw)
        with io.TextIOWrapper(raw, encoding, "surrogateescape", newline="") as lines:
            if kind == "csv":
                widen_cells()
                try:
                    return max(0, sum(1 for cells in csv.reader(lines, delimiter=delimiter, strict=True) if cells) - 1)
                except csv.Error:
                    raw.seek(0)
                    lines.seek(0)  # broken somewhere: count as it will be read
            _, rows = _rows(lines, name, kind, delimiter)
            return sum(1 for _ in rows)


def _lines_in(raw: BinaryIO) -> int:
    """Lines that are not blank; lines may be of any length."""
    count, begun = 0, False
    while chunk := raw.read(_COUNT_CHUNK_BYTES):
        lines = chunk.splitlines(keepends=True)
        for line in lines:
            if not begun and not line.isspace():
                count, begun = count + 1, True
            if line.endswith((b"\n", b"\r")):
                begun = False
    return count


def _rows(lines: TextIO, label: str, kind: Format, delimiter: str) -> tuple[tuple[str, ...], Iterator[SourceRow]]:
    """The columns known by the format, and the rows."""
    if kind == "csv":
        return csv_rows(lines, label, delimiter)
    return ((), jsonl_rows(lines)) if kind == "jsonl" else (("text",), text_rows(lines))
