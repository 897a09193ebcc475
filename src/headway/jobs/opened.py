"""An opened input, and how to find out that another program changed it while it was read."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from headway.errors import InputError
from headway.jobs.detect import Format
from headway.jobs.rows import SourceRow

__all__ = ["Closable", "Columnar", "Source", "Stamp", "guarded", "reason_of"]


class Columnar(NamedTuple):
    """An input that has typed columns: a Parquet or Arrow file, several of them, or a table in memory.

    `schema` is a `pyarrow.Schema`; `batches` gives the record batches from the first row on, every time it is called.
    """

    schema: Any
    rows_total: int
    batches: Callable[[], Iterator[Any]]


class Closable(Protocol):
    """What is held open while it is read."""

    def close(self) -> None:
        """Let go of it."""
        ...


class Source(NamedTuple):
    """An opened piece of work. Iterate `rows` once; `close` it afterwards.

    `columns` are the names rows are known to have: a header's, a schema's, the first JSONL object's keys, or
    ``text``. `rows_total` is their number where that is known or soon counted, else None. `waits` is true for
    standard input, whose next row may be long in coming. `paths` are the files that it is read from.
    """

    name: str
    format: Format
    encoding: str
    columns: tuple[str, ...]
    rows_total: int | None
    waits: bool
    rows: Iterator[SourceRow]
    files: tuple[Closable, ...]
    paths: tuple[Path, ...] = ()
    table: Columnar | None = None

    def close(self) -> None:
        """Let go of the file; but not of standard input, where a thread may sit in a read."""
        for file in () if self.waits else self.files:
            file.close()


class Stamp:
    """What a file was like when it was opened.

    A job is of the file as it was then. One that is replaced goes on being read, and rows that another program
    appends wait for the next run; one that is cut short or rewritten in place cannot be read as one piece.

    Args:
        fd: The open file.
        head: Its first bytes, which appending leaves as they are; empty where nothing may be appended.
    """

    def __init__(self, fd: int, head: bytes = b"") -> None:
        found = os.fstat(fd)
        self._fd = fd
        self._head = head
        self._regular = stat.S_ISREG(found.st_mode)
        self._size, self._mtime_ns = found.st_size, found.st_mtime_ns

    @property
    def size_bytes(self) -> int | None:
        """The file's size at that time; None for pipes and the like."""
        return self._size if self._regular else None

    def check(self, label: str, rows: int) -> None:
        """Compare with the file as it is now, after `rows` rows.

        Raises:
            InputError: It was changed where it had been read, or could have been.
        """
        now = os.fstat(self._fd)
        if not self._regular or (now.st_size, now.st_mtime_ns) == (self._size, self._mtime_ns):
            return
        if now.st_size > self._size and self._head:
            os.lseek(self._fd, 0, os.SEEK_SET)  # reading is over
            if os.read(self._fd, len(self._head)) == self._head:
                return
        raise InputError(
            f"{label} was changed by another program while it was read (after row {rows}, {self._size} bytes then, "
            f"{now.st_size} now); what is finished is kept, so run the job again on the file as it is now"
        )


def guarded(rows: Iterator[SourceRow], label: str, rows_max: int | None, stamp: Stamp | None) -> Iterator[SourceRow]:
    """The rows up to the limit; what breaks the file midway is an `InputError` that says after which row."""
    read = 0
    try:
        while rows_max is None or read < rows_max:
            row = next(rows, None)
            if row is None:
                break
            read += 1
            yield row
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        if stamp is not None:
            stamp.check(label, read)
        raise InputError(f"{label} cannot be read after row {read}: {reason_of(error)}") from None
    if stamp is not None:
        stamp.check(label, read)


def reason_of(error: Exception) -> str:
    """What an error says, without its number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
