"""Answers that are at hand: fresh ones at once, stale ones when the provider fails, none across tenants.

The key is made here (FACTS section 5) and travels on the call, so that the join layer and the flight that fetches the
answer use the same one. What is kept is decided by the reader (`Answer.admissible`) and `keep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from msgspec.structs import replace

from headway.flight import Flight
from headway.policy.fingerprint import fingerprint, version_headers_of
from headway.policy.freshness import Freshness
from headway.store.base import Entry, Store
from headway.types import Call, Handler, Reply, Trace
from headway.wire import reader_for
from headway.wire.sse import EventSplitter

__all__ = ["KEY_SCHEMA", "Cache", "key_of"]

KEY_SCHEMA = 2
"""Raised when what goes into a key, or what an entry means, changes."""

_KEPT_HEADERS = frozenset({"content-type", "x-request-id", "openai-model", "openai-version", "openai-processing-ms"})
_STALE_TRY_S = 2.0


def key_of(call: Call, body: bytes | None = None) -> bytes | None:
    """The call's 32-byte key; None when it may not be reused. `body` stands in for the call's own, when given."""
    if not call.view.reusable:
        return None
    reader = reader_for(call.path)
    canonical = reader.canonical(call.body if body is None else body) if reader is not None else None
    if canonical is None:
        return None
    return fingerprint(
        schema=KEY_SCHEMA,
        tenant=call.tenant,
        endpoint=call.path,
        origin=call.origin,
        version_headers=version_headers_of(call.headers),
        canonical=canonical,
    )


class Cache:
    """Looks tiers up in order, nearest first.

    Args:
        next_: The join layer.
        stores: The tiers.
        freshness: The policy for times.
        wall_s: Calendar time.
        rng: Dice for jitter and early refreshes.
        refresh: Starts a background call that fetches the answer anew; None when too many are under way.
    """

    __slots__ = ("_freshness", "_next", "_refresh", "_rng", "_stores", "_wall_s")

    def __init__(
        self,
        next_: Handler,
        stores: Sequence[Store],
        freshness: Freshness,
        *,
        wall_s: Callable[[], float],
        rng: Random,
        refresh: Callable[[Call], asyncio.Task[Reply | None] | None],
    ) -> None:
        self._next = next_
        self._stores = tuple(stores)
        self._freshness = freshness
        self._wall_s = wall_s
        self._rng = rng
        self._refresh = refresh

    async def __call__(self, call: Call) -> Reply:
        trace = call.trace
        if call.cache_mode == "off" or not call.view.reusable:
            trace.cache = "off"
            why = "off" if call.cache_mode == "off" else call.view.why_not_reusable
            return _noted(await self._next(replace(call, key=None)), f"headway; fwd=bypass; detail={_token(why)}")
        if call.key is None:
            call = replace(call, key=key_of(call))
        if call.key is None or call.cache_mode == "refresh":
            trace.cache = "refresh" if call.key is not None else "off"
            return _noted(await self._next(call), "headway; fwd=request")
        found = self._find(call.key)
        if found is None:
            return await self._forward(call)
        entry, tier = found
        reply = self._replay(entry, call)
        now_s = self._wall_s()
        verdict = self._freshness.judge(
            fresh_until_wall_s=entry.fresh_until_wall_s,
            stale_until_wall_s=entry.stale_until_wall_s,
            fetch_s=entry.fetch_s,
            now_wall_s=now_s,
            rng=self._rng,
        )
        if reply is None or verdict == "gone":
            return await self._forward(call)
        if verdict == "stale":
            return await self._stale_if_error(call, entry, reply)
        if verdict != "fresh":
            self._refresh(call)
        _hit(trace, entry, tier)
        return _noted(reply, f"headway; hit; ttl={int(entry.fresh_until_wall_s - now_s)}")

    def keep(self, key: bytes, flight: Flight) -> None:
        """Keep a whole, admissible answer in every tier."""
        now_s = self._wall_s()
        fresh_until_s, stale_until_s = self._freshness.lifetime(now_s, self._rng)
        trace, body, usage_event = flight.traces[-1], flight.log.body(), flight.usage_event
        if usage_event:
            body = body.replace(usage_event, b"", 1)
        entry = Entry(
            headers=tuple(pair for pair in flight.headers if pair[0] in _KEPT_HEADERS),
            body=body,
            usage_event=usage_event,
            streamed=flight.streaming,
            format=trace.format,
            model=trace.model,
            finish=trace.finish,
            usage=trace.usage,
            dollars=trace.dollars,
            fetch_s=(trace.ended_at_s or trace.started_at_s) - (trace.sent_at_s or trace.started_at_s),
            stored_wall_s=now_s,
            fresh_until_wall_s=fresh_until_s,
            stale_until_wall_s=stale_until_s,
        )
        for store in self._stores:
            store.put(key, entry)

    def _find(self, key: bytes) -> tuple[Entry, str] | None:
        for depth, store in enumerate(self._stores):
            entry = store.get(key)
            if entry is not None:
                for nearer in self._stores[:depth]:
                    nearer.put(key, entry)
                return entry, store.name
        return None

    def _replay(self, entry: Entry, call: Call) -> Reply | None:
        """The entry as this caller wants it; None when a stream is wanted of an answer that was none."""
        age = ("age", str(max(0, int(self._wall_s() - entry.stored_wall_s))))
        headers = (*entry.headers, age)
        if entry.streamed and call.view.stream:
            events = _events(entry.body)
            if entry.usage_event and call.view.wants_usage:
                events.insert(len(events) - 1, entry.usage_event)  # before the terminal event, where it stood
            return Reply(entry.status, headers, chunks=_Replay(events), trace=call.trace)
        if entry.streamed == call.view.stream:
            return Reply(entry.status, headers, entry.body, trace=call.trace)
        reader = reader_for(call.path)
        whole = reader.aggregate(entry.usage_event + entry.body) if entry.streamed and reader is not None else None
        if whole is None:
            return None
        kept = (h for h in headers if h[0] != "content-type")
        return Reply(entry.status, (("content-type", "application/json"), *kept), whole, trace=call.trace)

    async def _forward(self, call: Call) -> Reply:
        call.trace.cache = "miss"
        reply = await self._next(call)
        joined = call.trace.cache == "joined"
        return _noted(reply, "headway; fwd=uri-miss; collapsed" if joined else "headway; fwd=uri-miss")

    async def _stale_if_error(self, call: Call, entry: Entry, stale: Reply) -> Reply:
        """One try for a new answer, in the background; the old one serves if that fails or takes longer than a moment.

        The try goes on behind a caller that was served the old answer, or a provider that needs longer than the moment
        would never renew it.
        """
        now_s = asyncio.get_running_loop().time()
        task = self._refresh(replace(call, attempts_max=1))
        if task is not None:
            await asyncio.wait({task}, timeout=min(_STALE_TRY_S, (call.deadline_at_s - now_s) / 2))
            # Any failure counts, a handler's own bug included: an answer that is at hand beats an error.
            failed = not task.done() or task.cancelled() or task.exception() is not None
            fresh = None if failed else task.result()
            if fresh is not None:
                found = self._find(call.key or b"")
                if found is not None and found[0].stored_wall_s > entry.stored_wall_s:
                    reply = self._replay(found[0], call)
                    if reply is not None:
                        _hit(call.trace, found[0], "joined")
                        return _noted(reply, "headway; fwd=stale; collapsed")
                if 400 <= fresh.status < 500 and fresh.status not in (408, 409, 429):
                    call.trace.cache, call.trace.dollars = "joined", 0.0
                    call.trace.settled = fresh.trace.outcome if fresh.trace is not None else None
                    return _noted(
                        Reply(fresh.status, fresh.headers, await fresh.read(), trace=call.trace), "headway; fwd=stale"
                    )
        _hit(call.trace, entry, "stale")
        ttl_s = int(entry.fresh_until_wall_s - self._wall_s())
        return _noted(stale, f"headway; hit; ttl={ttl_s}; detail=stale-if-error")


class _Replay:
    """A stored stream, event by event as it came: consumers render while they read."""

    __slots__ = ("_events",)

    def __init__(self, events: list[bytes]) -> None:
        self._events = iter(events)

    def __aiter__(self) -> _Replay:
        return self

    async def __anext__(self) -> bytes:
        for event in self._events:
            return event
        raise StopAsyncIteration


def _events(body: bytes) -> list[bytes]:
    splitter = EventSplitter(len(body) + 1)
    events = splitter.feed(body)
    tail = splitter.tail()
    return [*events, tail] if tail else events


def _hit(trace: Trace, entry: Entry, tier: str) -> None:
    trace.cache = tier
    trace.usage = entry.usage
    trace.finish = entry.finish
    trace.dollars = 0.0
    trace.saved_dollars = entry.dollars


def _noted(reply: Reply, status: str) -> Reply:
    """Say what the cache did, in the words of RFC 9211."""
    reply.headers = (*reply.headers, ("cache-status", status))
    return reply


def _token(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text) or "off"
