"""Other ways through an engine: the rest of a provider's API, a look into the cache, and answers that came elsewhere.

What generates no answer (files, batches, lists) is a *utility* call: retried and recorded like any other, but not
cached, joined, hedged, routed elsewhere, paced by a model's limits or reserved for in the budget; it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from headway.attempt.billing import bill
from headway.caller.cache import key_of
from headway.caller.parts import packed_parts
from headway.caller.record import TEXT_BYTES_MAX
from headway.caller.replay import replay
from headway.caller.scoped import belonging
from headway.engine.record import attempt_trace
from headway.errors import ConfigError, HeadwayError
from headway.store.base import Entry
from headway.types import Answer, Call, Handler, Outcome, Reply, RequestView, Trace
from headway.upstream import InProcess, Upstream
from headway.wire import reader_for
from headway.wire.rate_headers import read_limits

if TYPE_CHECKING:
    from headway.engine.stack import Stack

__all__ = ["FILE_BYTES_MAX", "Utility", "adopt", "cached", "fetched", "is_utility", "utility_call"]

UTILITY = "utility"
FILE_BYTES_MAX = 2 * 1024**3
"""What may come back at the most, for files are larger than answers: a batch of 200 MB is answered with several times
that."""

_REPEATABLE = frozenset(("GET", "HEAD", "DELETE"))


def is_utility(call: Call) -> bool:
    """Whether it generates nothing."""
    return call.view.format == UTILITY


def utility_call(call: Call, method: str, deadline_s: float | None, attempts_max: int | None, *, stream: bool) -> Call:
    """The call, as one that generates nothing.

    Args:
        call: As `Calls.make` made it of path and body.
        method: The HTTP method.
        deadline_s: As it was asked for; a stream without one lasts as long as it is read and not silent.
        attempts_max: None: what may be repeated is tried as often as the engine is set to, all else once.
        stream: Hand the body on as it comes.
    """
    trace = call.trace
    trace.format, trace.model, trace.stream, trace.output_tokens_max = UTILITY, "", stream, None
    if attempts_max is None:
        attempts_max = call.attempts_max if method in _REPEATABLE else 1
    return replace(
        call,
        method=method,
        view=RequestView(format=UTILITY, stream=stream),
        cache_mode="off",
        deadline_at_s=inf if stream and deadline_s is None else call.deadline_at_s,
        attempts_max=attempts_max,
    )


class Utility:
    """The one attempt layer of utility calls, over connections of their own, opened when they are first used.

    Args:
        open_: Makes what sends, for replies of up to that many bytes.
    """

    __slots__ = ("_open", "_upstream")

    def __init__(self, open_: Callable[[int], Upstream | InProcess]) -> None:
        self._open = open_
        self._upstream: Upstream | InProcess | None = None

    async def __call__(self, call: Call) -> Reply:
        trace, harmless = call.trace, call.method in _REPEATABLE
        trace.upstream = call.origin

        def free(trace: Trace) -> None:
            trace.usage, trace.dollars = None, 0.0
            trace.maybe_billed = trace.maybe_billed and not harmless  # a batch may have been created

        trace.on_end(free)
        if harmless or call.attempts_max > 1:
            if self._upstream is None:
                self._upstream = self._open(FILE_BYTES_MAX)
            reply = await self._upstream(call)
        else:
            reply = await self._once(call)
        readings = read_limits(reply.headers, trace.start_wall_s)
        if readings is not None:
            trace.retry_after_s, trace.request_id = readings.retry_after_s, readings.request_id
        if call.view.stream and reply.status < 400:
            # Of whatever type it says it is: it was asked for as a stream.
            reply.headers = tuple(pair for pair in reply.headers if pair[0] != "content-type")
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        if self._upstream is not None:
            await self._upstream.aclose()

    async def _once(self, call: Call) -> Reply:
        """Over a new connection, for a request that is lost on a kept one would be sent once more."""
        upstream = self._open(FILE_BYTES_MAX)
        try:
            reply = await upstream(call)
            await reply.read()
            return reply
        finally:
            await upstream.aclose()


async def fetched(handle: Handler, call: Call) -> Reply | None:
    """The reply, read whole; None when there is none."""
    try:
        reply = await handle(call)
        await reply.read()
    except HeadwayError:
        return None  # its row in the call log says so
    return reply


async def cached(stack: Stack, call: Call, key_body: bytes | None = None) -> Reply | None:
    """See `Engine.cached`."""
    cache, space = stack.cache, stack.caches.spaces.get(call.namespace)
    key = key_of(call, key_body, route=cache.route) if cache is not None else None
    if space is None or key is None:
        return None
    found = space.find(key) or await space.fetch(key)
    if found is None:
        return None
    entry, now_s = found[0], stack.wall_s()
    if space.judge(entry, now_s, stack.rng) not in ("fresh", "refresh"):
        return None
    reply = replay(entry, call, now_s - entry.stored_wall_s)
    if reply is not None:
        trace = call.trace
        trace.cache, trace.usage, trace.finish, trace.status = found[1], entry.usage, entry.finish, entry.status
        trace.dollars, trace.saved_dollars = 0.0, entry.dollars
        trace.end("ok", asyncio.get_running_loop().time())
        ttl_s = int(entry.fresh_until_wall_s - now_s)
        reply.headers = (*reply.headers, ("cache-status", f"headway; hit; ttl={ttl_s}"))
    return reply


def adopt(
    stack: Stack,
    call: Call,
    status: int,
    answer: bytes,
    key_body: bytes | None,
    price_ratio: float,
    started_wall_s: float | None,
    *,
    texts: bool,
) -> Trace:
    """See `Engine.adopt`."""
    if not 0.0 <= price_ratio <= 10.0:
        raise ConfigError(f"price_ratio must be a number from 0 to 10, not {price_ratio}")
    caller, now_s, now_wall_s = call.trace, asyncio.get_running_loop().time(), stack.wall_s()
    started_wall_s = now_wall_s if started_wall_s is None else min(started_wall_s, now_wall_s)
    started_at_s = now_s - (now_wall_s - started_wall_s)
    caller.started_at_s, caller.start_wall_s = started_at_s, started_wall_s
    scope = belonging(caller)
    if not caller.tags.step:
        caller.tags = replace(caller.tags, step="batch")
    attempt = attempt_trace(caller, 0, started_at_s, started_wall_s)
    reader = reader_for(call.path)
    read = reader.read_answer(status, answer) if reader is not None else Answer(complete=True)
    outcome: Outcome = "ok" if read.complete else "bad_reply"
    if read.error is not None:
        outcome = read.error.outcome
    # -- the try
    attempt.flight_id = caller.flight_id = caller.id
    attempt.sent_at_s, attempt.status, attempt.reply_bytes = started_at_s, status, len(answer)
    attempt.first_byte_at_s = attempt.first_content_at_s = now_s
    attempt.upstream = call.origin
    if read.error is not None:
        attempt.error_code = read.error.code or str(status)
    said = len(reader.text(answer)) if reader is not None and read.usage is None else 0
    bill(replace(call, trace=attempt), read, outcome, stack.prices, content_bytes=said)
    if attempt.dollars is not None:
        attempt.dollars *= price_ratio
    # -- its caller
    for name in ("sent_at_s", "first_byte_at_s", "first_content_at_s", "status", "error_code", "reply_bytes"):
        setattr(caller, name, getattr(attempt, name))
    for name in ("usage", "dollars", "finish", "maybe_billed"):
        setattr(caller, name, getattr(attempt, name))
    caller.attempts = 1
    if scope is not None and scope.allowance is not None:
        scope.allowance.book(attempt.dollars or 0.0)
    if texts:
        caller.prompt, caller.answer = call.body, answer[:TEXT_BYTES_MAX]
    cache = stack.cache
    key = key_of(call, key_body, route=cache.route) if cache is not None else None
    caller.cache = "miss" if key is not None else "off"
    if key is not None and read.admissible and status == 200:
        _keep(stack, call, key, answer, attempt)
    stack.settle(attempt, caller, outcome, now_s)
    return caller


def _keep(stack: Stack, call: Call, key: bytes, answer: bytes, trace: Trace) -> None:
    """Keep an adopted answer where the same request sent by itself would find it."""
    space, now_wall_s = stack.caches.spaces[call.namespace], stack.wall_s()
    fresh_until_s, stale_until_s = space.freshness.lifetime(now_wall_s, stack.rng)
    entry = Entry(
        headers=(("content-type", "application/json"),),
        body=answer,
        format=trace.format,
        model=trace.model,
        finish=trace.finish,
        usage=trace.usage,
        dollars=trace.dollars,
        stored_wall_s=now_wall_s,
        fresh_until_wall_s=fresh_until_s,
        stale_until_wall_s=stale_until_s,
    )
    space.keep(key, entry, partial(packed_parts, call))
