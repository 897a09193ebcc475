"""What the doors' WebSockets have in common: who gets one, how it is refused, how it is said that the server ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketState

from headway.gateway.app.doors.visitor import Visitor
from headway.gateway.protocol.handed import ENDING
from headway.gateway.request import Refused
from headway.gateway.serving import Serving

__all__ = ["GOING_AWAY", "INTERNAL", "POLICY", "Place", "Sockets", "deny", "ending_of", "goodbye"]

GOING_AWAY = 1001
POLICY = 1008
INTERNAL = 1011
"""Close codes. Source: RFC 6455, section 7.4.1."""

_REASON_BYTES_MAX = 123


class Place:
    """One socket's place among all."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._known: bool | None = None

    def take(self, *, known: bool) -> None:
        """Take one, or another one than before. Raises `Refused` where there is no room."""
        self._sockets.check(known=known)
        self.leave()
        self._known = known
        self._count(1)

    def leave(self) -> None:
        """Give it back."""
        if self._known is not None:
            self._count(-1)
            self._known = None

    def _count(self, by: int) -> None:
        if self._known:
            self._sockets.open += by
        else:
            self._sockets.strangers += by


class Sockets:
    """Counts the sockets of one process: strangers, who have shown no key yet, have a few places of their own.

    Args:
        serving: Whose limits hold.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.open = self.strangers = 0

    @contextmanager
    def one(self, *, known: bool = True) -> Iterator[Place]:
        """One more. Raises `Refused` where there is no room."""
        place = Place(self)
        place.take(known=known)
        try:
            yield place
        finally:
            place.leave()

    def check(self, *, known: bool) -> None:
        """Raises `Refused` where there is no room for one more."""
        limits = self._serving.settings.doors
        if not known and self.strangers >= limits.strangers_max:
            raise Refused(503, "too many sockets have shown no key yet; send it in a header, or try again in a moment",
                          "overloaded")  # fmt: skip
        if known and self.open >= limits.sockets_max:
            raise Refused(503, "too many sockets are open; try again in a moment", "overloaded")

    def visitor(self, socket: WebSocket, path: str) -> tuple[Visitor, str]:
        """Who asks for a socket at that path, and the subprotocol to agree on; "" for none.

        Raises:
            Refused: A page of another origin asks, or the path is written in another way.
        """
        raw: bytes = socket.scope.get("raw_path") or socket.scope["path"].encode()
        if raw != path.encode():
            raise Refused(404, f"there is no WebSocket at this path; write it plainly: {path}", "not_found")
        visitor = Visitor(self._serving, socket.scope["headers"])
        visitor.check_site()
        agreed, key = visitor.protocols()
        if key:
            visitor.bring(key)
        return visitor, agreed


def ending_of(socket: WebSocket) -> asyncio.Event:
    """Set when the server ends; under another server than ours it never is."""
    found = socket.scope.get("extensions", {}).get(ENDING)
    return found["event"] if found is not None else asyncio.Event()


async def deny(socket: WebSocket, refused: Refused) -> None:
    """Answer the request for a socket with a refusal."""
    if "websocket.http.response" not in socket.scope.get("extensions", {}):
        await socket.close(POLICY, refused.message[:60])
        return
    said = {"error": {"message": refused.message, "code": refused.code}}
    await socket.send_denial_response(JSONResponse(said, refused.status, {"cache-control": "no-store"}))


async def goodbye(socket: WebSocket, code: int, reason: str = "") -> None:
    """Close it from our side, unless it is closed."""
    if WebSocketState.DISCONNECTED not in (socket.client_state, socket.application_state):
        cut = reason.encode()[:_REASON_BYTES_MAX].decode("utf-8", "ignore")
        try:
            await socket.close(code, cut)
        except (OSError, RuntimeError):
            pass  # it went while we said so
