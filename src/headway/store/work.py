"""The writer's side of the queue: batches become transactions, and failures become counts.

Everything here runs on one thread: the writer's own, or the caller's where the writer is inline.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from headway.errors import ConfigError
from headway.store.database import DatabaseFile, is_corruption

__all__ = ["Signal", "Sink", "Work", "WriterSettings"]


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


class Signal:
    """A sink that tells when everything queued before it is done."""

    def __init__(self, done: threading.Event) -> None:
        self._done = done

    def write(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        """Nothing to write."""

    def written(self, rows: list[Any]) -> None:
        """Tell."""
        self._done.set()


class Work:
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
            if not self.queue and not self.stopping:  # asked once `idle` is set: no wake-up is lost
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
        except (sqlite3.OperationalError, ConfigError) as problem:  # disk, lock, file: no row's fault
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
        self.rows_failed += sum(len(rows) for sink, rows in batch.items() if not isinstance(sink, Signal))
        self._warn(problem)

    def _warn(self, problem: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._on_error(f"{self._file.path} could not be written ({problem}); rows are dropped until it can.")
