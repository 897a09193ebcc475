"""The server's own protocol, for what is not the data plane's, held to the same limits on headers; and upgrades."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headway.gateway.limits import DoorLimits, Limits

if TYPE_CHECKING:
    from headway.gateway.protocol.socket import Socket

__all__ = ["ENDING", "Handed"]

ENDING = "headway.ending"
"""Of a WebSocket's scope's extensions: an `asyncio.Event` under "event", set when the server ends."""


class Handed(HttpToolsProtocol):
    """uvicorn's protocol bounds the time between requests, but neither a head's size nor how long it takes.

    Args:
        config: As for uvicorn's.
        server_state: Likewise.
        app_state: Likewise.
        loop: The running one.
        limits: See `Limits`.
        doors: Of WebSockets.
    """

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        doors: DoorLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.ws_protocol_class = self._socket  # type: ignore[assignment]  # called like the class
        self._limits = limits
        self._doors = doors
        self._head_bytes = 0
        self._in_head = self._went_on = False
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes came: those of a head are counted, and those of trailers, which uvicorn keeps like headers."""
        self._went_on = False
        super().data_received(data)
        if self._went_on and not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._limits.head_bytes_max:
            self.transport.close()

    def break_off(self, *, abort: bool) -> None:
        """For an application that has begun an answer and has no end for it: end the connection without one.

        Args:
            abort: Whether what waits to be sent is dropped, as nobody reads it.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True  # it is meant, and no news to uvicorn's log
        (self.transport.abort if abort else self.transport.close)()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self.scope["extensions"] = {"headway.connection": {"break_off": self.break_off}}
        self._in_head, self._went_on, self._head_bytes = True, True, 0
        self._unset()
        self._timer = self.loop.call_later(self._limits.head_s, self.transport.close)

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        super().on_body(body)
        self._went_on, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """It is whole. What is raised here, uvicorn answers with a 400."""
        self._in_head = False
        self._unset()
        head_bytes = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > self._limits.headers_max or head_bytes > self._limits.head_bytes_max:
            raise ValueError("too many headers")
        super().on_headers_complete()

    def _socket(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> Socket:
        """What speaks WebSocket on this connection from now on."""
        from headway.gateway.protocol.socket import Socket  # 50 ms: when the first one is asked for

        self._unset()
        data = self.url.startswith(b"/v1/")
        most = self._doors.realtime_frame_bytes_max if data else self._doors.chat_frame_bytes_max
        return Socket(config, server_state, app_state, self.loop, self._limits, most)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self._unset()
        super().connection_lost(exc)

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
