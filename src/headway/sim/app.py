"""The simulator as an ASGI application, and the protocol class that can really drop a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from headway.errors import ConnectionLost
from headway.sim.desk import MARK, upload_bytes_max
from headway.sim.formats import Route, refusal, route
from headway.sim.refusals import too_large
from headway.sim.simulator import Simulator
from headway.types import Headers, Reply

__all__ = ["DROP", "asgi_app"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DROP: Final = "headway.sim.drop"
"""Key in the scope's `extensions`: a function that drops the connection after what was written."""


def asgi_app(simulator: Simulator) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application for one simulator. A client that leaves ends generation, streamed or not."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(scope, receive, upload_bytes_max(simulator.settings, scope["method"], scope["path"]))
        if body is None:
            where = Route("messages") if scope["path"].startswith("/v1/messages") else route(scope["path"])
            status, kind, raw = refusal(where, too_large(), "")
            await _send_whole(send, Reply(status, (("content-type", kind), ("connection", "close"), MARK), raw))
            return
        here = asyncio.current_task()
        watcher = asyncio.create_task(_cancel_when_gone(receive, here))
        try:
            await _exchange(simulator, scope, body, send)
        except asyncio.CancelledError:
            if here is None or not watcher.done() or here.uncancel():
                raise  # somebody else's cancellation
        except ConnectionLost:
            watcher.cancel()  # or it would take our own hanging up for the client's
            await _drop(scope, receive)
        finally:
            watcher.cancel()

    return app


async def _exchange(simulator: Simulator, scope: Scope, body: bytes, send: Send) -> None:
    headers: Headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    query = scope.get("query_string", b"").decode("latin-1")
    path = f"{scope['path']}?{query}" if query else scope["path"]
    async with await simulator.respond(scope["method"], path, headers, body) as reply:
        if reply.body is not None:
            await _send_whole(send, reply)
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": _raw(reply.headers)})
        async for chunk in reply:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _send_whole(send: Send, reply: Reply) -> None:
    body = reply.body or b""
    headers = [*_raw(reply.headers), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(scope: Scope, receive: Receive, bytes_max: int) -> bytes | None:
    """The whole body; None when it is larger than allowed, without reading the rest, or when the client left."""
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > bytes_max:
        return None
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > bytes_max or message["type"] == "http.disconnect":
            return None  # half a request is none; who left does not hear what is said to it
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _cancel_when_gone(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


async def _drop(scope: Scope, receive: Receive) -> None:
    """Drop the connection, then wait until the server has noticed."""
    drop = scope.get("extensions", {}).get(DROP)
    if drop is None:
        raise RuntimeError("this server cannot drop connections; serve the simulator with `headway sim`")
    drop()
    async with asyncio.timeout(5):
        while (await receive())["type"] != "http.disconnect":
            pass


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
