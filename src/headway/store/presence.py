"""Which keys may be on disk: most misses are told without touching the file.

A Bloom filter of one probe and at least 16 bits per key (Bloom 1970): 3-6 % of absent keys look present, and cost the
read they would have cost anyway. It never calls absent what this process put; what other processes put counts as
absent until the writer's thread has looked, every `REFRESH_S`. When the thread does not come (it is starting, waits
for a lock, or was left behind by a fork), the filter goes out of use after `STALE_S`: that bounds the staleness.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable, Iterable

__all__ = ["REFRESH_S", "STALE_S", "KeyFilter", "Presence"]

REFRESH_S = 1.0
STALE_S = 3.0
_CHUNK = 20_000
_KEYS_MIN = 1 << 16  # 128 KiB
_KEYS_MAX = 1 << 23  # 16 MiB; beyond it more absent keys look present

_HASHES = (
    "SELECT count(*), max(id), max(key), group_concat(substr(hex(substr(key, 1, 8)) || '0000000000000000', 1, 16), '')"
    " FROM (SELECT id, key FROM entries WHERE {after} > ? ORDER BY {after} LIMIT ?)"
)
_BY_KEY = _HASHES.format(after="key")  # through the index of keys alone: the bodies are not read
_BY_ID = _HASHES.format(after="id")
_LAST_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), 0), (SELECT entries FROM state)"


class KeyFilter:
    """A Bloom filter of one probe. Keys are digests, so their first 8 bytes are their hash.

    Args:
        keys_max: For how many keys it is made; it works beyond, less well.
    """

    def __init__(self, keys_max: int) -> None:
        bits = 16 << (keys_max - 1).bit_length()
        self._bits = bytearray(bits >> 3)
        self._mask = bits - 1
        self.room = keys_max
        """Keys that may still be added before it should be made anew."""

    def __contains__(self, key: bytes) -> bool:
        bit = int.from_bytes(key[:8], "little") & self._mask
        return self._bits[bit >> 3] >> (bit & 7) & 1 == 1

    def add(self, hashes: Iterable[int]) -> None:
        """Add keys by their first 8 bytes, as little-endian integers."""
        bits, mask = self._bits, self._mask
        for hash_ in hashes:
            bits[(hash_ & mask) >> 3] |= 1 << (hash_ & 7)


class Presence:
    """Keeps a filter up to date. All but `absent` runs on the writer's thread.

    Args:
        now_s: A clock that never goes back.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._filter: KeyFilter | None = None
        self._next_s = self._until_s = 0.0
        self._loading: KeyFilter | None = None
        self._loaded_key = b""
        self._last_id = 0
        self._connection: sqlite3.Connection | None = None

    def absent(self, key: bytes) -> bool:
        """Whether the key is surely not on disk, but for what others put there in the last seconds."""
        keys = self._filter
        return keys is not None and key not in keys and self._now_s() < self._until_s

    def add(self, keys: Iterable[bytes]) -> None:
        """These were put by this process."""
        hashes = [int.from_bytes(key[:8], "little") for key in keys]
        for filter_ in (self._filter, self._loading):
            if filter_ is not None:
                filter_.add(hashes)

    def refresh(self, connection: sqlite3.Connection) -> bool:
        """Look for new keys, if it is time; True when there is more to look at at once."""
        now_s = self._now_s()
        if connection is not self._connection:  # perhaps another file
            self._connection = connection
            self._filter = self._loading = None
        if self._loading is not None:
            return self._load(connection, self._loading)
        if self._filter is None or self._filter.room < 0:
            self._last_id, entries = connection.execute(_LAST_ID).fetchone()
            self._loading = KeyFilter(min(max(2 * entries, _KEYS_MIN), _KEYS_MAX))
            self._loaded_key = b""
            return True
        if now_s < self._next_s:
            return False
        count, last_id, _, text = connection.execute(_BY_ID, (self._last_id, _CHUNK)).fetchone()
        if count:
            self._last_id = last_id
            self._filter.add(_hashes(count, text))
            self._filter.room -= count
        if count == _CHUNK:
            return True
        self._next_s, self._until_s = now_s + REFRESH_S, now_s + STALE_S
        return False

    def _load(self, connection: sqlite3.Connection, loading: KeyFilter) -> bool:
        """Read the next keys of all; what others put meanwhile is then found by its id."""
        count, _, last_key, text = connection.execute(_BY_KEY, (self._loaded_key, _CHUNK)).fetchone()
        if count:
            self._loaded_key = last_key
            loading.add(_hashes(count, text))
            loading.room -= count
        if count < _CHUNK:
            loading.room = max(loading.room, _KEYS_MIN // 2)
            self._filter, self._loading, self._next_s = loading, None, 0.0
        return True


def _hashes(count: int, text: str) -> tuple[int, ...]:
    return struct.unpack(f"<{count}Q", bytes.fromhex(text))
