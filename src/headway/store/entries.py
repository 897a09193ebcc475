"""The disk tier's table: how an entry becomes a row, and which rows must go.

Eviction is SIEVE (see `policy.sieve`) over the rows' ids, with the visited bits as rows of `hits`: marking a
hit does not rewrite a body. The totals are kept with every write, by triggers where rows change or go, so that
several processes agree on them. Ids are never used twice: who has seen the last one knows what is new.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from headway.store.base import Entry, Parts
from headway.store.bulk import BULK_ROWS, BulkInsert
from headway.store.database import Layout
from headway.store.presence import Presence
from headway.store.purging import Purging

__all__ = ["LAYOUT", "ROW_BYTES", "EntryCodec", "EntryTable"]

ROW_BYTES = 256
"""What a row accounts for besides its answer: key, index entries, state, page overhead."""

# Of a smaller answer compression takes 6 us to save 30 % of a page's sixth, and 2.4 us again with every hit.
_COMPRESS_MIN_BYTES = 1024
_BODY_BYTES_MAX = 1024 * 1024 * 1024  # a frame that claims more is damaged
_RAW, _ZSTD = 0, 1
_EXPIRED_CHUNK = 1_000
_SCAN_CHUNK = 2_000

LAYOUT = Layout(
    kind="cache",
    application_id=0x48574331,  # "HWC1"
    version=3,
    older="drop",
    schema=(
        """CREATE TABLE entries (
            id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,
            stored REAL NOT NULL, stale_until REAL NOT NULL, model TEXT NOT NULL, parts BLOB NOT NULL,
            codec INTEGER NOT NULL, answer BLOB NOT NULL)""",
        "CREATE INDEX entries_stale_until ON entries (stale_until)",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY)",
        """CREATE TABLE state (
            one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER, bytes INTEGER, hand INTEGER,
            hits INTEGER, misses INTEGER, saved_dollars REAL)""",
        "INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0)",
        """CREATE TRIGGER entries_update AFTER UPDATE OF size ON entries BEGIN
            UPDATE state SET bytes = bytes + new.size - old.size; END""",
        """CREATE TRIGGER entries_delete AFTER DELETE ON entries BEGIN
            UPDATE state SET entries = entries - 1, bytes = bytes - old.size;
            DELETE FROM hits WHERE id = old.id; END""",
    ),
)

_PUT = BulkInsert(
    "INSERT INTO entries (key, size, stored, stale_until, model, parts, codec, answer)",
    8,
    "ON CONFLICT (key) DO UPDATE SET size = excluded.size, stored = excluded.stored,"
    " stale_until = excluded.stale_until, model = excluded.model, parts = excluded.parts,"
    " codec = excluded.codec, answer = excluded.answer",
)
_LAST_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), 0)"
_COUNT = (
    "UPDATE state SET entries = entries + (SELECT count(*) FROM entries WHERE id > ?1),"
    " bytes = bytes + (SELECT coalesce(sum(size), 0) FROM entries WHERE id > ?1)"
)
_TOUCH = (
    "INSERT OR IGNORE INTO hits SELECT entries.id FROM json_each(?) CROSS JOIN entries ON entries.id = json_each.value"
)
_EXPIRE = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE stale_until < ? ORDER BY stale_until LIMIT ?)"
# How far the hand must go: to the first row by which enough unvisited bytes lie behind it, else to the chunk's end.
_SCAN = """
    WITH chunk AS (SELECT entries.id AS id, CASE WHEN hits.id IS NULL THEN size ELSE 0 END AS size
        FROM entries LEFT JOIN hits ON hits.id = entries.id WHERE entries.id > ?1 ORDER BY entries.id LIMIT ?3),
    freed AS (SELECT id, sum(size) OVER (ORDER BY id) AS bytes FROM chunk)
    SELECT coalesce((SELECT min(id) FROM freed WHERE bytes >= ?2), (SELECT max(id) FROM chunk))"""
_DOOM = "DELETE FROM entries WHERE id > ? AND id <= ? AND id NOT IN (SELECT id FROM hits)"
_SPARE = "DELETE FROM hits WHERE id > ? AND id <= ?"

_TALLY = "UPDATE state SET hits = hits + ?, misses = misses + ?, saved_dollars = saved_dollars + ?"

Row: TypeAlias = tuple[bytes, Entry | None, Parts | None]
"""A key, its entry (None deletes it), and what makes the digests of the key's parts."""


class EntryCodec:
    """Entries to (codec, bytes) and back: msgpack, compressed from 1 KiB on. zstandard is imported on first use.

    Args:
        body_bytes_max: What claims to be larger than this when it is unpacked is taken for damaged.
    """

    def __init__(self, *, body_bytes_max: int = _BODY_BYTES_MAX) -> None:
        self._body_bytes_max = body_bytes_max
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Entry).decode
        self._compress: Callable[[list[bytes]], list[bytes]] | None = None
        self._decompress: Callable[[bytes], bytes | None] | None = None

    def pack(self, entries: list[Entry]) -> list[tuple[int, bytes]]:
        """(codec, bytes) of each; compressed where that makes it smaller."""
        encode = self._encode
        packed = [(_RAW, encode(entry)) for entry in entries]
        large = [at for at, (_, whole) in enumerate(packed) if len(whole) >= _COMPRESS_MIN_BYTES]
        if large:
            if self._compress is None:
                self._compress = _compressor()
            for at, small in zip(large, self._compress([packed[at][1] for at in large]), strict=True):
                if len(small) < len(packed[at][1]):
                    packed[at] = (_ZSTD, small)
        return packed

    def unpack(self, codec: int, answer: bytes) -> Entry | None:
        """The entry; None when the row cannot be read."""
        whole = answer if codec == _RAW else self._inflate(answer)
        if whole is None or codec not in (_RAW, _ZSTD):
            return None
        try:
            return self._decode(whole)
        except msgspec.MsgspecError:
            return None

    def _inflate(self, answer: bytes) -> bytes | None:
        if self._decompress is None:
            self._decompress = _decompressor(self._body_bytes_max)
        return self._decompress(answer)


class EntryTable:
    """The sink that puts, deletes and evicts, and holds what is not written yet.

    Args:
        bytes_max: Bound on the sum of the rows' sizes.
        wall_s: Unix seconds.
        presence: Told what was put.
    """

    def __init__(self, bytes_max: int, wall_s: Callable[[], float], presence: Presence) -> None:
        self.pending: dict[bytes, Row] = {}
        self.touched: dict[int, None] = {}
        self.tally = [0, 0, 0.0]
        """Hits, misses and dollars saved that are not written yet."""
        self.evictions = 0
        self.purging = Purging()
        self._bytes_max = bytes_max
        self._wall_s = wall_s
        self._presence = presence
        self._codec = EntryCodec()
        self._lock = threading.Lock()

    def queue(self, row: Row) -> None:
        """Serve this row from memory until it is written."""
        with self._lock:
            self.pending[row[0]] = row

    def written(self, rows: list[Row | None]) -> None:
        """Forget the rows that no later one has replaced."""
        puts = [row for row in rows if row is not None]
        self._presence.add([row[0] for row in puts])  # first: it must not be absent for a moment
        pending, lock = self.pending, self._lock
        for row in puts:
            with lock:  # per row: the event loop waits for it
                if pending.get(row[0]) is row:
                    del pending[row[0]]

    def write(self, connection: sqlite3.Connection, rows: list[Row | None]) -> None:
        """Apply the last row of each key, note the hits (a None row asks for that only), then evict."""
        last = {row[0]: row for row in rows if row is not None}
        deleted = [(key,) for key, entry, _ in last.values() if entry is None]
        if deleted:
            connection.executemany("DELETE FROM entries WHERE key = ?", deleted)
        puts = [(key, entry, parts) for key, entry, parts in last.values() if entry is not None]
        if puts:
            (last_id,) = connection.execute(_LAST_ID).fetchone()
            for start in range(0, len(puts), BULK_ROWS):
                _PUT.execute(connection, self._values(puts[start : start + BULK_ROWS]))
            connection.execute(_COUNT, (last_id,))
        ids = list(self.touched)
        if ids:
            connection.execute(_TOUCH, (str(ids),))
        for id_ in ids:
            self.touched.pop(id_, None)
        tally, self.tally = self.tally, [0, 0, 0.0]
        if any(tally):
            connection.execute(_TALLY, tally)
        self._evict(connection)

    def _values(self, puts: list[tuple[bytes, Entry, Parts | None]]) -> list[object]:
        values: list[object] = []
        packed = self._codec.pack([entry for _, entry, _ in puts])
        for (key, entry, parts), (codec, answer) in zip(puts, packed, strict=True):
            told = bytearray(parts()) if parts is not None else bytearray()
            size = len(answer) + len(told) + ROW_BYTES
            values += (bytearray(key), size, entry.stored_wall_s, entry.stale_until_wall_s, entry.model, told)
            values += (codec, bytearray(answer))
        return values

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Bring the table under its bound: expired entries go first, then those the hand finds unvisited."""
        count, bytes_used, hand = connection.execute("SELECT entries, bytes, hand FROM state").fetchone()
        if bytes_used <= self._bytes_max:
            return
        connection.execute(_EXPIRE, (self._wall_s(), _EXPIRED_CHUNK))
        while True:
            left, bytes_used = connection.execute("SELECT entries, bytes FROM state").fetchone()
            if bytes_used <= self._bytes_max or not left:
                break
            (until,) = connection.execute(_SCAN, (hand, bytes_used - self._bytes_max, _SCAN_CHUNK)).fetchone()
            if until is None:  # past the youngest: round again
                if hand == 0:
                    break
                hand = 0
                continue
            connection.execute(_DOOM, (hand, until))
            connection.execute(_SPARE, (hand, until))
            hand = until
        connection.execute("UPDATE state SET hand = ?", (hand,))
        self.evictions += count - left


def _compressor() -> Callable[[list[bytes]], list[bytes]]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=3)
    if "multi_compress_to_buffer" not in zstandard.backend_features:
        return lambda parts: [compressor.compress(part) for part in parts]

    def compress(parts: list[bytes]) -> list[bytes]:
        # On this thread, but with the interpreter lock released once for all.
        segments = compressor.multi_compress_to_buffer([*parts])
        return [segments[at].tobytes() for at in range(len(segments))]

    return compress


def _decompressor(body_bytes_max: int) -> Callable[[bytes], bytes | None]:
    import zstandard

    decompress, size_of = zstandard.ZstdDecompressor().decompress, zstandard.frame_content_size

    def inflate(body: bytes) -> bytes | None:
        try:
            return decompress(body) if 0 <= size_of(body) <= body_bytes_max else None
        except zstandard.ZstdError:
            return None

    return inflate
