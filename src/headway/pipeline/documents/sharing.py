"""One engine for many documents: so many calls at once over all of them, those of the first documents first.

Whoever makes calls for a document gets a `Share`, which has the engine's `send`.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Literal

import msgspec

from headway.engine import Engine
from headway.errors import HeadwayError
from headway.pipeline.mapreduce.asking import HITS
from headway.pipeline.mapreduce.dollars import plus
from headway.types import Reply, Tags, Trace

__all__ = ["Share", "Shared", "Took"]


class Took(msgspec.Struct):
    """What calls took together."""

    calls: int = 0
    """Calls that were answered or sent; not those that never left, e.g. for want of money."""
    hits: int = 0
    """Calls that were answered by a cache, or by another call under way."""
    dollars: float | None = 0.0
    """None: unknown."""
    busy_s: float = 0.0
    """What the others took in all, one after the other, without our own wait."""
    failed: Trace | None = None
    """The last one that failed."""

    def add(self, trace: Trace) -> None:
        """Count a call that has ended."""
        reused = trace.cache in HITS and trace.outcome == "ok"  # to join a call that is refused is no answer
        self.calls += reused or trace.sent_at_s is not None or trace.attempts > 1  # the last attempt's, or one before
        self.dollars = plus(self.dollars, trace.dollars if trace.outcome == "ok" else trace.dollars or 0.0)
        if reused:
            self.hits += 1
        elif trace.outcome == "ok" and trace.ended_at_s is not None:
            self.busy_s += max(0.0, trace.ended_at_s - trace.started_at_s - trace.wait_s)
        if trace.outcome not in ("ok", "abandoned"):
            self.failed = trace


class Shared:
    """An engine, and how many calls may be under way there at once.

    Args:
        engine: Sends them.
        calls_max: So many, from 1.
    """

    def __init__(self, engine: Engine, calls_max: int) -> None:
        self.engine = engine
        self.took = Took()
        """What all shares' calls took."""
        self._free = calls_max
        self._order = count()
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []

    async def enter(self, rank: int, priority: int) -> None:
        """Wait for room: the lowest rank goes first, then the greatest priority, then who came first."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, -priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """A call has ended: whoever is next may go."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[3]
            if not turn.done():  # done is: cancelled, and gone
                turn.set_result(None)
                return
        self._free += 1


class Share:
    """One document's share: an engine, as far as its calls are concerned.

    Args:
        shared: The engine that it is a share of.
        rank: Where the document stands; the lower goes first.
    """

    def __init__(self, shared: Shared, rank: int = 0) -> None:
        self._shared = shared
        self._rank = rank
        self.took = Took()
        """What its calls took."""

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        key_body: bytes | None = None,
        tags: Tags | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
    ) -> Reply:
        """As `Engine.send`; a call is under way until its reply was read to its end, or closed."""
        shared = self._shared
        await shared.enter(self._rank, priority if isinstance(priority, int) else 0)
        try:
            reply = await shared.engine.send(path, body, key_body=key_body, tags=tags, cache=cache, priority=priority)
        except BaseException as error:
            shared.leave()
            if isinstance(error, HeadwayError) and error.trace is not None:
                self._ended(error.trace)
            raise
        trace = reply.trace
        assert trace is not None  # the engine's replies carry their caller's trace

        def ended(trace: Trace) -> None:
            self._ended(trace)
            shared.leave()

        trace.on_end(ended)
        return reply

    def _ended(self, trace: Trace) -> None:
        self.took.add(trace)
        self._shared.took.add(trace)
