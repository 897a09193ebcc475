"""A server that does nothing but keep time: what a measurement of it shows beyond the truth is the measurement's own.

It answers Chat Completions, streamed or whole, on an absolute schedule from the moment a request was there: the first
token after `ttft_s`, then one every `itl_s`. Its account says when each request came and when its tokens were written,
on the system's monotonic clock, which the processes of one machine share.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import httptools
import msgspec

from headway.measure.bench.clock import precise_loop

__all__ = ["NullAccount", "NullSettings", "null_body", "null_server", "serve_null"]

BODY_BYTES_MAX: Final = 1024 * 1024
ACCOUNT_MAX: Final = 200_000
"""Requests in the account; older ones are dropped."""
_INDEX: Final = re.compile(rb'"user":\s*"(\d{1,9})"')
_LIMITS: Final = (
    b"x-ratelimit-limit-requests: 30000000\r\nx-ratelimit-remaining-requests: 29999000\r\n"
    b"x-ratelimit-reset-requests: 2ms\r\n"
)
"""So that nobody learns limits from it, or is careful for want of them."""
_ID: Final = b'"id":"null-1","created":1,"model":"null"'
_EVENT: Final = (
    b'data: {"object":"chat.completion.chunk",' + _ID + b',"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
)


class NullSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What it plays. Times in seconds."""

    ttft_s: float = 0.05
    itl_s: float = 0.01
    tokens: int = 24
    """> 0."""

    @property
    def service_s(self) -> float:
        """From a request to its last token."""
        return self.ttft_s + (self.tokens - 1) * self.itl_s


class NullAccount(msgspec.Struct, frozen=True, array_like=True):
    """One request as the server saw it, in seconds of the monotonic clock."""

    index: int
    """What its body said; -1 for nothing."""
    arrived_s: float
    first_s: float
    """When its first token was written."""
    last_s: float
    """When its last one was."""


def null_body(index: int, *, stream: bool = True) -> bytes:
    """A request for it; the account finds it again by `index`."""
    wish = b"true" if stream else b"false"
    return b'{"model":"null","messages":[{"role":"user","content":"Say it."}],"user":"%d","stream":%b}' % (index, wish)


class _Bytes:
    """Everything it ever writes, made once."""

    def __init__(self, settings: NullSettings) -> None:
        usage = b'"usage":{"prompt_tokens":3,"completion_tokens":%d,"total_tokens":%d}' % (
            settings.tokens,
            settings.tokens + 3,
        )
        self.head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + _LIMITS + b"\r\n"
        )
        self.first = _chunk(_EVENT % (b'{"role":"assistant","content":""}', b"null"))
        self.token = _chunk(_EVENT % (b'{"content":" it"}', b"null"))
        last = _EVENT % (b"{}", b'"stop"')
        counted = b'data: {"object":"chat.completion.chunk",' + _ID + b',"choices":[],' + usage + b"}\n\n"
        self.last = _chunk(last + b"data: [DONE]\n\n") + b"0\r\n\r\n"
        self.last_counted = _chunk(last + counted + b"data: [DONE]\n\n") + b"0\r\n\r\n"
        text = b" it" * settings.tokens
        choice = b'{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"%b"}}' % text
        body = b'{"object":"chat.completion",' + _ID + b',"choices":[' + choice + b"]," + usage + b"}"
        self.whole = _whole(b"application/json", body, _LIMITS)


class _Answering(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, settings: NullSettings, account: deque[NullAccount], data: _Bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings, self._account, self._bytes = settings, account, data
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._body = bytearray()
        self._arrived_s = self._first_s = 0.0
        self._index = -1
        self._written = 0
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > BODY_BYTES_MAX:
            self._transport.abort()

    def on_message_complete(self) -> None:
        """A request is there: begin to answer it."""
        self._arrived_s = self._loop.time()
        if self._parser.get_method() == b"GET":
            self._transport.write(_whole(b"application/json", msgspec.json.encode(list(self._account))))
            return
        found = _INDEX.search(self._body)
        self._index, self._written = (int(found[1]) if found else -1), 0
        self._counted = b"include_usage" in self._body
        if b'"stream":true' in self._body or b'"stream": true' in self._body:
            self._transport.write(self._bytes.head + self._bytes.first)
            self._timer = self._loop.call_at(self._arrived_s + self._settings.ttft_s, self._token)
        else:
            self._timer = self._loop.call_at(self._arrived_s + self._settings.service_s, self._all)

    def _token(self) -> None:
        """Write the next token, on a schedule that a late one does not move."""
        settings, self._written = self._settings, self._written + 1
        done = self._written == settings.tokens
        now_s = self._loop.time()
        if self._written == 1:
            self._first_s = now_s
        if done:
            self._account.append(NullAccount(self._index, self._arrived_s, self._first_s, now_s))
            self._transport.write(self._bytes.token + (self._bytes.last_counted if self._counted else self._bytes.last))
        else:
            self._transport.write(self._bytes.token)
            due_s = self._arrived_s + settings.ttft_s + self._written * settings.itl_s
            self._timer = self._loop.call_at(due_s, self._token)

    def _all(self) -> None:
        now_s = self._loop.time()
        self._account.append(NullAccount(self._index, self._arrived_s, now_s, now_s))
        self._transport.write(self._bytes.whole)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(kind: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (kind, len(body), more)
    return head + body


async def serve_null(settings: NullSettings) -> asyncio.Server:
    """Serve on a free port of the loopback, on the running loop; close it when done."""
    account: deque[NullAccount] = deque(maxlen=ACCOUNT_MAX)
    data = _Bytes(settings)
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Answering(settings, account, data), "127.0.0.1", 0, backlog=2048)


@contextmanager
def null_server(settings: NullSettings | None = None) -> Iterator[str]:
    """One in a process of its own; gives its base URL, ending in "/v1". ``GET`` anything: its account, as JSON.

    It ends with the block, and when this process dies.

    Raises:
        ConnectFailed: It did not start within 20 s.
    """
    from headway.sim.child import child_server  # only where one is started: the child itself does without

    with child_server("headway.measure.bench.null", settings or NullSettings(), "the null server") as port:
        yield f"http://127.0.0.1:{port}/v1"


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=NullSettings)
    server = await serve_null(settings)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    over = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), over.set_result, None)  # the parent closes it, or has died
    await over
    loop.remove_reader(sys.stdin.fileno())
    server.close()


def main() -> None:
    """Serve what the first line of stdin says, until stdin ends."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
