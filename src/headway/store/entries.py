"""The disk tier's table: how an entry becomes a row, and which rows must go.

Eviction is SIEVE (see `policy.sieve`) over the rows' ids, with the visited bits as rows of `hits`: marking a
hit does not rewrite a body. Triggers keep the totals, so that several processes agree on them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from headway.store.base import Entry
from headway.store.database import Layout

__all__ = ["LAYOUT", "ROW_BYTES", "EntryCodec", "EntryTable"]

ROW_BYTES = 256
"""What a row accounts for besides its text: key, index entries, state, page overhead."""

_COMPRESS_MIN_BYTES = 256
_BODY_BYTES_MAX = 1024 * 1024 * 1024  # a frame that claims more is damaged
_RAW, _ZSTD = 0, 1
_EXPIRED_CHUNK = 1_000
_SCAN_CHUNK = 200

LAYOUT = Layout(
    kind="cache",
    application_id=0x48574331,  # "HWC1"
    version=1,
    older="drop",
    schema=(
        """CREATE TABLE entries (
            id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
            stale_until REAL NOT NULL, codec INTEGER NOT NULL, meta BLOB NOT NULL, body BLOB NOT NULL)""",
        "CREATE INDEX entries_stale_until ON entries (stale_until)",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY)",
        """CREATE TABLE state (
            one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER, bytes INTEGER, hand INTEGER)""",
        "INSERT INTO state VALUES (1, 0, 0, 0)",
        """CREATE TRIGGER entries_insert AFTER INSERT ON entries BEGIN
            UPDATE state SET entries = entries + 1, bytes = bytes + new.size; END""",
        """CREATE TRIGGER entries_update AFTER UPDATE OF size ON entries BEGIN
            UPDATE state SET bytes = bytes + new.size - old.size; END""",
        """CREATE TRIGGER entries_delete AFTER DELETE ON entries BEGIN
            UPDATE state SET entries = entries - 1, bytes = bytes - old.size;
            DELETE FROM hits WHERE id = old.id; END""",
    ),
)

_PUT = (
    "INSERT INTO entries (key, size, stale_until, codec, meta, body) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET size = excluded.size, stale_until = excluded.stale_until,"
    " codec = excluded.codec, meta = excluded.meta, body = excluded.body"
)
_TOUCH = "INSERT OR IGNORE INTO hits SELECT id FROM entries WHERE id = ?"
_EXPIRE = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE stale_until < ? ORDER BY stale_until LIMIT ?)"
_SCAN = (
    "SELECT entries.id, size, hits.id FROM entries LEFT JOIN hits ON hits.id = entries.id"
    " WHERE entries.id > ? ORDER BY entries.id LIMIT ?"
)

Row: TypeAlias = tuple[bytes, Entry | None]
"""A key and its entry; None deletes it."""


class EntryCodec:
    """Entries to (codec, meta, body) and back. For one thread; zstandard is imported on first use."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Entry).decode
        self._compress: Callable[[bytes], bytes] | None = None
        self._decompress: Callable[[bytes], bytes | None] | None = None

    def pack(self, entry: Entry) -> tuple[int, bytes, bytes]:
        """(codec, meta, body); bodies of 256 bytes and more are compressed where that makes them smaller."""
        body = entry.body
        meta = self._encode(msgspec.structs.replace(entry, body=b""))
        if len(body) < _COMPRESS_MIN_BYTES:
            return _RAW, meta, body
        if self._compress is None:
            import zstandard

            self._compress = zstandard.ZstdCompressor(level=3).compress
        small = self._compress(body)
        return (_ZSTD, meta, small) if len(small) < len(body) else (_RAW, meta, body)

    def unpack(self, codec: int, meta: bytes, body: bytes) -> Entry | None:
        """The entry; None when the row cannot be read."""
        whole = body if codec == _RAW else self._inflate(body)
        if whole is None or codec not in (_RAW, _ZSTD):
            return None
        try:
            return msgspec.structs.replace(self._decode(meta), body=whole)
        except msgspec.MsgspecError:
            return None

    def _inflate(self, body: bytes) -> bytes | None:
        if self._decompress is None:
            self._decompress = _decompressor()
        return self._decompress(body)


class EntryTable:
    """The sink that puts, deletes and evicts, and holds what is not written yet.

    Args:
        bytes_max: Bound on the sum of the rows' sizes.
        wall_s: Unix seconds.
    """

    def __init__(self, bytes_max: int, wall_s: Callable[[], float]) -> None:
        self.pending: dict[bytes, Row] = {}
        self.touched: dict[int, None] = {}
        self.evictions = 0
        self.purging = Purging()
        self._bytes_max = bytes_max
        self._wall_s = wall_s
        self._codec = EntryCodec()
        self._lock = threading.Lock()

    def queue(self, row: Row) -> None:
        """Serve this row from memory until it is written."""
        with self._lock:
            self.pending[row[0]] = row

    def written(self, rows: list[Row | None]) -> None:
        """Forget the rows that no later one has replaced."""
        with self._lock:
            for row in rows:
                if row is not None and self.pending.get(row[0]) is row:
                    del self.pending[row[0]]

    def write(self, connection: sqlite3.Connection, rows: list[Row | None]) -> None:
        """Apply the last row of each key, note the hits (a None row asks for that only), then evict."""
        last = {row[0]: row[1] for row in rows if row is not None}
        connection.executemany(_PUT, self._packed(last))
        connection.executemany(
            "DELETE FROM entries WHERE key = ?", [(key,) for key, entry in last.items() if entry is None]
        )
        ids = list(self.touched)
        connection.executemany(_TOUCH, [(id_,) for id_ in ids])
        for id_ in ids:
            self.touched.pop(id_, None)
        self._evict(connection)

    def _packed(self, last: dict[bytes, Entry | None]) -> Iterator[tuple[Any, ...]]:
        for key, entry in last.items():
            if entry is not None:
                codec, meta, body = self._codec.pack(entry)
                size = len(meta) + len(body) + ROW_BYTES
                yield key, size, entry.stale_until_wall_s, codec, meta, body

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Bring the table under its bound: expired entries go first, then those the hand finds unvisited."""
        count, bytes_used, hand = connection.execute("SELECT entries, bytes, hand FROM state").fetchone()
        if bytes_used <= self._bytes_max:
            return
        connection.execute(_EXPIRE, (self._wall_s(), _EXPIRED_CHUNK))
        ((left_bytes),) = connection.execute("SELECT bytes FROM state").fetchone()
        while left_bytes > self._bytes_max:
            rows = connection.execute(_SCAN, (hand, _SCAN_CHUNK)).fetchall()
            if not rows and hand == 0:
                break
            spared: list[tuple[int]] = []
            doomed: list[tuple[int]] = []
            for id_, size, visited in rows:
                (doomed if visited is None else spared).append((id_,))
                left_bytes -= size if visited is None else 0
                if left_bytes <= self._bytes_max:
                    break
            connection.executemany("DELETE FROM hits WHERE id = ?", spared)
            connection.executemany("DELETE FROM entries WHERE id = ?", doomed)
            hand = max(spared[-1:] + doomed[-1:])[0] if rows else 0
        connection.execute("UPDATE state SET hand = ?", (hand,))
        self.evictions += count - connection.execute("SELECT entries FROM state").fetchone()[0]


class Purging:
    """The sink that empties the table: a row is a time, and what expired before it goes; None is all."""

    def write(self, connection: sqlite3.Connection, rows: list[float | None]) -> None:
        """Delete; the freed pages are given back to the disk."""
        for before_wall_s in rows:
            if before_wall_s is None:
                connection.execute("DELETE FROM entries")
            else:
                connection.execute("DELETE FROM entries WHERE stale_until < ?", (before_wall_s,))
        (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
        for _ in range(pages):  # the pragma frees a page per step, and the sqlite3 module steps it only once
            connection.execute("PRAGMA incremental_vacuum")

    def written(self, rows: list[float | None]) -> None:
        """Nothing waits for it."""


def _decompressor() -> Callable[[bytes], bytes | None]:
    import zstandard

    decompress, size_of = zstandard.ZstdDecompressor().decompress, zstandard.frame_content_size

    def inflate(body: bytes) -> bytes | None:
        try:
            return decompress(body) if 0 <= size_of(body) <= _BODY_BYTES_MAX else None
        except zstandard.ZstdError:
            return None

    return inflate
