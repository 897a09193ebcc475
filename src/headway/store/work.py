"""The writer's side of the queue: batches become transactions, and failures become counts.

Everything here runs on one thread: the writer's own, or the caller's where the writer is inline.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec

from headway.errors import ConfigError
from headway.store.database import DatabaseFile, is_corruption

__all__ = ["Chore", "Sink", "Work", "WriterSettings"]


class Sink(Protocol):
    """Where rows of one kind go. Both methods run on the thread that writes."""

    def write(self, connection: sqlite3.Connection, rows: list[Any]) -> None:
        """Write rows, in order, in the transaction that is open. A few statements for all, not some per row."""
        ...

    def written(self, rows: list[Any]) -> None:
        """They are committed, or given up."""
        ...


Chore: TypeAlias = Callable[[sqlite3.Connection], bool]
"""What the thread does when it has written, and at least every `chore_s`; True to be called again soon."""


class WriterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and pace of a writer; the defaults suit a busy server."""

    inline: bool = False
    """Write on the caller's thread: whenever `batch_rows` or a quarter of `queue_bytes_max` are queued, and at `flush`
    and `close`."""
    queue_rows_max: int = 50_000
    """Rows that may wait or be under way; more are dropped. Of the call log they take about 1 KB each: 50 MB."""
    queue_bytes_max: int = 64 * 1024 * 1024
    """Likewise their bytes, as far as `submit` is told them: bodies and texts."""
    batch_rows: int = 10_000
    """Rows per transaction, at most."""
    batch_s: float = 0.1
    """How long rows gather before the thread writes them."""
    handover_s: float = 0.0
    """How long `submit` lets go of the interpreter lock, once every 128 rows while the thread is behind by 2,048;
    0: never, a caller that leaves the thread no lock then fills the queue, and rows are dropped. 0.0002 suffices."""
    chore_s: float = 1.0
    """How long the thread sleeps at most, where it has a chore."""


class Work:
    """The thread's side: the queues, the connection, and the loop between them.

    Each counter has one side that writes it: `rows_in` and `bytes_in` the submitting one, the rest this one. A row
    stays in its queue until it is done, so that the difference is what waits or is under way.
    """

    def __init__(
        self,
        file: DatabaseFile,
        settings: WriterSettings,
        on_error: Callable[[str], None],
        chore: Chore | None = None,
    ) -> None:
        self.queues: defaultdict[Sink, list[Any]] = defaultdict(list)
        self.signals: list[threading.Event] = []
        self.wake = threading.Event()
        self.hurry = threading.Event()
        self.idle = self.busy = False
        self.stopping = False
        self.broken_inode = 0
        self.rows_in = self.rows_done = 0
        self.bytes_in = self.bytes_done = 0
        self.rows_failed = 0
        self.inode = 0
        self._file = file
        self._settings = settings
        self._on_error = on_error
        self._chore = chore
        self._warned = False
        self._connection: sqlite3.Connection | None = None

    def run(self) -> None:
        """Sleep until rows come, let them gather, write them; until stopped and empty."""
        more = self._chore is not None
        while self._waiting() or not self.stopping:
            self.idle = True
            if not self._waiting() and not self.stopping and not more:  # asked once `idle` is set: no wake-up is lost
                self.wake.wait(self._settings.chore_s if self._chore is not None else None)
            self.idle = False
            self.wake.clear()
            if self.rows_in != self.rows_done:
                self.hurry.wait(self._settings.batch_s)
            self.hurry.clear()
            self.busy = True
            self.drain()
            self.busy = False
            more = not self.stopping and self._do_chore()
        self.disconnect()

    def drain(self) -> None:
        """Write all that is queued by now, at most `batch_rows` per transaction; then tell who waits for it."""
        signals = self.signals[:]  # first: what was queued before a signal is among the rows below
        bytes_in, left = self.bytes_in, self.rows_in - self.rows_done
        while left > 0:
            batch: dict[Sink, list[Any]] = {}
            room = self._settings.batch_rows
            for sink, queue in list(self.queues.items()):
                rows = queue[:room]
                if rows:
                    batch[sink] = rows
                    room -= len(rows)
            try:
                self._apply(batch)
            finally:
                for sink, rows in batch.items():
                    sink.written(rows)
                    del self.queues[sink][: len(rows)]
                    left -= len(rows)
                    self.rows_done += len(rows)
        self.bytes_done = bytes_in
        del self.signals[: len(signals)]
        for signal in signals:
            signal.set()

    def disconnect(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log into the file."""
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error as problem:
                self._warn(problem)
            self._connection = None

    def _waiting(self) -> bool:
        return self.rows_in != self.rows_done or bool(self.signals)

    def _apply(self, batch: dict[Sink, list[Any]]) -> None:
        """Write a batch in one transaction; if a row is at fault, halve it until that row is alone."""
        try:
            self._commit(batch)
        except (sqlite3.OperationalError, ConfigError) as problem:  # disk, lock, file: no row's fault
            self._give_up(batch, problem)
        except (sqlite3.Error, OverflowError, TypeError, ValueError, msgspec.MsgspecError) as problem:
            if is_corruption(problem):
                self.broken_inode = self.inode
                self._give_up(batch, problem)
            elif sum(map(len, batch.values())) == 1:
                self._give_up(batch, problem)
            else:
                for sink, rows in batch.items():
                    half = (len(rows) + 1) // 2
                    for part in (rows[:half], rows[half:]):
                        if part:
                            self._apply({sink: part})

    def _commit(self, batch: dict[Sink, list[Any]]) -> None:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sink, rows in batch.items():
                sink.write(connection, rows)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection:
        # One stat a transaction: SQLite would go on writing to a file that was removed or replaced, for nobody to read.
        if self._connection is None or self.broken_inode or self._file.inode() != self.inode:
            self.disconnect()
            self._connection = self._file.open(broken_inode=self.broken_inode)
            self.inode, self.broken_inode = self._file.inode(), 0
        return self._connection

    def _do_chore(self) -> bool:
        """Whether it wants to go on at once. Its failures are left to whoever next reads or writes."""
        if self._chore is None:
            return False
        try:
            return self._chore(self._connected())
        except (sqlite3.Error, ConfigError):
            return False

    def _give_up(self, batch: dict[Sink, list[Any]], problem: Exception) -> None:
        self.rows_failed += sum(map(len, batch.values()))
        self._warn(problem)

    def _warn(self, problem: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._on_error(f"{self._file.path} could not be written ({problem}); rows are dropped until it can.")
