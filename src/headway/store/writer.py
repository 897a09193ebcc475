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
from typing import Any

from headway.store.database import DatabaseFile
from headway.store.work import Signal, Sink, Work, WriterSettings

__all__ = ["SqliteWriter", "WriterSettings", "log_warning"]

# A loop that is never idle starves every other thread of the interpreter lock (measured: 40,000 rows queued
# and none written). Past this backlog every 256th submit sleeps, longer the longer the backlog (at most 5 ms
# by default): that hands the lock over.
_BACKLOG_ROWS = 1_024
_HANDOVER_ROWS = 256
_HANDOVER_S = 0.0005
_CLOSE_S = 10.0


def log_warning(message: str) -> None:
    """The default `on_error`: one line to the standard logger ``headway.store``."""
    logging.getLogger("headway.store").warning("%s", message)


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
        self._work = Work(file, self._settings, on_error)
        self._pid = 0
        self._overflowed = 0
        self._rows_submitted = 0
        self._bytes_submitted = 0
        self._closed = False
        self._stop: Callable[[], object] | None = None
        self._forked: list[Work] = []

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
        """Queue one row (about 0.5 us); False when it was dropped. Never waits for the disk."""
        if self._pid != os.getpid():
            self._start()
        work, settings = self._work, self._settings
        waiting = len(work.queue)
        self._rows_submitted += 1
        if waiting > _BACKLOG_ROWS and not self._rows_submitted % _HANDOVER_ROWS and not settings.inline:
            time.sleep(_HANDOVER_S * waiting / _BACKLOG_ROWS)
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
            work.idle = False
            work.wake.set()
        return True

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until all that is queued is written or given up; False after `timeout_s`."""
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
        """Write what is queued (for at most 10 s) and end the thread. Idempotent; also runs at exit."""
        if self._closed:
            return
        self._closed = True
        if self._pid == os.getpid() and self._stop is not None:
            self._stop()

    def _signal(self) -> threading.Event:
        done = threading.Event()
        self._work.queue.append((Signal(done), None, 0))
        self._work.hurry.set()
        self._work.wake.set()
        return done

    def _start(self) -> None:
        """On first use, and again in a forked child: the parent writes what it had queued when it forked."""
        if self._pid:
            self._forked.append(self._work)  # the parent's connection: closing it here would release nothing and harm
            self._work = Work(self._file, self._settings, self._on_error)
            self._bytes_submitted = 0
        self._pid = os.getpid()
        thread = None
        if not self._settings.inline:
            thread = threading.Thread(target=self._work.run, name="headway-sqlite-writer", daemon=True)
            thread.start()
        # Also runs when the writer is collected unclosed, and at exit; the thread holds no reference to the
        # writer.
        self._stop = weakref.finalize(self, _stop, self._work, thread, self._pid)


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
