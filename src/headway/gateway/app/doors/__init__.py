"""The simple doors: `/stream`, `/chat`, a page to try them, and `/v1/realtime`."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from headway.gateway.app.doors.chat import Chat
from headway.gateway.app.doors.page import page
from headway.gateway.app.doors.realtime import Realtime
from headway.gateway.app.doors.sockets import Sockets
from headway.gateway.app.doors.stream import StreamDoor
from headway.gateway.serving import Serving

__all__ = ["routes"]


def routes(serving: Serving) -> list[BaseRoute]:
    """Its routes."""
    sockets = Sockets(serving)
    return [
        Route("/stream", StreamDoor(serving), methods=["GET", "POST"]),
        Route("/try", page),
        WebSocketRoute("/chat", Chat(serving, sockets).serve),
        WebSocketRoute("/v1/realtime", Realtime(serving, sockets).serve),
    ]
