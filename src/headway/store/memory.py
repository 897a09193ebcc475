"""The memory tier: whole answers in a dict, bounded in bytes by SIEVE."""

from __future__ import annotations

from headway.policy.sieve import Sieve
from headway.store.base import Entry, Parts, StoreStats
from headway.store.purging import Selection

__all__ = ["MemoryStore", "entry_bytes"]

# What an entry takes besides its text, rounded up from sys.getsizeof on 64-bit CPython: the struct, its
# floats, the key, the SIEVE node and two dict slots; and per header a tuple and two strings.
_ENTRY_BYTES = 800
_HEADER_BYTES = 170


def entry_bytes(entry: Entry) -> int:
    """The memory an entry accounts for: body, headers and a fixed overhead."""
    size_bytes = _ENTRY_BYTES + len(entry.body) + len(entry.pace)
    for name, value in entry.headers:
        size_bytes += _HEADER_BYTES + len(name) + len(value)
    return size_bytes


class MemoryStore:
    """A `Store` in this process's memory, at most `bytes_max` (> 0) by `entry_bytes`. For one event loop."""

    name = "memory"

    __slots__ = ("_entries", "_evictions", "_hits", "_misses", "_puts", "_sieve")

    def __init__(self, bytes_max: int) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._sieve: Sieve[bytes] = Sieve(bytes_max)
        self._hits = 0
        self._misses = 0
        self._puts = 0
        self._evictions = 0

    def get(self, key: bytes) -> Entry | None:
        """The entry, or None when absent. Does not judge freshness."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        self._sieve.touch(key)
        return entry

    def put(self, key: bytes, entry: Entry, parts: Parts | None = None) -> None:
        """Keep the entry, evicting others to stay under the bound; `parts` are the disk's business.

        One larger than the bound is refused, and what stood under its key is forgotten: it is out of date.
        """
        size_bytes = entry_bytes(entry)
        evicted = self._sieve.insert(key, size_bytes)
        if size_bytes > self._sieve.bytes_max:
            self._entries.pop(key, None)
            return
        self._puts += 1
        self._evictions += len(evicted)
        for old in evicted:
            del self._entries[old]
        self._entries[key] = entry

    def delete(self, key: bytes) -> None:
        """Forget the entry, if it is there."""
        if self._entries.pop(key, None) is not None:
            self._sieve.remove(key)

    def purge(self, selection: Selection) -> bool:
        """Forget what is selected."""
        for key in [key for key, entry in self._entries.items() if selection.matches(key, entry)]:
            self.delete(key)
        return True

    def tally(self, hits: int, misses: int, saved_dollars: float) -> None:
        """Nothing is kept for later processes."""

    def stats(self) -> StoreStats:
        """Counters since the store was opened, and its size now."""
        return StoreStats(
            hits=self._hits,
            misses=self._misses,
            puts=self._puts,
            evictions=self._evictions,
            entries=len(self._entries),
            bytes_used=self._sieve.bytes_used,
        )

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._entries.clear()
        self._sieve = Sieve(self._sieve.bytes_max)
