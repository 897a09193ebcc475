"""Asks once, and notes every clock on the way: the sending side of `measure.probe`.

Requests go through an engine, the very transport that applications use. Times are taken where an application would see
them: after the engine has handed the bytes on. (Reasoning that comes before the first word of an answer is held back
until the flight's commit point, here as there.) What fails is a `Probe` like any other; nothing is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Literal, cast

from msgspec.structs import replace

from headway.engine import Engine
from headway.engine.sentences import FAULTS, failure
from headway.errors import HeadwayError
from headway.measure.probe import Probe
from headway.types import Answer, ErrorView, Reply, Tags, Trace
from headway.wire import reader_for
from headway.wire.base import Reader
from headway.wire.event_text import event_text
from headway.wire.sse import EventSplitter

__all__ = ["IGNORED", "ODD_PRICE", "probe"]

EVENT_BYTES_MAX = 16 * 1024 * 1024
ERROR_CHARS_MAX = 500
IGNORED = "the server ignored stream=true, so when its first token was ready cannot be told"
ODD_PRICE = "the price of its model is no number, so what it cost cannot be told"


class _Clocks:
    """What is noted while an answer comes. Readings of the loop's clock, the origin not taken off yet."""

    __slots__ = ("answer", "content_events", "error", "first_answer_at_s", "first_byte_at_s", "first_reasoning_at_s",
                 "gaps_s", "last_content_at_s", "note", "parts", "said", "status", "streamed", "trace")  # fmt: skip

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.status: int | None = None
        self.streamed = False
        self.said = False  # a token of the answer came
        self.first_byte_at_s: float | None = None
        self.first_reasoning_at_s: float | None = None
        self.first_answer_at_s: float | None = None
        self.last_content_at_s: float | None = None
        self.content_events = 0
        self.gaps_s: list[float] = []
        self.parts: list[str] = []
        self.answer = Answer()
        self.error = ""
        self.note = ""


async def probe(
    engine: Engine,
    path: str,
    body: bytes,
    *,
    intended_s: float,
    origin_s: float,
    index: int = 0,
    variant: str = "",
    headers: Mapping[str, str] | None = None,
    cache: Literal["on", "off", "refresh"] | None = "off",
    deadline_s: float | None = None,
    accept: Callable[[str], Any] | None = None,
    tags: Tags | None = None,
    texts: bool = False,
    gaps: bool = True,
) -> Probe:
    """Make one request and time it; whatever Headway raises on the way becomes an outcome and a sentence.

    Args:
        engine: What it goes through. Give one without retries (`attempts_max=1`) to measure the provider alone; tries
            are counted in `Probe.attempts` either way.
        path: E.g. "/v1/chat/completions".
        body: The request; streamed where it says ``"stream": true``.
        intended_s: When it was due, in seconds since `origin_s`.
        origin_s: The measurement's origin on the loop's clock.
        index: Of the request in its variant.
        variant: What the answer is booked under.
        headers: As for `Engine.send`, and so are `cache`, `deadline_s` and `tags`. None for `cache`: as it is set.
        accept: Takes the answer's text; raises `ValueError` where it is not what was asked for.
        texts: Keep the text; else it is gathered only where `accept` needs it, and not kept.
        gaps: Keep the gaps between content events.

    Returns:
        The request with all its clocks.
    """
    loop = asyncio.get_running_loop()
    clocks = _Clocks()
    reader, started_at_s, failed = reader_for(path), loop.time(), None
    try:
        reply = await engine.send(path, body, headers=headers, cache=cache, deadline_s=deadline_s, tags=tags)
        clocks.trace = reply.trace
        await _take(reply, reader, clocks, loop.time, texts=texts or accept is not None, gaps=gaps)
    except HeadwayError as error:
        failed = error
        clocks.trace = clocks.trace or cast("Trace | None", error.trace)
    end_at_s = loop.time()
    outcome, error_text = _outcome(clocks, failed, path)
    if outcome == "ok" and accept is not None:
        outcome, error_text = _checked(accept, "".join(clocks.parts))
    told = Probe(
        index=index,
        variant=variant,
        intended_s=intended_s,
        started_s=started_at_s - origin_s,
        end_s=end_at_s - origin_s,
        gaps_s=tuple(clocks.gaps_s),
        content_events=clocks.content_events,
        text="".join(clocks.parts) if texts else "",
        outcome=outcome,
        error=error_text[:ERROR_CHARS_MAX],
    )
    return _with_clocks(told, clocks, origin_s)


def _checked(accept: Callable[[str], Any], text: str) -> tuple[str, str]:
    """Whether an answer is what was asked for; a checker that fails is told apart from one that refuses."""
    try:
        accept(text)
    except FAULTS as fault:
        said = str(fault) if isinstance(fault, ValueError) else f"the checker failed ({fault!r}); mend it"
        return "invalid_output", said
    return "ok", ""


def _with_clocks(told: Probe, clocks: _Clocks, origin_s: float) -> Probe:
    """Everything else: what was noted on the way, and what the engine's own trace knows."""

    def since(at_s: float | None) -> float | None:
        return None if at_s is None else at_s - origin_s

    told = replace(
        told,
        first_byte_s=since(clocks.first_byte_at_s),
        first_reasoning_s=since(clocks.first_reasoning_at_s),
        first_answer_s=since(clocks.first_answer_at_s),
        last_content_s=since(clocks.last_content_at_s),
        note=clocks.note,
        status=clocks.status,
        finish=clocks.answer.finish,
        streamed=clocks.streamed,
    )
    trace = clocks.trace
    if trace is None:
        return told
    dollars, note = trace.dollars, told.note
    if dollars is not None and not isfinite(dollars):
        dollars, note = None, note or ODD_PRICE
    return replace(
        told,
        sent_s=since(trace.sent_at_s),
        connect_s=trace.connect_s,
        wait_s=trace.wait_s,
        first_byte_s=told.first_byte_s if trace.first_byte_at_s is None else since(trace.first_byte_at_s),
        usage=None if trace.usage is None or trace.usage.estimated else trace.usage,
        dollars=dollars,
        note=note,
        finish=trace.finish or told.finish,
        cache=trace.cache,
        attempts=trace.attempts,
        provider_queue_s=trace.provider_queue_s,
        provider_processing_s=trace.provider_processing_s,
    )


async def _take(
    reply: Reply, reader: Reader | None, clocks: _Clocks, now_s: Callable[[], float], *, texts: bool, gaps: bool
) -> None:
    """Read a reply to its end, whatever it is."""
    clocks.status = reply.status
    try:
        if reply.status < 400 and reply.header("content-type").startswith("text/event-stream"):
            clocks.streamed = True
            await _follow(reply, reader, clocks, now_s, texts=texts, gaps=gaps)
            return
        data = await reply.read()
        at_s = now_s()
        clocks.first_byte_at_s = at_s
        if reply.status >= 400:
            assert reply.trace is not None  # the engine's replies carry their caller's trace
            clocks.error = failure(reply.trace.path, reply.status, data, reply.trace)
            return
        if reply.trace is not None and reply.trace.stream:
            clocks.note = IGNORED
        if reader is None:
            clocks.said = bool(data)
            return
        answer = clocks.answer = reader.read_answer(reply.status, data)
        if answer.error is not None:  # a 200 can say that it failed, whatever text it brings
            clocks.error = f"the answer says that it failed: {_said(answer.error)}"
            return
        text = reader.text(data)
        clocks.said = bool(text) or answer.admissible  # tool calls and vectors are answers without a text
        if clocks.said:
            clocks.last_content_at_s = at_s
        if texts:
            clocks.parts.append(text)
    finally:
        await reply.aclose()


async def _follow(
    reply: Reply, reader: Reader | None, clocks: _Clocks, now_s: Callable[[], float], *, texts: bool, gaps: bool
) -> None:
    """Read a stream. An event is decoded once; what is kept of it is a number."""
    if reader is None:
        async for chunk in reply.chunks():
            if clocks.first_byte_at_s is None:
                clocks.first_byte_at_s = now_s()
            clocks.said = clocks.said or bool(chunk)
        return
    splitter, follower = EventSplitter(EVENT_BYTES_MAX), reader.open_stream()
    try:
        async for chunk in reply.chunks():
            at_s = now_s()
            if clocks.first_byte_at_s is None:
                clocks.first_byte_at_s = at_s
            for event in splitter.feed(chunk):
                kind = follower.feed(event)
                if kind == "content":
                    _content(clocks, at_s, gaps=gaps)
                    if texts:
                        clocks.parts.append(event_text(event))
                elif kind == "reasoning" and clocks.first_reasoning_at_s is None:
                    clocks.first_reasoning_at_s = at_s
        tail = splitter.tail()
        if tail and follower.feed(tail) == "content":
            _content(clocks, now_s(), gaps=gaps)
            if texts:
                clocks.parts.append(event_text(tail))
    finally:
        answer = clocks.answer = follower.answer()
        clocks.said = clocks.content_events > 0
        if answer.error is not None:
            clocks.error = f"the stream ended in an error: {_said(answer.error)}"


def _said(error: ErrorView) -> str:
    return error.message or error.code or "it gave no reason"


def _content(clocks: _Clocks, at_s: float, *, gaps: bool) -> None:
    """A piece of the answer came."""
    clocks.content_events += 1
    last_s = clocks.last_content_at_s
    if last_s is None:
        clocks.first_answer_at_s = at_s
    elif gaps and at_s > last_s:
        clocks.gaps_s.append(at_s - last_s)
    clocks.last_content_at_s = at_s


def _outcome(clocks: _Clocks, failed: HeadwayError | None, path: str) -> tuple[str, str]:
    """How it went, in a word and in a sentence."""
    ended = clocks.trace.outcome if clocks.trace is not None else None
    if failed is not None:
        known = ended is not None and ended not in ("ok", "abandoned")
        return (str(ended) if known else failed.code), str(failed) or f"{failed.code}, without a word why"
    if clocks.error:
        error = clocks.answer.error
        word = ended if ended not in (None, "ok", "abandoned") else error.outcome if error is not None else "bad_reply"
        return str(word), clocks.error
    if not clocks.said:
        return "empty", f"the answer to {path} held no token; check the bound on its output and its finish reason"
    return "ok", ""
