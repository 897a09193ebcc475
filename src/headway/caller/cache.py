"""Answers that are at hand: fresh ones at once, stale ones when the provider fails, none across tenants.

The key is made here (FACTS section 5) and travels on the call, so that the join layer and the flight that fetches the
answer use the same one. What is kept is decided by the reader (`Answer.admissible`) and `keep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import TypeAlias

from msgspec.structs import replace

from headway.caller.parts import packed_parts
from headway.caller.replay import pace_of, replay
from headway.caller.spaces import Space
from headway.errors import ConfigError
from headway.flight import Flight
from headway.policy.fingerprint import fingerprint, version_headers_of
from headway.policy.freshness import Verdict
from headway.policy.objective import alias_of
from headway.store.base import Entry
from headway.types import Call, Handler, Headers, Reply
from headway.wire import reader_for

__all__ = ["KEY_SCHEMA", "Cache", "key_of", "unknown_namespace"]

Found: TypeAlias = tuple[Entry, str] | None
"""An entry and its tier's name."""

KEY_SCHEMA = 3
"""Raised when what goes into a key, or what an entry means, changes."""

_KEPT_HEADERS = frozenset(
    {"content-type", "x-request-id", "request-id", "openai-model", "openai-version", "openai-processing-ms"}
)
_STALE_TRY_S = 2.0
_KEYS_MAX, _KEYED_BYTES_MAX = 512, 4096
"""How many keys are remembered, and for bodies of how many bytes."""


def key_of(call: Call, body: bytes | None = None, *, route: str = "") -> bytes | None:
    """The call's 32-byte key; None when it may not be reused.

    Args:
        call: Whose key it is.
        body: Stands in for the call's own, when given.
        route: Digest of what a latency class in the model's place stands for: it may answer otherwise tomorrow.
    """
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
        version_headers=(*version_headers_of(call.headers), *_apart(call, route)),
        canonical=canonical,
    )


def _apart(call: Call, route: str) -> Headers:
    """What keeps equal requests apart by their callers' wish; a client's own headers of these names are no part."""
    aliased = (("headway-route", route),) if route and alias_of(call.view.model) is not None else ()
    if not call.sample and not call.namespace:
        return aliased
    return (*aliased, ("headway-namespace", call.namespace), ("headway-sample", call.sample))


class Cache:
    """Looks a call's space up, tier by tier, nearest first.

    Args:
        next_: The join layer, or the one that shares flights with other processes in front of it.
        spaces: The named caches; "" is the default one.
        wall_s: Calendar time.
        rng: Dice for jitter and early refreshes.
        refresh: Starts a background call that fetches the answer anew; None when too many are under way.
        paced: Play stored streams at the pace they came in, and note it for later ones.
        route: See `key_of`.
        tries: How many tries a moment may hold: one for each upstream that a call may go to.
    """

    __slots__ = ("_keys", "_next", "_paced", "_refresh", "_rng", "_spaces", "_tries", "_wall_s", "route")

    def __init__(
        self,
        next_: Handler,
        spaces: Mapping[str, Space],
        *,
        wall_s: Callable[[], float],
        rng: Random,
        refresh: Callable[[Call], asyncio.Task[Reply | None] | None],
        paced: bool = False,
        route: str = "",
        tries: Callable[[Call], int] = lambda _: 1,
    ) -> None:
        self.route = route
        self._keys: dict[tuple[object, ...], bytes] = {}
        self._tries = tries
        self._next = next_
        self._spaces = spaces
        self._wall_s = wall_s
        self._rng = rng
        self._refresh = refresh
        self._paced = paced

    async def __call__(self, call: Call) -> Reply:
        trace = call.trace
        if call.cache_mode == "off" or not call.view.reusable:
            trace.cache = "off"
            why = "off" if call.cache_mode == "off" else call.view.why_not_reusable
            return _noted(await self._next(replace(call, key=None)), f"headway; fwd=bypass; detail={_token(why)}")
        if call.key is None:
            call = replace(call, key=self._key_of(call))
        if call.key is None or call.cache_mode == "refresh":
            trace.cache = "refresh" if call.key is not None else "off"
            return _noted(await self._next(call), "headway; fwd=request")
        space = self._spaces.get(call.namespace)
        if space is None:
            raise unknown_namespace(call.namespace, self._spaces)
        now_s = self._wall_s()
        found = space.find(call.key)
        if found is None and space.remote is None:
            return await self._forward(call, space)
        verdict: Verdict = "gone" if found is None else space.judge(found[0], now_s, self._rng)
        if verdict not in ("fresh", "refresh") and space.remote is not None:
            found, verdict = await self._newer(call.key, space, found, verdict)
        reply = None if found is None else self._replayed(found[0], call)
        if found is None or reply is None or verdict == "gone":
            return await self._forward(call, space)
        if verdict == "stale":
            return await self._stale_if_error(call, space, found[0], reply)
        if verdict != "fresh":
            self._refresh(call)
        return self._hit(call, space, found[0], found[1], reply)

    def _key_of(self, call: Call) -> bytes | None:
        """Its key. What hits is what comes again, so those of short requests are remembered: the cost of a look-up."""
        if len(call.body) > _KEYED_BYTES_MAX or not call.view.reusable:
            return key_of(call, route=self.route)
        model, apart = call.view.model, (call.tenant, call.sample, call.namespace)
        parts = call.body, model, call.path, call.headers, call.origin, apart  # all that a key is made of
        key = self._keys.get(parts)
        if key is None:
            key = key_of(call, route=self.route)
            if key is not None:
                if len(self._keys) >= _KEYS_MAX:
                    self._keys.clear()
                self._keys[parts] = key
        return key

    def arrived(self, call: Call, value: bytes) -> Reply | None:
        """What another process has put behind the network meanwhile; None where that does not serve this call."""
        space = self._spaces[call.namespace]
        remote = space.remote
        entry = remote.unpack(value) if remote is not None and call.cache_mode != "refresh" else None
        if remote is None or entry is None or call.key is None:
            return None
        reply = self._replayed(entry, call)
        if reply is None or space.judge(entry, self._wall_s(), self._rng) not in ("fresh", "refresh"):
            return None
        space.promote(call.key, entry)
        return self._hit(call, space, entry, remote.name, reply)

    def keep(self, key: bytes, flight: Flight) -> None:
        """Keep a whole, admissible answer in every tier."""
        now_s = self._wall_s()
        space = self._spaces[flight.call.namespace]
        fresh_until_s, stale_until_s = space.freshness.lifetime(now_s, self._rng)
        trace, body, usage_event = flight.traces[-1], flight.log.body(), flight.usage_event
        if usage_event:
            body = body.replace(usage_event, b"", 1)
        sent_at_s = trace.sent_at_s or trace.started_at_s
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
            fetch_s=(trace.ended_at_s or trace.started_at_s) - sent_at_s,
            stored_wall_s=now_s,
            fresh_until_wall_s=fresh_until_s,
            stale_until_wall_s=stale_until_s,
            pace=pace_of(body, flight.log.arrivals(), sent_at_s) if self._paced and flight.streaming else b"",
        )
        space.keep(key, entry, partial(packed_parts, flight.call))

    def _replayed(self, entry: Entry, call: Call) -> Reply | None:
        return replay(entry, call, self._wall_s() - entry.stored_wall_s, paced=self._paced)

    def _hit(self, call: Call, space: Space, entry: Entry, tier: str, reply: Reply, status: str = "") -> Reply:
        """Book a caller as served from a tier, and say so in the reply."""
        space.hit(entry)
        trace = call.trace
        trace.cache = tier
        trace.usage = entry.usage
        trace.finish = entry.finish
        trace.dollars = 0.0
        trace.saved_dollars = entry.dollars
        return _noted(reply, status or f"headway; hit; ttl={int(entry.fresh_until_wall_s - self._wall_s())}")

    async def _newer(self, key: bytes, space: Space, found: Found, verdict: Verdict) -> tuple[Found, Verdict]:
        """What is behind the network, where that is better than what is at hand."""
        fetched = await space.fetch(key) or space.find(key)  # it may have come to hand while the network was asked
        if fetched is None or (found is not None and fetched[0].stored_wall_s <= found[0].stored_wall_s):
            return found, verdict
        return fetched, space.judge(fetched[0], self._wall_s(), self._rng)

    async def _forward(self, call: Call, space: Space) -> Reply:
        call.trace.cache = "miss"
        reply = await self._next(call)
        if call.trace.cache not in ("miss", "joined"):
            return reply  # it came into a tier while we asked
        space.misses += 1
        joined = call.trace.cache == "joined"
        return _noted(reply, "headway; fwd=uri-miss; collapsed" if joined else "headway; fwd=uri-miss")

    async def _stale_if_error(self, call: Call, space: Space, entry: Entry, stale: Reply) -> Reply:
        """One try for a new answer, in the background; the old one serves if that fails or takes longer than a moment.

        The try goes on behind a caller that was served the old answer, or a provider that needs longer than the moment
        would never renew it.
        """
        now_s = asyncio.get_running_loop().time()
        task = self._refresh(replace(call, attempts_max=self._tries(call)))
        if task is not None:
            await asyncio.wait({task}, timeout=min(_STALE_TRY_S, (call.deadline_at_s - now_s) / 2))
            # Any failure counts, a handler's own bug included: an answer that is at hand beats an error.
            failed = not task.done() or task.cancelled() or task.exception() is not None
            fresh = None if failed else task.result()
            if fresh is not None:
                found = space.find(call.key or b"")
                if found is not None and found[0].stored_wall_s > entry.stored_wall_s:
                    reply = self._replayed(found[0], call)
                    if reply is not None:
                        return self._hit(call, space, found[0], "joined", reply, "headway; fwd=stale; collapsed")
                # An answer that may not be kept is an answer; a refusal of the request is no failure of the provider.
                if fresh.status < 500 and fresh.status not in (408, 409, 429):
                    call.trace.cache, call.trace.dollars = "joined", 0.0
                    call.trace.settled = fresh.trace.outcome if fresh.trace is not None else None
                    return _noted(
                        Reply(fresh.status, fresh.headers, await fresh.read(), trace=call.trace), "headway; fwd=stale"
                    )
        ttl_s = int(entry.fresh_until_wall_s - self._wall_s())
        return self._hit(call, space, entry, "stale", stale, f"headway; hit; ttl={ttl_s}; detail=stale-if-error")


def unknown_namespace(name: str, known: Iterable[str]) -> ConfigError:
    """What to say of a named cache that nobody has set up."""
    names = ", ".join(repr(one) for one in known if one) or "none"
    return ConfigError(f"cache namespace {name!r} is not set up (there is {names}); add a table [caches.{name}]")


def _noted(reply: Reply, status: str) -> Reply:
    """Say what the cache did, in the words of RFC 9211."""
    reply.headers = (*reply.headers, ("cache-status", status))
    return reply


def _token(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text) or "off"
