"""What can be seen from outside: requests on the network, and what the providers' applications read and answered."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools

__all__ = ["Sent", "Watcher", "Wire", "reached", "recording"]


@dataclass
class Sent:
    """What a provider's application read and handed to its server for one request."""

    connection: int
    host: str
    path: str
    credentials: frozenset[str]
    """All that its headers hold."""
    request_id: str = ""
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


@dataclass
class Wire:
    """Requests as the network saw them."""

    begun: int = 0
    delivered: Counter[int] = field(default_factory=Counter)
    """Whole requests by connection."""
    last_s: dict[int, float] = field(default_factory=dict)
    """When a connection's last bytes came to the server."""
    ended_s: dict[int, float] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    """Kept connections whose latest request has got no byte of an answer."""


class Watcher:
    """Reads along; every event is also a line of the trace."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.wire = Wire()
        self.lines: list[str] = []
        self._now_s = now_s
        self._written: dict[int, Any] = {}
        self._arrived: dict[int, Any] = {}
        self._used: set[int] = set()

    def line(self, who: str, event: str, data: bytes) -> None:
        """One more line."""
        self.lines.append(f"{self._now_s():.6f} {who} {event} {len(data)} {zlib.crc32(data):08x}")

    def __call__(self, number: int, event: str, data: bytes) -> None:
        """As `Network` wants it."""
        self.line(f"connection {number}", event, data)
        wire = self.wire
        if event == "up":
            _feed(self._written, number, data, on_begin=lambda: self._begun(number))
        elif event == "down delivered":
            wire.unanswered.discard(number)
        elif event == "up delivered":
            wire.last_s[number] = self._now_s()
            _feed(self._arrived, number, data, on_complete=lambda: wire.delivered.update((number,)))
        elif event == "closed":
            wire.ended_s.setdefault(number, self._now_s())

    def _begun(self, number: int) -> None:
        self.wire.begun += 1
        if number in self._used:
            self.wire.unanswered.add(number)
        self._used.add(number)


class _Marks:
    """What an HTTP parser tells."""

    def __init__(self, on_begin: Callable[[], None] | None, on_complete: Callable[[], None] | None) -> None:
        self.begin, self.complete = on_begin, on_complete

    def on_message_begin(self) -> None:
        if self.begin is not None:
            self.begin()

    def on_message_complete(self) -> None:
        if self.complete is not None:
            self.complete()


def _feed(
    parsers: dict[int, Any],
    number: int,
    data: bytes,
    *,
    on_begin: Callable[[], None] | None = None,
    on_complete: Callable[[], None] | None = None,
) -> None:
    if number not in parsers:
        parsers[number] = httptools.HttpRequestParser(_Marks(on_begin, on_complete))
    parsers[number].feed_data(data)


def recording(app: Any, host: str, sent: list[Sent]) -> Any:
    """The application, with what it reads and answers written down."""

    async def recorded(scope: Any, receive: Any, send: Any) -> None:
        line = Sent(
            connection=scope["client"][1] - 32_768,
            host=host,
            path=scope["path"],
            credentials=frozenset(value.decode("latin-1") for _, value in scope["headers"]),
        )
        read = False

        async def heard() -> Any:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not read:
                read = True
                sent.append(line)
            return message

        async def said(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                line.status = message["status"]
                line.request_id = (headers.get(b"x-request-id") or headers.get(b"request-id") or b"").decode()
            else:
                line.body += message.get("body", b"")
            await send(message)

        await app(scope, heard, said)

    return recorded


def reached(sent: Sequence[Sent]) -> dict[int, int]:
    """Requests that the applications read, by connection."""
    found: dict[int, int] = defaultdict(int)
    for line in sent:
        found[line.connection] += 1
    return found
