"""One thread that owns the write connection, fed by a bounded queue: writing never waits for the disk.

Under virtual time threads are banned; `inline` makes the same batches run on the caller's thread. What does not fit
into the queue, and what the disk refuses, is dropped and counted: a cache may forget, and a log must not stop the
calls it records.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from headway.errors import ConfigError
from headway.store.database import DatabaseFile, is_corruption

__all__ = ["Sink", "SqliteWriter", "WriterSettings", "log_warning"]

# A loop that is never idle starves every other thread of the interpreter lock (measured: 40,000 rows queued and none
# written). Past this backlog every 256th submit sleeps for a moment, which hands the lock over; about 4 us a row then.
_BACKLOG_ROWS = 1_024
_HANDOVER_ROWS = 256
_HANDOVER_S = 0.0005
_CLOSE_S = 10.0


def log_warning(message: str) -> None:
    """The default `on_error`: one line to the standard logger ``headway.store``."""
    logging.getLogger("headway.store").warning("%s", message)


class Sink(Protocol):
    """Where rows of one kind go. Both methods run on the thread that writes."""

    def write(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        """Write rows, in order, in the transaction that is open."""
        ...

    def written(self, rows: list[Any]) -> None:
        """They are committed, or given up."""
        ...


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and pace of a writer; the defaults suit a busy server."""

    inline: bool = False
    """Write on the caller's thread: whenever `batch_rows` are queued, and at `flush` and `close`."""
    queue_rows_max: int = 10_000
    queue_bytes_max: int = 64 * 1024 * 1024
    """Rows, and their bytes as far as `submit` is told them, that may wait; more are dropped."""
    batch_rows: int = 200
    """Rows per transaction."""
    batch_s: float = 0.05
    """How long rows gather before the thread writes them."""


class SqliteWriter:
    """Batches rows into transactions on one connection, in a thread started by the first row.

    Args:
        file: What to open, on the thread that writes.
        settings: Bounds and pace.
        on_error: Told one sentence, once, from the thread that writes, when writing first fails.
    """

    def __init__(
        self,
        file: DatabaseFile,
        settings: WriterSettings | None = None,
        *,
        on_error: Callable[[str], None] = log_warning,
    ) -> None:
        self._file = file
        self._settings = settings or WriterSettings()
        self._on_error = on_error
        self._work = _Work(file, self._settings, on_error)
        self._pid = 0
        self._overflowed = 0
        self._bytes_submitted = 0
        self._closed = False
        self._stop: Callable[[], object] | None = None
        self._forked: list[_Work] = []

    @property
    def dropped(self) -> int:
        """Rows given up so far: the queue was full, the writer closed, or the disk refused them."""
        return self._overflowed + self._work.rows_failed

    @property
    def queued(self) -> int:
        """Rows that wait to be written."""
        return len(self._work.queue)

    @property
    def inode(self) -> int:
        """Which file is written to; 0 before the first write."""
        return self._work.inode

    def submit(self, sink: Sink, row: Any, size_bytes: int = 0) -> bool:
        """Queue one row (about 0.5 us); False when it was dropped. Never raises and never waits for the disk."""
        if self._pid != os.getpid():
            self._start()
        work, settings = self._work, self._settings
        waiting = len(work.queue)
        waiting_bytes = self._bytes_submitted - work.bytes_done + size_bytes
        if waiting >= settings.queue_rows_max or waiting_bytes > settings.queue_bytes_max or self._closed:
            self._overflowed += 1
            return False
        self._bytes_submitted += size_bytes
        work.queue.append((sink, row, size_bytes))
        if settings.inline:
            if waiting + 1 >= settings.batch_rows:
                work.drain()
        elif work.idle:
            work.wake.set()
        elif waiting > _BACKLOG_ROWS and not waiting % _HANDOVER_ROWS:
            time.sleep(_HANDOVER_S)
        return True

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until all that is queued is written or given up; False when that took longer than `timeout_s`."""
        if self._pid != os.getpid() or self._closed:
            return True  # nothing of this process's is queued
        if self._settings.inline:
            self._work.drain()
            return True
        return self._signal().wait(timeout_s)

    def replace(self, broken_inode: int) -> None:
        """Have the thread set a broken file aside and go on with a new one."""
        if self._closed:
            return
        if self._pid != os.getpid():
            self._start()
        self._work.broken_inode = broken_inode
        if not self._settings.inline:
            self._signal()

    def close(self) -> None:
        """Write what is queued (for at most 10 s) and end the thread. Idempotent; runs at interpreter exit as well."""
        if self._closed:
            return
        self._closed = True
        if self._pid == os.getpid() and self._stop is not None:
            self._stop()

    def _signal(self) -> threading.Event:
        done = threading.Event()
        self._work.queue.append((_Signal(done), None, 0))
        self._work.hurry.set()
        self._work.wake.set()
        return done

    def _start(self) -> None:
        """On first use, and again in a forked child: the parent writes what it had queued when it forked."""
        if self._pid:
            self._forked.append(self._work)  # the parent's connection: closing it here would release nothing and harm
            self._work = _Work(self._file, self._settings, self._on_error)
            self._bytes_submitted = 0
        self._pid = os.getpid()
        thread = None
        if not self._settings.inline:
            thread = threading.Thread(target=self._work.run, name="headway-sqlite-writer", daemon=True)
            thread.start()
        # Also runs when the writer is collected unclosed, and at exit; the thread holds no reference to the writer.
        self._stop = weakref.finalize(self, _stop, self._work, thread, self._pid)


def _stop(work: _Work, thread: threading.Thread | None, pid: int) -> None:
    if pid != os.getpid():
        return
    if thread is None:
        work.drain()
        work.disconnect()
        return
    work.stopping = True
    work.hurry.set()
    work.wake.set()
    if thread is not threading.current_thread():
        thread.join(_CLOSE_S)


class _Signal:
    """A sink that tells when everything queued before it is done."""

    def __init__(self, done: threading.Event) -> None:
        self._done = done

    def write(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        pass

    def written(self, rows: list[Any]) -> None:
        self._done.set()


class _Work:
    """The thread's side: the queue, the connection, and the loop between them."""

    def __init__(self, file: DatabaseFile, settings: WriterSettings, on_error: Callable[[str], None]) -> None:
        self.queue: deque[tuple[Sink, Any, int]] = deque()
        self.wake = threading.Event()
        self.hurry = threading.Event()
        self.idle = False
        self.stopping = False
        self.broken_inode = 0
        self.rows_failed = 0
        self.bytes_done = 0
        self._file = file
        self._settings = settings
        self._on_error = on_error
        self._warned = False
        self._connection: sqlite3.Connection | None = None
        self.inode = 0

    def run(self) -> None:
        """Sleep until rows come, let them gather, write them; until stopped and empty."""
        while self.queue or not self.stopping:
            self.idle = True
            if not self.queue and not self.stopping:  # looked at once `idle` is set, so that no wake-up is lost
                self.wake.wait()
            self.idle = False
            self.wake.clear()
            self.hurry.wait(self._settings.batch_s)
            self.hurry.clear()
            self.drain()
        self.disconnect()

    def drain(self) -> None:
        """Write all that is queued by now, one transaction per `batch_rows`."""
        left = len(self.queue)
        while left > 0:
            batch: dict[Sink, list[Any]] = {}
            size_bytes = 0
            for _ in range(min(left, self._settings.batch_rows)):
                sink, row, row_bytes = self.queue.popleft()
                batch.setdefault(sink, []).append(row)
                size_bytes += row_bytes
                left -= 1
            try:
                self._apply(batch)
            finally:
                self.bytes_done += size_bytes
                for sink, rows in batch.items():
                    sink.written(rows)

    def disconnect(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log into the file."""
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as problem:
                self._warn(problem)
            self._connection = None

    def _apply(self, batch: dict[Sink, list[Any]]) -> None:
        """Write a batch in one transaction; if a row is at fault, each row in one of its own."""
        try:
            self._commit(batch)
        except (sqlite3.OperationalError, ConfigError) as problem:  # the disk, a lock, the file: no row's fault
            self._give_up(batch, problem)
        except (sqlite3.Error, OverflowError, TypeError, ValueError) as problem:
            if is_corruption(problem):
                self.broken_inode = self.inode
                self._give_up(batch, problem)
            elif sum(map(len, batch.values())) == 1:
                self._give_up(batch, problem)
            else:
                for sink, rows in batch.items():
                    for row in rows:
                        self._apply({sink: [row]})

    def _commit(self, batch: dict[Sink, list[Any]]) -> None:
        if self._connection is None or self.broken_inode:
            self.disconnect()
            self._connection = self._file.open(broken_inode=self.broken_inode)
            self.inode, self.broken_inode = self._file.inode(), 0
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sink, rows in batch.items():
                sink.write(connection, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _give_up(self, batch: dict[Sink, list[Any]], problem: Exception) -> None:
        self.rows_failed += sum(len(rows) for sink, rows in batch.items() if not isinstance(sink, _Signal))
        self._warn(problem)

    def _warn(self, problem: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._on_error(f"{self._file.path} could not be written ({problem}); rows are dropped and counted until it can.")
