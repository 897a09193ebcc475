"""The journal: what is finished, written down as it finishes, so that a second run sends what is still owed.

An append-only JSONL file: a header, then lines of two kinds. A finished row: it is known by its key (what it asks
and what the answer has to be, see `Task.row_key`) and by which of its equals it is (``#0``, ``#1``, ...), so that
an edited prompt or a moved row owes exactly what it should. And an event: what a lane has to know after a crash,
such as a batch that is about to be made. Each line is one write when it comes about, so that a killed process
loses nothing that was finished; what a power cut may lose is bounded by flushing to the disk `SYNC_S` after the
first write that was not, in a thread, for the loop never waits for the disk. Durable events are flushed before
`note` returns. A torn last line is cut off when the journal is opened; damage anywhere else is an error that
names the line.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.disk import LineReader, lock, sync_folder, write_at
from headway.jobs.index import Index
from headway.jobs.journal_lines import EventLine, Header, Line, SpentLine, check_header, foreign
from headway.jobs.record import Record

__all__ = ["SYNC_S", "Header", "Journal", "Line"]

SYNC_S = 0.5
_MAGIC = b'{"headway_journal":'
_SPENT = b'{"spent":'
_EVENT = b'{"event":'


class Journal:
    """An open, locked journal.

    Memory: about 18 bytes for every row that an earlier run finished, and the events; not what this run appends.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._end = 0
        self._unsynced = False
        self._closed = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Line)
        self._lines = LineReader(fd)
        self._done = Index(self._is)
        self._found: Line | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self.run = os.urandom(4).hex()
        """The job's name, see `Header`."""
        self.events: list[bytes] = []
        """What earlier runs noted, in order, as JSON. Clear it when it has been read."""
        self.forgotten: list[bytes] = []
        """The same of runs that were forgotten just now, by `fresh`."""

    @classmethod
    def open(cls, path: Path, header: Header, *, fresh: bool = False) -> Journal:
        """Open or create the journal at `path`, lock it and read what is done.

        Args:
            path: The journal's place.
            header: This run's; its `run` is not looked at.
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
            lock(fd, path)
            if fresh:
                journal.forgotten = [
                    bytes(msgspec.json.decode(raw, type=EventLine).event)
                    for _, _, raw in journal._whole_lines()
                    if raw.startswith(_EVENT)
                ]
                journal._end = 0
                os.ftruncate(fd, 0)
            if not journal._recover(header):
                sync_folder(path.parent)
        except HeadwayError:
            os.close(fd)
            raise
        return journal

    @classmethod
    def temporary(cls) -> Journal:
        """A journal without a name, gone when it is closed: for results that go to a pipe."""
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()), "the temporary journal")

    @property
    def lasts(self) -> bool:
        """Whether it has a name, so that another run can go on with it."""
        return os.fstat(self._fd).st_nlink > 0

    def append(self, key: str, record: Record, *, moved: bool = False) -> int:
        """Write one finished row; return its offset.

        Args:
            key: The row's.
            record: What became of it.
            moved: It was in the journal before, and is written again for its row's new columns: no new spending.

        Raises:
            HeadwayError: The disk refuses, e.g. because it is full. What was written before is whole.
        """
        line = {"key": key, "ok": record.error is None, "record": record}
        line_bytes = self._encoder.encode(line | {"moved": True} if moved else line) + b"\n"
        offset = self._write(line_bytes)
        if self._timer is None:
            self._sync_soon()
        return offset

    def spent(self) -> float:
        """Dollars that earlier runs have spent, as rows tell and as was noted; reads the whole journal."""
        decode, rows, noted = msgspec.json.Decoder(SpentLine).decode, 0.0, 0.0
        os.lseek(self._fd, 0, os.SEEK_SET)
        with open(self._fd, "rb", closefd=False) as file:
            for raw in file:
                if raw.startswith((b'{"key"', _SPENT)):
                    line = decode(raw)
                    noted = max(noted, line.spent)
                    rows += 0.0 if line.moved else line.record.dollars or 0.0
        return max(rows, noted)

    def note_spent(self, dollars: float) -> None:
        """Note what the job has spent in all, for `spent` of the next run: rows that are not finished tell nothing."""
        self._write(_SPENT + b"%s}\n" % repr(dollars).encode())

    def note(self, event: bytes, *, durable: bool = True) -> None:
        """Write an event, for `events` of the next run.

        Args:
            event: Any JSON, without line breaks.
            durable: Return only when it is on the disk (some milliseconds): for what must be known before money
                is spent. Else it is flushed with the rows.

        Raises:
            HeadwayError: As `append`.
        """
        self._write(_EVENT + event.replace(b"\n", b" ") + b"}\n")
        if durable:
            self._sync()
        elif self._timer is None:
            self._sync_soon()

    def find(self, key: str) -> tuple[int, Line] | None:
        """The offset and the line of a row that an earlier run finished, the last one if there are several."""
        offset = self._done.get(key)
        found, self._found = self._found, None
        return (offset, found) if offset >= 0 and found is not None else None

    def read(self, offset: int) -> Line:
        """The line at an offset that `append` or `find` gave."""
        line = self._lines.line(offset)
        if line is None:
            raise HeadwayError(f"{self._name} was changed by another program; start over with --fresh")
        return self._decoder.decode(line)

    def _is(self, offset: int, key: str) -> bool:
        """Whether the line there is of that row; `find` wants it next."""
        self._found = self.read(offset)
        return self._found.key == key

    def __len__(self) -> int:
        """Rows that earlier runs finished."""
        return len(self._done)

    def close(self) -> None:
        """Flush to the disk and let go. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        try:
            self._sync()
        finally:
            os.close(self._fd)

    def _sync_soon(self) -> None:
        """Flush a little later. Without a loop, and where time is virtual and runs too fast for disks: at the end."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if not getattr(loop, "is_virtual", False):
            self._timer = loop.call_later(SYNC_S, self._sync_aside)

    def _sync_aside(self) -> None:
        self._timer = None
        if self._syncing is not None and not self._syncing.done():
            self._sync_soon()  # a slow disk: one flush at a time
            return
        self._thread = self._thread or ThreadPoolExecutor(1, "headway-journal")
        self._unsynced = False
        self._syncing = self._thread.submit(os.fsync, self._fd)

    def _sync(self) -> None:
        self._check_synced()
        if self._unsynced:
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise _refused(self._name, error) from None
            self._unsynced = False

    def _check_synced(self) -> None:
        """A flush that failed in the background is told by the next write: what it held may be gone."""
        if self._syncing is not None and self._syncing.done():
            error, self._syncing = self._syncing.exception(), None
            if isinstance(error, OSError):
                raise _refused(self._name, error)

    def _write(self, line: bytes) -> int:
        if self._syncing is not None:
            self._check_synced()
        offset, done = self._end, 0
        try:
            while done < len(line):
                done += write_at(self._fd, memoryview(line)[done:] if done else line, offset + done)
        except OSError as error:
            os.ftruncate(self._fd, offset)  # no half line in the middle, should there be room again
            raise _refused(self._name, error) from None
        self._end = offset + len(line)
        self._unsynced = True
        return offset

    def _recover(self, header: Header) -> bool:
        """Read what is there, cut a torn tail off, and write the header if there is none. Whether there was a run."""
        run = ""
        for number, offset, raw in self._whole_lines():
            if number == 1:
                run = check_header(raw, header, self._name)
                continue
            try:
                if raw.startswith(_EVENT):
                    self.events.append(bytes(msgspec.json.decode(raw, type=EventLine).event))
                elif raw.startswith(_SPENT):
                    continue
                elif raw.startswith(_MAGIC):
                    run = msgspec.json.decode(raw, type=Header).run
                else:
                    self._done.put(self._decoder.decode(raw).key, offset)
            except msgspec.DecodeError as error:
                problem = f"{self._name}: line {number} is damaged ({error})"
                raise InputError(f"{problem}; delete that line, or start over with --fresh") from None
        os.ftruncate(self._fd, self._end)
        if run:
            self.run = run
        else:
            self._write(self._encoder.encode(msgspec.structs.replace(header, run=self.run)) + b"\n")
        return bool(run)

    def _whole_lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, offset and text of every line that has its end; `_end` is where the last of them ends."""
        with open(self._fd, "rb", closefd=False) as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    if number == 1 and not (raw.startswith(_MAGIC) or _MAGIC.startswith(raw)):
                        raise foreign(self._name)
                    return
                offset, self._end = self._end, self._end + len(raw)
                yield number, offset, raw


def _refused(name: str, error: OSError) -> HeadwayError:
    way_on = "what was written is whole: make room, and the same command goes on from there"
    return HeadwayError(f"{name} cannot be written: {error.strerror}; {way_on}")
