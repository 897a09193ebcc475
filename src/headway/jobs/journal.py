"""The journal: what is finished, written down as it finishes, so that a second run sends what is still owed.

An append-only JSONL file: a header, then one line a finished row. A row is known by its key (what it asks and
what the answer has to be, see `Task.row_key`) and by which of its equals it is (``#0``, ``#1``, ...), so that
an edited prompt or a moved row owes exactly what it should. Each line is written when its row finishes, so
that a killed process loses nothing that was finished; it is flushed to the disk at most every `SYNC_S`, which
is what a power cut may lose. A torn last line is cut off when the journal is opened; damage anywhere else is
an error that names the line.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.record import Record

__all__ = ["SYNC_S", "Header", "Journal", "Line"]

SYNC_S = 0.5
VERSION = 1
_CHUNK_BYTES = 4096


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. Answers of one `origin` (the provider's address) are never taken for another's."""

    headway_journal: int = VERSION
    task: str = ""
    input: str = ""
    origin: str = ""


class Line(msgspec.Struct, frozen=True):
    """One finished row."""

    key: str
    ok: bool
    record: msgspec.Raw

    def read(self) -> Record:
        """The record itself."""
        return msgspec.json.decode(self.record, type=Record)


class Journal:
    """An open, locked journal. `done` maps a key to its line's offset, and to whether the row succeeded.

    Memory: about 250 bytes for every row that an earlier run finished; what this run appends is not kept.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._end = 0
        self._synced_at_s = 0.0
        self._unsynced = False
        self._closed = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Line)
        self.done: dict[str, tuple[int, bool]] = {}

    @classmethod
    def open(cls, path: Path, header: Header, *, fresh: bool = False) -> Journal:
        """Open or create the journal at `path`, lock it and read what is done.

        Args:
            path: The journal's place.
            header: This run's.
            fresh: Start over: forget what is there.

        Raises:
            ConfigError: It cannot be written, another run holds it, or it is no journal of this job.
            InputError: A line in its middle is damaged.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}; choose another --out") from None
        journal = cls(fd, str(path))
        try:
            _lock(fd, path)
            if fresh:
                os.ftruncate(fd, 0)
            journal._recover(header)
        except HeadwayError:
            os.close(fd)
            raise
        return journal

    @classmethod
    def temporary(cls) -> Journal:
        """A journal without a name, gone when it is closed: for results that go to a pipe."""
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()), "the temporary journal")

    def append(self, key: str, record: Record, now_s: float) -> int:
        """Write one finished row; return its offset.

        Raises:
            HeadwayError: The disk refuses, e.g. because it is full. What was written before is whole.
        """
        line = self._encoder.encode({"key": key, "ok": record.error is None, "record": record}) + b"\n"
        offset = self._write(line)
        if now_s - self._synced_at_s >= SYNC_S:
            self._sync()
            self._synced_at_s = now_s
        return offset

    def read(self, offset: int) -> Line:
        """The line at an offset that `append` or `done` gave."""
        os.lseek(self._fd, offset, os.SEEK_SET)
        line = b""
        while (end := line.find(b"\n")) < 0:
            chunk = os.read(self._fd, max(_CHUNK_BYTES, len(line)))
            if not chunk:
                raise HeadwayError(f"{self._name} was changed by another program; start over with --fresh")
            line += chunk
        return self._decoder.decode(memoryview(line)[:end])

    def close(self) -> None:
        """Flush to the disk and let go. Idempotent."""
        if not self._closed:
            self._closed = True
            try:
                self._sync()
            finally:
                os.close(self._fd)

    def _sync(self) -> None:
        if self._unsynced:
            os.fsync(self._fd)
            self._unsynced = False

    def _write(self, line: bytes) -> int:
        offset, rest = self._end, memoryview(line)
        os.lseek(self._fd, offset, os.SEEK_SET)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            os.ftruncate(self._fd, offset)  # no half line in the middle, should there be room again
            raise HeadwayError(f"{self._name} cannot be written: {error.strerror}") from None
        self._end = offset + len(line)
        self._unsynced = True
        return offset

    def _recover(self, header: Header) -> None:
        """Read what is there, cut a torn tail off, and write the header if there is none."""
        lines = self._whole_lines()
        _, _, first = next(lines, (0, 0, b""))
        if first:
            _check(first, header, self._name)
        for number, offset, raw in lines:
            try:
                line = self._decoder.decode(raw)
            except msgspec.DecodeError as error:
                problem = f"{self._name}: line {number} is damaged ({error})"
                raise InputError(f"{problem}; delete that line, or start over with --fresh") from None
            self.done[line.key] = (offset, line.ok)
        os.ftruncate(self._fd, self._end)
        if not first:
            self._write(self._encoder.encode(header) + b"\n")

    def _whole_lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, offset and text of every line that has its end; `_end` is where the last of them ends."""
        with open(self._fd, "rb", closefd=False) as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    return
                offset, self._end = self._end, self._end + len(raw)
                yield number, offset, raw


def _check(raw: bytes, header: Header, name: str) -> None:
    try:
        found = msgspec.json.decode(raw, type=Header)
        version = found.headway_journal if b"headway_journal" in raw else 0
    except msgspec.DecodeError:
        version = 0
    if not version:
        raise ConfigError(f"{name} is not a journal of Headway; move it away or choose another --out")
    if version != VERSION:
        raise ConfigError(f"{name} has version {version} where {VERSION} is read; start over with --fresh")
    if found.origin != header.origin:
        raise ConfigError(
            f"{name} holds answers of {found.origin or 'another provider'}, not of {header.origin}; "
            "choose another --out, or start over with --fresh"
        )


def _lock(fd: int, path: Path) -> None:
    """Keep other runs out for as long as the file is open; systems without `fcntl` go without."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"{path} is in use by another run; wait for it, or choose another --out") from None
