"""The data plane as an ASGI application: the same handle, for servers other than our own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeAlias

from headway.errors import HeadwayError
from headway.gateway.data.answers import refused
from headway.gateway.limits import LIMITS, Limits
from headway.gateway.protocol import Handle
from headway.gateway.request import Refused, Request
from headway.types import Headers, Reply
from headway.wire.refusals import refusal_body, refusal_event

__all__ = ["Message", "Plane", "Receive", "Send", "while_there", "whole_body"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Plane:
    """An ASGI application for paths below /v1.

    Args:
        handle: Answers requests.
        check: Looks at a request before its body is taken, and raises `Refused` where it need not come.
        limits: See `Limits`; those of the connection are its server's business.
    """

    def __init__(
        self, handle: Handle, limits: Limits = LIMITS, *, check: Callable[[Request], None] | None = None
    ) -> None:
        self._handle = handle
        self._check = check
        self._limits = limits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": "there is no WebSocket at this path"})
            return
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        outer = scope.get("root_path", "").removesuffix("/v1").encode() + b"/"
        if raw.startswith(outer):
            raw = raw[len(outer) - 1 :]  # where an application of somebody else's has mounted it
        query: bytes = scope.get("query_string", b"")
        target = (raw + b"?" + query if query else raw).decode("latin-1")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        try:
            if self._check is not None:
                self._check(Request(scope["method"], target, headers, b""))
            body = await whole_body(receive, self._limits)
        except Refused as refusal:
            reply = refused(target.partition("?")[0], refusal)
            await _send(send, reply.status, (*reply.headers, ("connection", "close")), reply.body or b"")
            return
        except TimeoutError:
            await _refuse(send, target, 408, "the request's body did not come in time", "request_timeout")
            return
        if body is None:
            return
        if len(body) > self._limits.body_bytes_max:
            most = self._limits.body_bytes_max >> 20
            await _refuse(send, target, 413, f"the request's body is larger than {most} MiB", "request_too_large")
            return
        await while_there(receive, self._answer(Request(scope["method"], target, headers, body), send))

    async def _answer(self, request: Request, send: Send) -> None:
        reply = await self._handle(request)
        try:
            if reply.body is not None:
                await _send(send, reply.status, reply.headers, reply.body)
            else:
                await self._stream(request, reply, send)
        finally:
            await reply.aclose()

    async def _stream(self, request: Request, reply: Reply, send: Send) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": _encoded(reply.headers)})
        try:
            async for chunk in reply:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except HeadwayError as error:
            # ASGI has no word for an end that is none: the event says it.
            if reply.status < 300:
                event = refusal_event(request.target, 502, str(error), error.code)
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def whole_body(receive: Receive, limits: Limits) -> bytes | None:
    """A request's body, more than is allowed only by one message; None when the client has gone.

    Raises:
        TimeoutError: It did not come in time.
    """
    parts, size = [], 0
    async with asyncio.timeout(limits.body_s):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limits.body_bytes_max or not message.get("more_body", False):
                return b"".join(parts)


async def while_there(receive: Receive, answer: Coroutine[Any, Any, None]) -> None:
    """Answer a client whose request was read; one that has gone ends what was asked for it."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, target: str, status: int, message: str, code: str) -> None:
    headers = (("content-type", "application/json"), ("connection", "close"))
    await _send(send, status, headers, refusal_body(target, status, message, code))


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = (*headers, ("content-length", str(len(body))))
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
