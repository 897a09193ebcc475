"""One thread that owns the write connection, fed by a bounded queue: writing never waits for the disk.

Under virtual time threads are banned; `inline` makes the same batches run on the caller's thread. What does
not fit into the queue, and what the disk refuses, is dropped and counted: a cache may forget, and a log must
not stop the calls it records.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from headway.store.database import DatabaseFile
from headway.store.work import Chore, Sink, Work, WriterSettings

__all__ = ["SqliteWriter", "WriterSettings", "log_warning"]

# A waiting thread gets the interpreter lock when it has waited 5 ms *at a stretch*. A loop that is never idle, but
# looks at its sockets more often than that, begins the wait anew each time without leaving time to take the lock
# (measured: 50,000 rows queued and none written in 4 s). Where that matters, `handover_s` is the way out.
_HANDOVER_ROWS = 128
_BEHIND_ROWS = 2_048
_CLOSE_S = 10.0


def log_warning(message: str) -> None:
    """The default `on_error`: one line to the standard logger ``headway.store``."""
    logging.getLogger("headway.store").warning("%s", message)


class SqliteWriter:
    """Batches rows into transactions on one connection, in a thread started by the first row. For one event loop.

    Args:
        file: What to open, on the thread that writes.
        settings: Bounds and pace.
        on_error: Told one sentence, once, from the thread that writes, when writing first fails.
        chore: What else the thread does with the connection, now and then; never where the writer is inline.
        forked: Told in a child that was forked off this process, where nothing is queued any more.
    """

    def __init__(
        self,
        file: DatabaseFile,
        settings: WriterSettings | None = None,
        *,
        on_error: Callable[[str], None] = log_warning,
        chore: Chore | None = None,
        forked: Callable[[], None] | None = None,
    ) -> None:
        self._file = file
        self._told = forked
        self._settings = settings or WriterSettings()
        self._on_error = on_error
        self._chore = chore
        self._work = Work(file, self._settings, on_error, chore)
        self._rows_max = self._settings.queue_rows_max
        self._bytes_max = self._settings.queue_bytes_max
        self._inline = self._settings.inline
        self._handover_s = self._settings.handover_s
        self._started = self._closed = False
        self._overflowed = 0
        self._stop: Callable[[], object] | None = None
        self._forked: list[Work] = []
        self.forks = 0
        """How often this process has been forked off another since the writer was made."""
        if hasattr(os, "register_at_fork"):
            # Cheaper than asking for the process id with every row (0.2 us). The hook stays for good, hence weak.
            os.register_at_fork(after_in_child=partial(_in_child, weakref.ref(self)))

    @property
    def dropped(self) -> int:
        """Rows given up so far: the queue was full, the writer closed, or the disk refused them."""
        return self._overflowed + self._work.rows_failed

    @property
    def queued(self) -> int:
        """Rows that wait to be written, or are being written."""
        return self._work.rows_in - self._work.rows_done

    @property
    def inode(self) -> int:
        """Which file is written to; 0 before the first write."""
        return self._work.inode

    def submit(self, sink: Sink, row: Any, size_bytes: int = 0) -> bool:
        """Queue one row (about 0.3 us); False when it was dropped. Never waits (but see `handover_s`)."""
        if not self._started:
            self.start()
        work = self._work
        if (
            work.rows_in - work.rows_done >= self._rows_max
            or work.bytes_in - work.bytes_done + size_bytes > self._bytes_max
            or self._closed
        ):
            self._overflowed += 1
            return False
        work.queues[sink].append(row)
        work.rows_in += 1
        work.bytes_in += size_bytes
        if work.idle:
            work.idle = False
            work.wake.set()
        elif self._inline:
            self._drain_if_due()
        elif self._handover_s and work.busy and not work.rows_in % _HANDOVER_ROWS and self.queued > _BEHIND_ROWS:
            time.sleep(self._handover_s)
        return True

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until all that is queued is written or given up; False after `timeout_s`."""
        if not self._started or self._closed:
            return True  # nothing of this process's is queued
        if self._settings.inline:
            self._work.drain()
            return True
        return self._signal().wait(timeout_s)

    def replace(self, broken_inode: int) -> None:
        """Have the thread set a broken file aside and go on with a new one."""
        if self._closed:
            return
        self.start()
        self._work.broken_inode = broken_inode
        if not self._settings.inline:
            self._signal()

    def close(self) -> None:
        """Write what is queued (for at most 10 s) and end the thread. Idempotent; also runs at exit."""
        if self._closed:
            return
        self._closed = True
        if self._started and self._stop is not None:
            self._stop()

    def start(self) -> None:
        """Start the thread, if it is not running: for its chore; rows start it by themselves."""
        if self._started or self._closed:
            return
        self._started = True
        thread = None
        if not self._settings.inline:
            thread = threading.Thread(target=self._work.run, name="headway-sqlite-writer", daemon=True)
            thread.start()
        # Also runs when the writer is collected unclosed, and at exit; the thread holds no reference to the
        # writer.
        self._stop = weakref.finalize(self, _stop, self._work, thread, os.getpid())

    def _drain_if_due(self) -> None:
        work = self._work
        if self.queued >= self._settings.batch_rows or work.bytes_in - work.bytes_done >= self._bytes_max // 4:
            work.drain()

    def _signal(self) -> threading.Event:
        done = threading.Event()
        self._work.signals.append(done)
        self._work.hurry.set()
        self._work.wake.set()
        return done

    def start_afresh(self) -> None:
        """After a fork: the parent writes what it had queued, over its own connection; the child starts afresh."""
        self._forked.append(self._work)  # closing its connection here would release nothing and harm
        self._work = Work(self._file, self._settings, self._on_error, self._chore)
        self._started = False
        self.forks += 1
        if self._told is not None:
            self._told()


def _in_child(reference: weakref.ref[SqliteWriter]) -> None:
    writer = reference()
    if writer is not None:
        writer.start_afresh()


def _stop(work: Work, thread: threading.Thread | None, pid: int) -> None:
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
