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
        self._shards: dict[int, tuple[array[int], array[int]]] = {}  # hashes in order, and their values

    def get(self, key: str) -> int:
        """The key's number; -1 when it has none."""
        if not self._shards:
            return -1
        found, at, _, values = self._find(key)
        return values[at] if found else -1

    def put(self, key: str, value: int) -> None:
        """Set the key's number, in place of an earlier one."""
        found, at, hashes, values = self._find(key)
        if found:
            values[at] = value
        else:
            hashes.insert(at, hash(key) & _BITS)
            values.insert(at, value)

    def count(self, key: str) -> int:
        """How often it was counted before; for an index of counts."""
        found, at, hashes, values = self._find(key)
        if found:
            values[at] += 1
            return values[at] - 1
        hashes.insert(at, hash(key) & _BITS)
        values.insert(at, 1)
        return 0

    def __len__(self) -> int:
        return sum(len(hashes) for hashes, _ in self._shards.values())

    def _find(self, key: str) -> tuple[bool, int, array[int], array[int]]:
        """Whether the key is there, where it is or would be in its shard, and the shard."""
        bits = hash(key) & _BITS
        shard = self._shards.get(bits % _SHARDS)
        if shard is None:
            shard = self._shards[bits % _SHARDS] = array("Q"), array("q")
        hashes, values = shard
        at = bisect_left(hashes, bits)
        while at < len(hashes) and hashes[at] == bits:
            if self._same is None or self._same(values[at], key):
                return True, at, hashes, values
            at += 1
        return False, at, hashes, values
