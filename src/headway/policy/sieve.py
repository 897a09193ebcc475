"""SIEVE eviction: a queue in insertion order, a visited bit per key, and a hand that spares what was used.

Source: Zhang et al., "SIEVE is Simpler than LRU" (NSDI 2024). A hit only sets a bit; eviction walks the hand
from the oldest key towards the youngest, clears the bits it passes and takes the first key without one. Here
the bound is in bytes, so one insertion may evict several keys.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Sieve"]

K = TypeVar("K", bound=Hashable)


class _Node(Generic[K]):
    __slots__ = ("key", "older", "size_bytes", "visited", "younger")

    key: K
    size_bytes: int
    visited: bool
    older: _Node[K]
    younger: _Node[K]


class Sieve(Generic[K]):
    """Which keys to keep within `bytes_max` (> 0). Holds keys and sizes only; O(1) amortised.

    The keys form a ring closed by a sentinel: sentinel.younger is the oldest key, sentinel.older the
    youngest.
    """

    __slots__ = ("_end", "_hand", "_nodes", "bytes_max", "bytes_used")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_used = 0
        self._nodes: dict[K, _Node[K]] = {}
        self._end: _Node[K] = _Node()
        self._end.older = self._end.younger = self._end
        self._hand = self._end  # the next key to examine; the sentinel means "start at the oldest"

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: K) -> bool:
        return key in self._nodes

    def touch(self, key: K) -> None:
        """Note a hit: the hand will pass this key once. Unknown keys are ignored."""
        node = self._nodes.get(key)
        if node is not None:
            node.visited = True

    def insert(self, key: K, size_bytes: int) -> list[K]:
        """Add a key of `size_bytes` (>= 0) at the young end; return the keys that had to go, in order.

        A key that is there already starts over at the young end and keeps its visited bit. One larger than
        `bytes_max` is refused: it is returned itself, and nothing else is evicted for it.
        """
        visited = self._take(key)
        if size_bytes > self.bytes_max:
            return [key]
        evicted: list[K] = []
        while self.bytes_used + size_bytes > self.bytes_max:
            evicted.append(self._evict())
        node: _Node[K] = _Node()
        node.key, node.size_bytes, node.visited = key, size_bytes, visited
        end = self._end
        node.younger, node.older = end, end.older
        end.older.younger = node
        end.older = node
        self._nodes[key] = node
        self.bytes_used += size_bytes
        return evicted

    def remove(self, key: K) -> None:
        """Forget a key; unknown ones are ignored."""
        self._take(key)

    def _take(self, key: K) -> bool:
        """Unlink a key if it is there; return its visited bit."""
        node = self._nodes.pop(key, None)
        if node is None:
            return False
        if self._hand is node:
            self._hand = node.younger
        node.older.younger = node.younger
        node.younger.older = node.older
        self.bytes_used -= node.size_bytes
        return node.visited

    def _evict(self) -> K:
        """Walk the hand to the first key that was not used since it last passed, and take that one."""
        node = self._hand
        while node is self._end or node.visited:
            if node is not self._end:
                node.visited = False
            node = node.younger
        self._hand = node
        self._take(node.key)  # moves the hand on
        return node.key
