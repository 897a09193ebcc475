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

    __slots__ = ("_entries", "_heap", "_token", "items_max")

    def __init__(self, items_max: int) -> None:
        self.items_max = items_max
        self._heap: list[tuple[float, float, int, int, T]] = []  # -priority, deadline, arrival, token, item
        self._entries: dict[int, tuple[float, float, int, int]] = {}  # id(item) -> its living heap entry's order
        self._token = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        """The waiting items, in no particular order."""
        return (entry[4] for entry in self._heap if self._lives(entry))

    def priorities(self) -> Iterator[float]:
        """Of the waiting items, in no particular order."""
        return (-place[0] for place in self._entries.values())

    def push(self, item: T, *, priority: float, deadline_at_s: float) -> bool:
        """Add the item; False when the queue is full."""
        if len(self._entries) >= self.items_max:
            return False
        self._token += 1
        self._add(item, -priority, deadline_at_s, self._token)
        return True

    def move(self, item: T, *, priority: float, deadline_at_s: float) -> None:
        """Move a waiting item forward: to the greater priority and the earlier deadline of its old and new ones.

        It keeps its turn among equals. Nothing happens when it does not wait any more.
        """
        place = self._entries.get(id(item))
        if place is None:
            return
        better = (min(place[0], -priority), min(place[1], deadline_at_s))
        if better < place[:2]:
            self._add(item, *better, place[2])
            self._compact()

    def remove(self, item: T) -> bool:
        """Take the item out wherever it is; False when it was not in."""
        found = self._entries.pop(id(item), None) is not None
        self._compact()
        return found

    def peek(self) -> T | None:
        """The item that goes next; None when nothing waits."""
        while self._heap:
            entry = self._heap[0]
            if self._lives(entry):
                return entry[4]
            heapq.heappop(self._heap)
        return None

    def pop(self) -> T | None:
        """Take the item that goes next."""
        item = self.peek()
        if item is not None:
            heapq.heappop(self._heap)
            del self._entries[id(item)]
        return item

    def absorb(self, other: FairQueue[T]) -> None:
        """Take over all that wait in another queue, in their order; they were let in there, so no bound holds here."""
        while (item := other.peek()) is not None:
            rank, deadline_at_s, _, _ = other._entries[id(item)]
            other.pop()
            self._token += 1
            self._add(item, rank, deadline_at_s, self._token)

    def _add(self, item: T, rank: float, deadline_at_s: float, arrival: int) -> None:
        self._token += 1
        self._entries[id(item)] = (rank, deadline_at_s, arrival, self._token)
        heapq.heappush(self._heap, (rank, deadline_at_s, arrival, self._token, item))

    def _lives(self, entry: tuple[float, float, int, int, T]) -> bool:
        place = self._entries.get(id(entry[4]))
        return place is not None and place[3] == entry[3]

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._entries) + 16:
            self._heap = [entry for entry in self._heap if self._lives(entry)]
            heapq.heapify(self._heap)
