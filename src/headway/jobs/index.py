"""Which line a row's key has, for many millions of keys: about 18 bytes a key where a dict takes 200."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable

__all__ = ["Index"]

_SHARDS = 4096
"""Sorted runs; at ten million keys an insertion moves some 20 KB of memory, half a microsecond."""
_BITS = (1 << 64) - 1


class Index:
    """A map from texts to numbers of at least 0. Keys are known by 64 bits of their hash, in sorted runs.

    Args:
        same: `same(value, key)` says whether `value` was put for this very key; it is asked where hashes are
            equal, so that two keys with one hash are told apart. Without it they count as one key.
    """

    def __init__(self, same: Callable[[int, str], bool] | None = None) -> None:
        self._same = same
        self._hashes: list[array[int]] = [array("Q") for _ in range(_SHARDS)]
        self._values: list[array[int]] = [array("q") for _ in range(_SHARDS)]

    def get(self, key: str) -> int:
        """The key's number; -1 when it has none."""
        shard, bits, at = self._place(key)
        found = self._found(shard, bits, at, key)
        return self._values[shard][found] if found >= 0 else -1

    def put(self, key: str, value: int) -> None:
        """Set the key's number, in place of an earlier one."""
        shard, bits, at = self._place(key)
        found = self._found(shard, bits, at, key)
        if found >= 0:
            self._values[shard][found] = value
        else:
            self._hashes[shard].insert(at, bits)
            self._values[shard].insert(at, value)

    def count(self, key: str) -> int:
        """How often it was counted before; for an index of counts."""
        shard, bits, at = self._place(key)
        found = self._found(shard, bits, at, key)
        if found >= 0:
            before = self._values[shard][found]
            self._values[shard][found] = before + 1
            return before
        self._hashes[shard].insert(at, bits)
        self._values[shard].insert(at, 1)
        return 0

    def __len__(self) -> int:
        return sum(map(len, self._hashes))

    def _place(self, key: str) -> tuple[int, int, int]:
        """The key's shard, its bits, and where in the shard they are or would be."""
        bits = hash(key) & _BITS
        shard = bits % _SHARDS
        return shard, bits, bisect_left(self._hashes[shard], bits)

    def _found(self, shard: int, bits: int, at: int, key: str) -> int:
        """Where the key is in its shard, among those of its hash; -1 when it is not there."""
        hashes = self._hashes[shard]
        while at < len(hashes) and hashes[at] == bits:
            if self._same is None or self._same(self._values[shard][at], key):
                return at
            at += 1
        return -1
