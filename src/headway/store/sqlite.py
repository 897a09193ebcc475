"""The disk tier: answers in one SQLite file that several processes may share, bounded in bytes.

Reads run inline on the caller's thread over a connection of their own; writes go through `SqliteWriter`, and
what it has not written yet is served from memory. Entries are msgpack, compressed with zstd where they are large;
nothing in the file is ever executed or unpickled.

Most misses are told by a filter in memory (`presence`). So an entry that *another* process puts is found after about
1 s, at the latest after 3 s; what this process puts is found at once. Inline there is no filter.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headway.store.base import Entry, Parts, StoreStats
from headway.store.database import DatabaseFile, is_corruption
from headway.store.entries import LAYOUT, ROW_BYTES, EntryCodec, EntryTable
from headway.store.presence import Presence
from headway.store.purging import Selection
from headway.store.writer import SqliteWriter, WriterSettings, log_warning

__all__ = ["EntryInfo", "SqliteStore"]

_GET = "SELECT id, codec, answer FROM entries WHERE key = ?"
_LIST = "SELECT key, size, codec, answer FROM entries ORDER BY id DESC LIMIT ?"
_STATE = "SELECT entries, bytes FROM state WHERE one = ?"
_TOUCHED_MAX = 4_096


class EntryInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One entry without its body."""

    key: bytes
    size_bytes: int
    """What it takes on disk."""
    entry: Entry
    """Its `body` is empty."""


class SqliteStore:
    """A `Store` on disk. For one event loop; any number of processes.

    Args:
        path: The database file; made with mode 0600, its directory with 0700.
        bytes_max: Bound on what the entries take, > 0. The file may be larger by its indexes and free pages.
        writer: Bounds and pace of the writer; `inline` under virtual time.
        wall_s: Calendar time in Unix seconds: expired entries are the first to go.
        on_error: Told one sentence when the file fails; once per writer or reader.

    Raises:
        ConfigError: The path cannot be written, or the file is another program's or a newer Headway's.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        bytes_max: int,
        *,
        writer: WriterSettings | None = None,
        wall_s: Callable[[], float] = time.time,
        on_error: Callable[[str], None] = log_warning,
    ) -> None:
        self._file = DatabaseFile(Path(path), LAYOUT, on_error)
        self._file.open().close()
        self._bytes_max = bytes_max
        self._wall_s = wall_s
        self._on_error = on_error
        self._codec = EntryCodec()
        self._presence = Presence()
        self._table = EntryTable(bytes_max, wall_s, self._presence)
        self._writer = SqliteWriter(self._file, writer, on_error=on_error, chore=self._presence.refresh)
        self._reader: sqlite3.Connection | None = None
        self._readers_forked: list[sqlite3.Connection] = []
        self._inode = self._broken_inode = 0
        self._forks = 0
        self._warned = self._closed = False
        self._hits = self._misses = self._puts = 0

    @property
    def dropped(self) -> int:
        """Puts and deletes that were never written: the queue was full, or the disk refused."""
        return self._writer.dropped

    def get(self, key: bytes) -> Entry | None:
        """The entry, or None when absent or unreadable. Does not judge freshness."""
        row = self._table.pending.get(key)
        entry = row[1] if row is not None else self._read(key)
        if entry is None:
            self._misses += 1
        else:
            self._hits += 1
        return entry

    def put(self, key: bytes, entry: Entry, parts: Parts | None = None) -> None:
        """Keep the entry and its key's parts, evicting others to stay under the bound.

        One larger than the bound is refused, and what stood under its key is forgotten: it is out of date.
        """
        size_bytes = len(entry.body) + len(entry.pace) + ROW_BYTES
        if size_bytes > self._bytes_max:
            self.delete(key)
        elif self._write(key, entry, size_bytes, parts):
            self._puts += 1

    def delete(self, key: bytes) -> None:
        """Forget the entry, if it is there."""
        self._write(key, None, ROW_BYTES)

    def tally(self, hits: int, misses: int, saved_dollars: float) -> None:
        """Add to the counts that the file keeps of all processes; written with the next batch."""
        tally = self._table.tally
        tally[0] += hits
        tally[1] += misses
        tally[2] += saved_dollars

    def purge(self, selection: Selection | None = None) -> bool:
        """Delete what is selected, by default everything; free pages go back to the disk.

        Waits for the writer; False when it did not get to it within 10 s.
        """
        self._writer.flush()
        return self._writer.submit(self._table.purging, selection or Selection()) and self._writer.flush()

    def list(self, limit: int = 100) -> Sequence[EntryInfo]:
        """The youngest entries on disk, at most `limit`."""
        infos = []
        for key, size, codec, answer in self._query(_LIST, limit):
            entry = self._codec.unpack(codec, answer)
            if entry is not None:
                bare = msgspec.structs.replace(entry, body=b"")
                infos.append(EntryInfo(key=key, size_bytes=size, entry=bare))
        return infos

    def stats(self) -> StoreStats:
        """Counters of this process since it opened the store, and the size on disk (without the queue)."""
        state = self._query(_STATE, 1)
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            puts=self._puts,
            evictions=self._table.evictions,
            entries=state[0][0] if state else 0,
            bytes_used=state[0][1] if state else 0,
        )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was put so far is on disk (or given up); False when that took longer."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what is pending and let go. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._forks == self._writer.forks:
            if self._table.touched or any(self._table.tally):
                self._writer.submit(self._table, None)  # the next process will want to know what was used
            self._disconnect()  # first: only a writing connection, closing last, folds the log in
            self._writer.close()

    def _write(self, key: bytes, entry: Entry | None, size_bytes: int, parts: Parts | None = None) -> bool:
        if self._forks != self._writer.forks:
            self._forked()
        row = (key, entry, parts)
        self._table.queue(row)
        if self._writer.submit(self._table, row, size_bytes):
            return True
        self._table.written([row])
        return False

    def _read(self, key: bytes) -> Entry | None:
        rows = () if self._presence.absent(key) else self._query(_GET, key)
        if not rows:
            return None
        id_, codec, answer = rows[0]
        touched = self._table.touched
        if id_ not in touched:
            if len(touched) < _TOUCHED_MAX:
                touched[id_] = None
            if len(touched) == _TOUCHED_MAX:
                self._writer.submit(self._table, None)
        return self._codec.unpack(codec, answer)

    def _query(self, sql: str, value: bytes | int) -> Sequence[Any]:
        """Run one read; whatever is wrong with the file, a cache has nothing to say then."""
        if self._forks != self._writer.forks:
            self._forked()
        reader = self._reader
        try:
            if reader is None or self._inode != (self._writer.inode or self._inode):
                reader = self._connect()
            return reader.execute(sql, (value,)).fetchall() if reader is not None else []
        except sqlite3.Error as problem:
            self._disconnect()
            if is_corruption(problem):
                self._broken_inode = self._inode
                self._writer.replace(self._inode)
            if not self._warned:
                self._warned = True
                self._on_error(f"{self._file.path} could not be read ({problem}); reads miss until it can.")
            return []

    def _connect(self) -> sqlite3.Connection | None:
        """Open the read connection; None while there is no file, or a broken one is being replaced."""
        self._disconnect()
        inode = self._file.inode()
        if self._closed or inode in (0, self._broken_inode):
            return None
        self._writer.start()  # it keeps the filter up to date
        self._reader, self._inode = self._file.open_to_read(), inode
        return self._reader

    def _disconnect(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _forked(self) -> None:
        """In a forked child: the parent keeps its connection and writes its queue; we start afresh."""
        self._forks = self._writer.forks
        if self._reader is not None:
            self._readers_forked.append(self._reader)
            self._reader = None
        self._table = EntryTable(self._bytes_max, self._wall_s, self._presence)
