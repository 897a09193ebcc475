"""What is counted: the least there is to be remembered of the calls and tries of one combination in one stretch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from headway.insight.histogram import Histogram, bin_of, merge
from headway.store.rows import LogRow, Taken

__all__ = ["HITS", "Cell", "Hedges", "went"]

FLIGHTS_MAX: Final = 4_096

HITS: Final = frozenset(("memory", "sqlite", "redis", "joined", "stale"))
"""What the log says of calls that were answered without asking a provider for them."""


def went(row: Taken | LogRow) -> bool:
    """Whether a try counts as one: it was sent, or tried to connect. What was refused before that went nowhere."""
    sent_s = row.sent_s if isinstance(row, LogRow) else row.sent_at_s
    return sent_s is not None or row.outcome == "connect_failed"


class Cell:
    """What was counted of one combination in one stretch. `caches` and `wasted`: word to [count, dollars]."""

    __slots__ = (
        "attempts",
        "attempts_failed",
        "cached_tokens",
        "caches",
        "calls",
        "dollars",
        "failed",
        "input_tokens",
        "output_tokens",
        "saved_dollars",
        "throttled",
        "total",
        "tries",
        "ttft",
        "unknown",
        "wasted",
        "written_tokens",
    )

    def __init__(self) -> None:
        self.calls = self.failed = self.unknown = self.input_tokens = self.output_tokens = self.cached_tokens = 0
        self.written_tokens = 0
        self.attempts = self.attempts_failed = self.throttled = 0
        self.dollars = self.saved_dollars = 0.0
        self.caches: dict[str, list[float]] = {}
        self.wasted: dict[str, list[float]] = {}
        self.ttft: Histogram = {}
        self.total: Histogram = {}
        self.tries: Histogram = {}
        """TTFT of attempts."""

    def add(self, other: Cell) -> None:
        """Count what another one has counted."""
        self.calls += other.calls
        self.failed += other.failed
        self.unknown += other.unknown
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.written_tokens += other.written_tokens
        self.attempts += other.attempts
        self.attempts_failed += other.attempts_failed
        self.throttled += other.throttled
        self.dollars += other.dollars
        self.saved_dollars += other.saved_dollars
        for mine, others in ((self.caches, other.caches), (self.wasted, other.wasted)):
            for word, (count, dollars) in others.items():
                pair = mine.setdefault(word, [0, 0.0])
                pair[0] += count
                pair[1] += dollars
        merge(self.ttft, other.ttft)
        merge(self.total, other.total)
        merge(self.tries, other.tries)

    @property
    def hits(self) -> int:
        """Calls that were answered without asking; `caches` holds only what was answered."""
        return int(sum(count for word, (count, _) in self.caches.items() if word in HITS))

    @property
    def answered(self) -> int:
        """Calls that got a whole answer: just they have a time in `total`."""
        return sum(self.total.values())

    @property
    def wasted_dollars(self) -> float:
        """Paid for tries that did not answer."""
        return sum(dollars for _, dollars in self.wasted.values())

    def tried(self, row: Taken, ended_at_s: float | None, lost: str = "abandoned") -> None:
        """Count a try.

        Args:
            row: Its own, or its call's, which has the same outcome then.
            ended_at_s: Its own.
            lost: What it was for, where nobody waited for its end.
        """
        if not went(row):
            return
        sent_at_s = row.sent_at_s
        self.attempts += 1
        outcome = row.outcome
        if outcome == "ok":
            first_s = row.first_content_at_s if row.stream else ended_at_s
            if first_s is not None and sent_at_s is not None:
                place = bin_of(first_s - sent_at_s)
                self.tries[place] = self.tries.get(place, 0) + 1
            return
        if outcome == "throttled":
            self.throttled += 1
        if outcome != "abandoned":
            self.attempts_failed += 1
        pair = self.wasted.setdefault(lost if outcome == "abandoned" else "retry", [0, 0.0])
        pair[0] += 1
        pair[1] += row.dollars or 0.0


class Hedges:
    """Tells tries that lost to another one of their flight from those that nobody wanted any more.

    The call's row says which it was, and may come before the try's or after it. Both are remembered for a while.
    """

    __slots__ = ("_lost", "_won")

    def __init__(self) -> None:
        self._won: OrderedDict[str, None] = OrderedDict()
        self._lost: OrderedDict[str, list[tuple[Cell, float, Callable[[], None]]]] = OrderedDict()

    def word(self, row: Taken, cell: Cell, changed: Callable[[], None]) -> str:
        """What an abandoned try was for, as far as that is known; `changed` is called where it turns out later."""
        if row.flight_id in self._won:
            return "hedge"
        if row.sent_at_s is not None:
            self._lost.setdefault(row.flight_id, []).append((cell, row.dollars or 0.0, changed))
        if len(self._lost) > FLIGHTS_MAX:
            self._lost.popitem(last=False)
        return "abandoned"

    def answered(self, flight_id: str) -> None:
        """One of a flight's several tries answered: the others that were given up had lost to it."""
        for cell, dollars, changed in self._lost.pop(flight_id, ()):
            pair = cell.wasted.get("abandoned")
            if pair is not None and pair[0]:
                pair[0] -= 1
                pair[1] -= dollars
                hedged = cell.wasted.setdefault("hedge", [0, 0.0])
                hedged[0] += 1
                hedged[1] += dollars
                changed()
        self._won[flight_id] = None
        if len(self._won) > FLIGHTS_MAX:
            self._won.popitem(last=False)
