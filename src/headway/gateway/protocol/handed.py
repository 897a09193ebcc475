"""The server's own protocol, for what is not the data plane's, held to the same limits on headers."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headway.gateway.limits import Limits

__all__ = ["Handed"]


class Handed(HttpToolsProtocol):
    """uvicorn's protocol bounds the time between requests, but neither a head's size nor how long it takes.

    Args:
        config: As for uvicorn's.
        server_state: Likewise.
        app_state: Likewise.
        loop: The running one.
        limits: See `Limits`.
    """

    def __init__(
        self, config: Any, server_state: Any, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop, limits: Limits
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._limits = limits
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

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
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

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self._unset()
        super().connection_lost(exc)

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
