"""One try, from its layers' first await to its end: what came back, up to the commit point and beyond it.

Commit point: a whole answer is judged when it is whole; a stream at its first content event, after `commit_bytes`, or
`commit_s` after its headers. Only before it may what came be discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from msgspec.structs import replace

from headway.attempt.billing import bill
from headway.attempt.commit import CommitSettings, in_time, is_stream
from headway.attempt.following import Following
from headway.attempt.mute import Mute
from headway.attempt.outcomes import cut_off, outcome_of_error, outcome_of_status, unread
from headway.errors import HeadwayError
from headway.policy.flight import Try
from headway.types import Answer, Call, Handler, Headers, Outcome, Reply, Trace
from headway.upstream import end_to_end
from headway.wire.base import Reader
from headway.wire.prices import Prices

__all__ = ["Attempt"]


class Attempt:
    """One try at an upstream, through the attempt layers.

    Args:
        loop: The running one.
        call: With a trace of its own.
        handler: The outermost attempt layer.
        reader: Of the call's format; without one the bytes pass unread.
        mute: Origins whose streams are not asked for their usage, because they refuse to be.
        on_commit: Told when a stream passes its commit point by time alone, while `fly` still waits for bytes.
    """

    __slots__ = (
        "_answer", "_call", "_first_content_s", "_following", "_handler", "_iterator", "_loop", "_mute", "_outcome",
        "_prices", "_reader", "_reply", "_settings", "_strip", "admissible", "chunks", "error", "headers", "on_commit",
        "state", "status", "streaming", "trace", "whole",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call: Call,
        *,
        handler: Handler,
        reader: Reader | None,
        prices: Prices,
        settings: CommitSettings,
        first_content_s: float,
        mute: Mute,
        on_commit: Callable[[Attempt], None] | None = None,
    ) -> None:
        self._loop = loop
        self._handler = handler
        self._reader = reader
        self._prices = prices
        self._settings = settings
        self._strip = False
        self._mute = mute
        self._first_content_s = first_content_s
        if reader is not None and call.view.stream and not call.view.wants_usage and call.origin not in mute:
            asked = reader.ask_usage(call.body)
            if asked is not None:
                call = replace(call, body=asked)
                self._strip = True
        self._call = call
        self.trace: Trace = call.trace
        self.state = Try()
        self.status = 0
        self.headers: Headers = ()
        self.chunks: list[bytes] = []
        """What came and was not taken yet."""
        self.error: Exception | None = None
        self.whole = self.streaming = self.admissible = False
        self.on_commit = on_commit
        self._reply: Reply | None = None
        self._iterator: AsyncIterator[bytes] | None = None
        self._following: Following | None = None
        self._answer = Answer()
        self._outcome: Outcome = "abandoned"

    @property
    def finished(self) -> bool:
        """The answer's terminal event was seen: whatever becomes of the connection now, the answer is whole."""
        return self._following is not None and self._following.terminal and not self._following.failed

    @property
    def usage_event(self) -> bytes:
        """The stream's extra usage event, verbatim; b"" if it had none."""
        return self._following.usage_event if self._following is not None else b""

    async def fly(self) -> None:
        """Run until there is something to judge; the verdict is in `state`. Ends the try unless a stream goes on."""
        await self.ask()
        if self.streaming:
            await self.listen()

    async def ask(self) -> None:
        """Likewise, but of an answer that is a stream (`streaming`) nothing is read yet: go on with `listen`."""
        try:
            reply = self._reply = await self._handler(self._call)
            self.trace.status = status = self.status = reply.status
            self.headers = end_to_end(reply.headers)
            if status < 400 and is_stream(reply.headers, wanted=self._call.view.stream):
                self.streaming = True
            else:
                body = reply.body
                self._read_whole(status, await reply.read() if body is None else body)
        except HeadwayError as error:
            self._failed(error)
        finally:
            if not self.streaming:
                self.end()
                if self._reply is not None and self._reply.held:
                    await self._reply.aclose()

    async def listen(self) -> None:
        """Read a stream up to its commit point."""
        assert self._reply is not None
        self._iterator = aiter(self._reply)
        if self._reader is not None:
            bytes_max = self._settings.event_bytes_max
            self._following = Following(self._reader, strip=self._strip, event_bytes_max=bytes_max)
        timer = self._loop.call_later(self._settings.commit_s, self._commit_by_time)
        try:
            while self.state.outcome is None:
                chunk = await self.next_chunk()
                if chunk is None:
                    self.whole = self.error is None
                    return
                if chunk:
                    self.chunks.append(chunk)
        finally:
            timer.cancel()
        if self._answer.error is not None:  # an error event ends it: what follows is not read
            self.whole = True
            await self.aclose()

    async def next_chunk(self) -> bytes | None:
        """The next bytes of a stream for the readers (b"" if they are held back); None at the end."""
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
                await self.aclose()

    def hurry(self, call: Call) -> None:
        """A joiner raised priority or deadline: a place in the queue moves with it."""
        if self.trace.hurry is not None:
            self.trace.hurry(call.priority, call.deadline_at_s)

    def end(self, outcome: Outcome = "abandoned") -> None:
        """Book the try and give everything back: synchronous, idempotent, whatever has happened.

        An answer whose terminal event was seen is "ok" even if nobody waited for the connection's end.
        """
        trace, following, said = self.trace, self._following, 0
        if trace.outcome is not None:
            return
        now_s = self._loop.time()
        try:
            if self._outcome != "abandoned":
                outcome = self._outcome
            if following is not None:
                if self.finished:
                    outcome = "ok"
                    self._judge()
                elif not self._answer.complete:
                    self._answer = following.answer()
                said = following.content_bytes
            if self.state.outcome is None:
                self.state.end(outcome, now_s)
            bill(self._call, self._answer, outcome, self._prices, content_bytes=said)
        finally:
            trace.end(outcome, now_s)

    async def aclose(self) -> None:
        """End it, then close the connection's reply."""
        self.end()
        reply = self._reply
        if reply is not None and reply.held:
            await reply.aclose()

    def _read_whole(self, status: int, body: bytes) -> None:
        self.chunks = [body]
        self.whole = True
        trace = self.trace
        trace.reply_bytes = len(body)
        trace.first_content_at_s = self._loop.time()
        if self._reader is not None:
            answer = self._answer = self._reader.read_answer(status, body)
            if answer.error is not None:
                error = answer.error
                trace.error_code = error.code or str(status)
                wait_s = error.retry_after_s if trace.retry_after_s is None else trace.retry_after_s
                again = self._strip and status in (400, 422) and self._mute.named_in(body, self._call.origin)
                self._settle(error.outcome, retryable=error.retryable or again, retry_after_s=wait_s)
                return
            if not answer.complete:
                raise unread(self._call.origin, status, self._reader.format)
            self.admissible = answer.admissible and status == 200
        elif status >= 400:
            trace.error_code = str(status)
            outcome, retryable = outcome_of_status(status)
            self._settle(outcome, retryable=retryable, retry_after_s=trace.retry_after_s)
            return
        self._settle("ok")

    def _commit_by_time(self) -> None:
        if self.state.outcome is None:
            self.state.end("ok", self._loop.time())
            if self.on_commit is not None:
                self.on_commit(self)

    async def _pull(self) -> bytes | None:
        assert self._iterator is not None
        try:
            if self.trace.first_content_at_s is None:
                chunk = await in_time(self._iterator, self.trace, self._first_content_s)
            else:
                chunk = await anext(self._iterator)
        except StopAsyncIteration:
            return self._at_end()
        self.trace.reply_bytes += len(chunk)
        following = self._following
        if following is None:
            self._content_seen()
            return chunk
        kept = following.feed(chunk)
        if following.failed and self._answer.error is None:
            self._stream_error()
        elif following.content_seen or following.terminal:
            self._content_seen()
        elif self.state.outcome is None:
            alone = following.reasoning_seen and self._call.attempts_max == 1  # no other try to hold it back for
            if alone or self.trace.reply_bytes >= self._settings.commit_bytes:
                self.state.end("ok", self._loop.time())
        return kept

    def _at_end(self) -> bytes | None:
        following = self._following
        if following is None:
            self._settle("ok")
            return None
        tail = following.finish()
        if tail:
            return tail  # the last event's blank line is missing; the next pull ends it
        self._judge()
        if self._answer.error is not None:
            self._stream_error()
        elif not self._answer.complete:
            raise cut_off(self._call.origin)
        else:
            self._settle("ok")
        return None

    def _judge(self) -> None:
        assert self._following is not None
        self._answer = self._following.answer()
        self.admissible = self._answer.admissible and self._answer.error is None and self.status == 200

    def _content_seen(self) -> None:
        if self.trace.first_content_at_s is None:
            self.trace.first_content_at_s = self._loop.time()
        if self.state.outcome is None:
            self.state.end("ok", self._loop.time())

    def _stream_error(self) -> None:
        """An error event inside a 200: before the commit point a failed try, after it the readers' to see."""
        self._judge()
        error = self._answer.error
        if error is not None:
            self.trace.error_code = error.code
            self._settle(error.outcome, retryable=error.retryable, retry_after_s=error.retry_after_s)

    def _failed(self, error: HeadwayError) -> None:
        self.error = error
        self.trace.error_code = error.code
        self.trace.maybe_billed = bool(getattr(error, "maybe_billed", False))
        outcome, retryable = outcome_of_error(error)
        self._settle(outcome, retryable=retryable)

    def _settle(self, outcome: Outcome, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        self._outcome = outcome
        if self.state.outcome is None:
            self.state.end(outcome, self._loop.time(), retryable=retryable, retry_after_s=retry_after_s)
