"""The server's own WebSocket protocol, held to our limits: frames, readers that take nothing, an end in good order.

uvicorn's tells every socket to go the moment the server ends. Here the application is told, answers what it is
answering, and says goodbye itself (1001); what takes too long is ended by the server's own patience.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from headway.gateway.limits import Limits
from headway.gateway.protocol.handed import ENDING

__all__ = ["Socket"]

_BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_QUIET = logging.getLogger("headway.gateway.socket")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class Socket(WebSocketsSansIOProtocol):
    """See the module.

    Args:
        config: As for uvicorn's.
        server_state: Likewise.
        app_state: Likewise.
        loop: The running one.
        limits: See `Limits`.
        frame_bytes_max: The largest message.
    """

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        frame_bytes_max: int,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        # No compression: a small frame that becomes a large one, and memory for every socket.
        self.conn = ServerProtocol(max_size=frame_bytes_max, logger=_QUIET)
        self._limits = limits
        self._ending = asyncio.Event()
        self._application = self.app
        self.app = self._run
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_complete = self.close_sent = True  # nothing else answers what is no handshake
            self.transport.write(_BAD)
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """The client asks to begin."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: Any = self.scope["extensions"]
            extensions[ENDING] = {"event": self._ending}

    def send_receive_event_to_app(self) -> None:
        """A message is whole."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.conn.send_close(1007)  # as uvicorn does, without a traceback for everyone who likes to
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def shutdown(self) -> None:
        """The server ends."""
        self._ending.set()
        if not self.handshake_complete or self.close_sent:
            super().shutdown()

    async def send(self, message: Any) -> None:
        """What the application sends, at its reader's pace; one that takes nothing for too long has left."""
        try:
            async with asyncio.timeout(self._limits.write_s):
                await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                self.handshake_complete = True  # a refusal is an end, too; uvicorn takes it for none, and says so
        except TimeoutError:
            self.transport.abort()
            raise ClientDisconnected from None

    def keepalive_timeout(self) -> None:
        """No answer to a ping."""
        super().keepalive_timeout()
        self._end_after(self._limits.linger_s)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is through with it."""
        super().on_task_complete(task)
        self._end_after(self.close_timeout + self._limits.linger_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """The application; when the server's patience is over, it is cancelled, which is no failure."""
        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:
            if not self._ending.is_set():
                raise

    def _end_after(self, delay_s: float) -> None:
        """A close waits until all that was written is read, be it for ever: let it not."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(delay_s, self.transport.abort)
