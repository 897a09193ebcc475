"""How `/stream` sends: events or text, as they come and at their reader's pace, and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headway.gateway.app.doors.asking import Answering, Unanswered
from headway.gateway.app.plane import Message, Send
from headway.gateway.request import Refused
from headway.types import Headers

__all__ = ["NO_STORE", "OURS", "TYPES", "Left", "Relay", "refuse", "send_whole"]

TYPES: Final = {"sse": "text/event-stream; charset=utf-8", "text": "text/plain; charset=utf-8"}
NO_STORE: Final = ("cache-control", "no-store")
OURS: Final = (("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin"))


class Left(Exception):
    """Nobody has read anything for a long time."""


class Relay:
    """Sends an answer's pieces as they come, at its reader's pace."""

    def __init__(self, send: Send, scope: Message, write_s: float) -> None:
        self._send = send
        self._write_s = write_s
        self._break_off = scope.get("extensions", {}).get("headway.connection", {}).get("break_off")

    def end_at_once(self, *, abort: bool = True) -> None:
        """End the connection in the middle of the answer, where the server lets us; without what waits to be sent."""
        if self._break_off is not None:
            self._break_off(abort=abort)

    async def begin(self, headers: Headers) -> None:
        """The head."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _encoded(headers)})

    async def events(self, answering: Answering) -> None:
        """As server-sent events."""
        trace = answering.reply.trace
        # An id alone is no event, but an EventSource whose line breaks says it when it comes back.
        await self._write(b"id: %b\n\n" % (trace.id.encode() if trace is not None else b"1"))
        try:
            async for text in answering:
                await self._write(b"data: " + msgspec.json.encode({"text": text}) + b"\n\n")
            last = _event("done", await answering.took())
        except Unanswered as broken:
            last = _event("error", {"message": broken.message, "code": broken.code, "status": broken.status})
        await self._write(last)
        await self._end()

    async def text(self, answering: Answering) -> None:
        """As they are. Text has no word for an end that is none: then the connection breaks off."""
        try:
            async for text in answering:
                await self._write(text.encode("utf-8", "replace"))
        except Unanswered:
            self.end_at_once(abort=False)
            return
        await self._end()

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._write_s):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise Left from None

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(name: str, said: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(said))


async def refuse(send: Send, refused: Refused, *, events: bool) -> None:
    """Say why not: to an `EventSource`, which shows nobody a status, as an event; to others with the status."""
    said = {"message": refused.message, "code": refused.code}
    retry_after = refused.retry_after if isinstance(refused, Unanswered) else ""
    told: Headers = (NO_STORE, *OURS, *((("retry-after", retry_after),) if retry_after else ()))
    if events:
        body = b"id: refused\n" + _event("error", said | {"status": refused.status})  # it does not come back, see there
        await send_whole(send, 200, (("content-type", TYPES["sse"]), *told), body)
    else:
        await send_whole(
            send, refused.status, (("content-type", "application/json"), *told), msgspec.json.encode({"error": said})
        )


async def send_whole(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """Send an answer that is at hand."""
    if status not in (204, 304):
        headers = (*headers, ("content-length", str(len(body))))
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
