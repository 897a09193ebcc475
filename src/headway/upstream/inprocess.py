"""Another handler in the place of the network."""

from __future__ import annotations

import asyncio

from headway.types import Call, Handler, Reply
from headway.upstream.failures import too_large

__all__ = ["InProcess"]


class InProcess:
    """Another handler in the place of the network, with the network's book-keeping."""

    __slots__ = ("_handler", "_reply_bytes_max")

    def __init__(self, handler: Handler, *, reply_bytes_max: int) -> None:
        self._handler = handler
        self._reply_bytes_max = reply_bytes_max

    async def __call__(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        trace = call.trace
        trace.sent_at_s = loop.time()
        reply = await self._handler(call)
        trace.first_byte_at_s = loop.time()
        body = reply.body
        if body is not None and len(body) > self._reply_bytes_max:
            raise too_large(call.origin, self._reply_bytes_max)
        return reply

    async def aclose(self) -> None:
        """Nothing is held."""
