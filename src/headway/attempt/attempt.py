"""One try, from its layers' first await to its end: what came back, up to the commit point and beyond it.

Commit point: a whole answer is judged when it is whole; a stream at its first content event, after `commit_bytes`, or
`commit_s` after its headers. Only before it may what came be discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from headway.errors import BadReply, ConnectionLost, HeadwayError, ProviderError
from headway.policy.flight import Try
from headway.types import Answer, Call, Handler, Headers, Outcome, Reply, Trace, Usage
from headway.upstream import end_to_end
from headway.wire.base import Reader, StreamReader
from headway.wire.prices import Prices
from headway.wire.sse import EventSplitter
from headway.wire.tokens import estimate_tokens

__all__ = ["Attempt", "CommitSettings"]

_OUTCOME_OF_STATUS: dict[int, Outcome] = {401: "auth", 402: "billing", 403: "auth", 429: "throttled"}


class CommitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a stream is handed on although it has said nothing yet, and how large an event may be."""

    commit_bytes: int = 64 * 1024
    commit_s: float = 10.0
    event_bytes_max: int = 16 * 1024 * 1024


class Attempt:
    """One try at an upstream, through the attempt layers."""

    __slots__ = (
        "_answer", "_call", "_content_bytes", "_events", "_follower", "_handler", "_iterator", "_loop", "_opened_at_s",
        "_outcome", "_prices", "_reader", "_reply", "_settings", "_splitter", "_strip", "_terminal", "admissible",
        "chunks", "error", "headers", "state", "status", "streaming", "trace",
        "usage_event", "whole",
    )  # fmt: skip

    def __init__(
        self, call: Call, *, handler: Handler, reader: Reader | None, prices: Prices, settings: CommitSettings
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._reader = reader
        self._prices = prices
        self._settings = settings
        self._strip = False
        if reader is not None and call.view.stream and not call.view.wants_usage:
            asked = reader.ask_usage(call.body)
            if asked is not None:
                call = msgspec.structs.replace(call, body=asked)
                self._strip = True
        self._call = call
        self.trace: Trace = call.trace
        self.state = Try()
        self.status = 0
        self.headers: Headers = ()
        self.chunks: list[bytes] = []
        self.error: HeadwayError | None = None
        self.whole = False
        self.streaming = False
        self.admissible = False
        self.usage_event = b""
        self._reply: Reply | None = None
        self._iterator: AsyncIterator[bytes] | None = None
        self._follower: StreamReader | None = None
        self._splitter: EventSplitter | None = None
        self._answer = Answer()
        self._content_bytes = 0
        self._opened_at_s = 0.0
        self._outcome: Outcome = "abandoned"
        self._terminal = False

    async def fly(self) -> None:
        """Run until there is something to judge; the verdict is in `state`. Ends the try unless a stream goes on."""
        going_on = False
        try:
            reply = self._reply = await self._handler(self._call)
            self.status, self.headers = reply.status, end_to_end(reply.headers)
            self.trace.status = reply.status
            event_stream = self._call.view.stream or reply.header("content-type").startswith("text/event-stream")
            if reply.status < 400 and event_stream:
                going_on = await self._open_stream(reply)
            else:
                await self._read_whole(reply)
        except HeadwayError as error:
            self._failed(error)
        finally:
            if not going_on:
                await self._end()

    async def next_chunk(self) -> bytes | None:
        """After the commit point: the next bytes for the readers (b"" if they are held back); None at the end."""
        going_on = False
        try:
            chunk = await self._pull()
            going_on = chunk is not None
            return chunk
        except HeadwayError as error:
            self._failed(error)
            return None
        finally:
            if not going_on:
                await self._end()

    def hurry(self, call: Call) -> None:
        """A joiner raised priority or deadline: a place in the queue moves with it."""
        hurry = self.trace.hurry
        if hurry is not None:
            hurry(call.priority, call.deadline_at_s)

    def expire(self) -> None:
        """The last reader's deadline passed; the end that follows says so."""
        self._outcome = "deadline"

    async def _read_whole(self, reply: Reply) -> None:
        body = await reply.read()
        self.chunks = [body]
        self.whole = True
        self.trace.reply_bytes = len(body)
        self.trace.first_content_at_s = self._loop.time()
        if self._reader is not None:
            answer = self._answer = self._reader.read_answer(reply.status, body)
            if answer.error is not None:
                error = answer.error
                self.trace.error_code = error.code or str(reply.status)
                wait_s = error.retry_after_s if self.trace.retry_after_s is None else self.trace.retry_after_s
                self._settle(error.outcome, retryable=error.retryable, retry_after_s=wait_s)
                return
            if not answer.complete:
                raise BadReply(
                    f"{self._call.origin} answered {reply.status} with bytes that are not {self._reader.format} JSON",
                    maybe_billed=True,
                )
            self.admissible = answer.admissible and reply.status == 200
        elif reply.status >= 400:
            self.trace.error_code = str(reply.status)
            outcome = _OUTCOME_OF_STATUS.get(reply.status) or (
                "server_error" if reply.status >= 500 else "client_error"
            )
            retryable = outcome == "throttled" or reply.status in (408, 409) or reply.status >= 500
            self._settle(outcome, retryable=retryable, retry_after_s=self.trace.retry_after_s)
            return
        self._settle("ok")

    async def _open_stream(self, reply: Reply) -> bool:
        """Read a stream up to its commit point; whether it goes on after it."""
        self.streaming = True
        self._iterator = aiter(reply)
        if self._reader is not None:
            self._follower = self._reader.open_stream()
            self._splitter = EventSplitter(self._settings.event_bytes_max)
        self._opened_at_s = self._loop.time()
        while self.state.outcome is None:
            chunk = await self._pull()
            if chunk is None:
                self.whole = True
                return False
            if chunk:
                self.chunks.append(chunk)
        self.whole = self._answer.error is not None  # an error event ends it: what follows is not read
        return not self.whole

    async def _pull(self) -> bytes | None:
        assert self._iterator is not None
        try:
            chunk = await anext(self._iterator)
        except StopAsyncIteration:
            return self._at_end()
        self.trace.reply_bytes += len(chunk)
        if self._follower is None or self._splitter is None:
            self._content_seen()
            return chunk
        kept = bytearray() if self._strip else None
        for event in self._splitter.feed(chunk):
            kind = self._follower.feed(event)
            if kind == "content":
                if self.trace.first_content_at_s is None:
                    self._content_seen()
                self._content_bytes += len(event)
            elif kind == "terminal":
                self._terminal = True
                self._content_seen()
            elif kind == "usage":
                self.usage_event = event
            elif kind == "error":
                self._stream_error()
            if kept is not None and kind != "usage":
                kept += event
        if self.state.outcome is None and (
            self.trace.reply_bytes >= self._settings.commit_bytes
            or self._loop.time() - self._opened_at_s >= self._settings.commit_s
        ):
            self.state.end("ok", self._loop.time())
        return chunk if kept is None else bytes(kept)

    def _at_end(self) -> bytes | None:
        if self._follower is not None and self._splitter is not None:
            tail = self._splitter.tail()
            if tail:
                self._follower.feed(tail)
            self._answer = self._follower.answer()
            if self._answer.error is None and not self._answer.complete:
                raise ConnectionLost(
                    f"the stream from {self._call.origin} ended without its terminal event; what came is not the whole",
                    maybe_billed=True,
                )
            self.admissible = self._answer.admissible and self.status == 200
        if self._answer.error is not None:
            self._stream_error()
        else:
            self._settle("ok")
        return None

    def _content_seen(self) -> None:
        now_s = self._loop.time()
        if self.trace.first_content_at_s is None:
            self.trace.first_content_at_s = now_s
        if self.state.outcome is None:
            self.state.end("ok", now_s)

    def _stream_error(self) -> None:
        """An error event inside a 200: before the commit point a failed try, after it the readers' to see."""
        assert self._follower is not None
        self._answer = self._follower.answer()
        error = self._answer.error
        if error is not None:
            self.trace.error_code = error.code
            self._settle(error.outcome, retryable=error.retryable, retry_after_s=error.retry_after_s)

    def _failed(self, error: HeadwayError) -> None:
        self.error = error
        self.trace.error_code = error.code
        provider = isinstance(error, ProviderError)
        self.trace.maybe_billed = bool(getattr(error, "maybe_billed", False))
        self._settle(error.code if provider else _own(error), retryable=provider)  # type: ignore[arg-type]

    def _settle(self, outcome: Outcome, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        self._outcome = outcome
        if self.state.outcome is None:
            self.state.end(outcome, self._loop.time(), retryable=retryable, retry_after_s=retry_after_s)

    async def _end(self) -> None:
        """Book and give everything back: first synchronously, whatever happens; then close the connection's reply."""
        trace = self.trace
        if self.state.outcome is None:
            self.state.end(self._outcome, self._loop.time())
        if self._follower is not None and not self._answer.complete:
            self._answer = self._follower.answer()
        usage = self._answer.usage
        if usage is None and (self._outcome == "ok" or (trace.sent_at_s is not None and self._cut_short())):
            usage = Usage(
                input_tokens=self._call.view.input_tokens,
                output_tokens=estimate_tokens(self._content_bytes),
                estimated=True,
            )
            trace.maybe_billed = self._outcome != "ok"
        trace.usage = usage
        trace.finish = self._answer.finish
        if usage is not None:
            rates = self._prices.rates(self._answer.model or self._call.view.model, self._call.origin)
            rates = rates or self._prices.rates(self._call.view.model, self._call.origin)
            trace.dollars = rates.dollars(usage) if rates is not None else None
        else:
            trace.dollars = 0.0
        trace.end(self._outcome, self._loop.time())
        if self._reply is not None:
            await self._reply.aclose()

    def _cut_short(self) -> bool:
        return self._outcome in (
            "abandoned",
            "deadline",
            "connection_lost",
            "provider_timeout",
            "bad_reply",
            "closed",
        )


def _own(error: HeadwayError) -> Outcome:
    known: dict[str, Outcome] = {"budget": "budget", "queue_full": "queue_full", "deadline": "deadline"}
    return known.get(error.code, "closed")
