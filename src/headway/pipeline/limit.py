"""How many calls (of a step, of a map, in threads) run at a time; others wait in the order in which they got ready."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.pipeline.node import Node

__all__ = ["Limit"]


class Limit:
    """A number of places. A place that is given back goes to the next in line at once, without a turn of the loop."""

    __slots__ = ("holders", "line", "places")

    def __init__(self, places: int) -> None:
        self.places = places
        self.holders: dict[Node, None] = {}
        self.line: deque[Node] = deque()
        """Bounded by the calls of the run."""

    def take(self, node: Node) -> bool:
        """Whether there is a place; the node stands in line else, and is told by `admitted`."""
        if len(self.holders) < self.places:
            self.holders[node] = None
            return True
        self.line.append(node)
        return False

    def give(self, node: Node) -> None:
        """It has ended, or does not want a place any more."""
        if node not in self.holders:
            return  # it stands in line, and is passed over when its turn comes
        del self.holders[node]
        while self.line:
            other = self.line.popleft()
            if not other.done:
                self.holders[other] = None
                other.run.admit(other)
                return
