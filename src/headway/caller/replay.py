"""A stored answer, given to one caller as it wants it: whole or as a stream, at once or at the pace it once came.

Stored streams are given back byte for byte, reasoning and tool calls included; a stored whole answer is streamed only
where its format's reader declares how (`Reader.synthesize`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headway.errors import DeadlineExceeded
from headway.store.base import Entry
from headway.types import Call, Reply
from headway.wire import reader_for
from headway.wire.sse import EventSplitter

__all__ = ["pace_of", "replay"]

_GAP_MAX_MS = 600_000
_JSON = ("content-type", "application/json")
_SSE = ("content-type", "text/event-stream; charset=utf-8")


def replay(entry: Entry, call: Call, age_s: float, *, paced: bool = False) -> Reply | None:
    """The entry as this caller wants it; None when a stream is wanted of an answer that cannot be one.

    Args:
        entry: What is stored.
        call: Who asks.
        age_s: How long ago it was stored.
        paced: Play a stream as it came, where that was noted.
    """
    headers = (*entry.headers, ("age", str(max(0, int(age_s)))))
    wants_stream = call.view.stream
    if entry.streamed and wants_stream:
        events = _events(entry.body)
        gaps_ms = _gaps(entry.pace) if paced else []
        if entry.usage_event and call.view.wants_usage:
            events.insert(len(events) - 1, entry.usage_event)  # before the terminal event, where it stood
            if gaps_ms:
                gaps_ms.insert(len(gaps_ms) - 1, 0)
        return Reply(entry.status, headers, chunks=_Replay(events, gaps_ms, call), trace=call.trace)
    if entry.streamed == wants_stream:
        return Reply(entry.status, headers, entry.body, trace=call.trace)
    reader = reader_for(call.path)
    if reader is None:
        return None
    kept = [pair for pair in headers if pair[0] != "content-type"]
    if wants_stream:
        made = reader.synthesize(entry.body, usage=call.view.wants_usage)
        return Reply(entry.status, (_SSE, *kept), chunks=_Replay(made, [], call), trace=call.trace) if made else None
    whole = reader.aggregate(entry.usage_event + entry.body)
    return Reply(entry.status, (_JSON, *kept), whole, trace=call.trace) if whole is not None else None


def pace_of(body: bytes, arrivals: Sequence[tuple[int, float]], start_s: float) -> bytes:
    """When each event of a stream came: milliseconds since the one before, as LEB128 numbers.

    Args:
        body: The stream, all of it.
        arrivals: For each chunk, the bytes up to and with it, and when it came.
        start_s: When the request was sent.
    """
    packed, end, at, before_ms = bytearray(), 0, 0, 0
    for event in _events(body):
        end += len(event)
        while at < len(arrivals) - 1 and arrivals[at][0] < end:
            at += 1
        now_ms = max(before_ms, round((arrivals[at][1] - start_s) * 1000)) if arrivals else before_ms
        gap_ms, before_ms = min(now_ms - before_ms, _GAP_MAX_MS), now_ms
        while gap_ms >= 0x80:
            packed.append(gap_ms & 0x7F | 0x80)
            gap_ms >>= 7
        packed.append(gap_ms)
    return bytes(packed)


def _gaps(pace: bytes) -> list[int]:
    gaps, value, shift = [], 0, 0
    for byte in pace:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            gaps.append(min(value, _GAP_MAX_MS))
            value = shift = 0
    return gaps


def _events(body: bytes) -> list[bytes]:
    splitter = EventSplitter(len(body) + 1)
    events = splitter.feed(body)
    tail = splitter.tail()
    return [*events, tail] if tail else events


class _Replay:
    """A stream, event by event as it came: consumers render while they read."""

    __slots__ = ("_at", "_call", "_due_s", "_events", "_gaps_ms")

    def __init__(self, events: list[bytes], gaps_ms: list[int], call: Call) -> None:
        self._call = call
        self._events = events
        self._gaps_ms = gaps_ms
        self._at = 0
        self._due_s: float | None = None

    def __aiter__(self) -> _Replay:
        return self

    async def __anext__(self) -> bytes:
        at = self._at
        if at >= len(self._events):
            raise StopAsyncIteration
        if at < len(self._gaps_ms):
            now_s = asyncio.get_running_loop().time()
            # Counted from event to event, so that a slow reader is not slowed down twice.
            self._due_s = (now_s if self._due_s is None else self._due_s) + self._gaps_ms[at] / 1000
            if self._due_s > now_s:
                await asyncio.sleep(min(self._due_s, self._call.deadline_at_s) - now_s)
            if self._due_s > self._call.deadline_at_s:
                raise DeadlineExceeded("the stored stream, played at its old pace, is not over by the deadline")
        self._at = at + 1
        if self._at == len(self._events):
            self._call.trace.settled = "ok"  # it had everything: many clients close at the terminal event
        return self._events[at]
