"""Who goes next: greatest priority first, then the earliest deadline, then first come, first served."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A bounded priority queue whose items can be removed or moved while they wait.

    Removal is lazy: a removed or moved item leaves a dead heap entry behind, dropped when it surfaces or when dead
    entries outnumber the living. Items are told apart by identity.

    Args:
        items_max: How many may wait, > 0.
    """

    __slots__ = ("_entries", "_heap", "_seq", "items_max")

    def __init__(self, items_max: int) -> None:
        self.items_max = items_max
        self._heap: list[tuple[float, float, int, T]] = []
        self._entries: dict[int, int] = {}  # id(item) -> the sequence number of its living heap entry
        self._seq = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        """The waiting items, in no particular order."""
        return (item for _, _, seq, item in self._heap if self._entries.get(id(item)) == seq)

    def push(self, item: T, *, priority: float, deadline_at_s: float) -> bool:
        """Add the item; False when the queue is full."""
        if len(self._entries) >= self.items_max:
            return False
        self._add(item, priority, deadline_at_s)
        return True

    def move(self, item: T, *, priority: float, deadline_at_s: float) -> None:
        """Give a waiting item a new place; nothing happens when it does not wait any more."""
        if id(item) in self._entries:
            self._add(item, priority, deadline_at_s)

    def remove(self, item: T) -> bool:
        """Take the item out wherever it is; False when it was not in."""
        found = self._entries.pop(id(item), None) is not None
        if len(self._heap) > 2 * len(self._entries) + 16:
            self._heap = [entry for entry in self._heap if self._entries.get(id(entry[3])) == entry[2]]
            heapq.heapify(self._heap)
        return found

    def peek(self) -> T | None:
        """The item that goes next; None when nothing waits."""
        while self._heap:
            _, _, seq, item = self._heap[0]
            if self._entries.get(id(item)) == seq:
                return item
            heapq.heappop(self._heap)
        return None

    def pop(self) -> T | None:
        """Take the item that goes next."""
        item = self.peek()
        if item is not None:
            heapq.heappop(self._heap)
            del self._entries[id(item)]
        return item

    def _add(self, item: T, priority: float, deadline_at_s: float) -> None:
        self._seq += 1
        self._entries[id(item)] = self._seq
        heapq.heappush(self._heap, (-priority, deadline_at_s, self._seq, item))
