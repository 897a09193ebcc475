"""A reply's body as it comes over our own connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headway.errors import Closed, HeadwayError

if TYPE_CHECKING:
    from headway.upstream.connection import Connection

__all__ = ["Body"]


class Body:
    """Iterated by the one who reads the reply; what has come meanwhile is handed on at once, as one chunk.

    Args:
        connection: Tells it when bytes have come (`wake`) and when it is over (`end`).
        chunks: The list that the connection appends to.
    """

    __slots__ = ("_chunks", "_connection", "_error", "_waiter")

    def __init__(self, connection: Connection, chunks: list[bytes]) -> None:
        self._connection: Connection | None = connection
        self._chunks = chunks
        self._error: HeadwayError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for bytes: only then is silence the provider's."""
        return self._waiter is not None

    def wake(self) -> None:
        """Bytes have come, or the end."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self, error: HeadwayError | None) -> None:
        """The connection's part is over: what is in `chunks` is all there will be, then `error` if there is one."""
        self._connection = None
        self._error = error
        self.wake()

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        chunks = self._chunks
        while not chunks:
            if self._connection is None:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = self._connection.patience()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._connection is not None:
            self._connection.taken()
        return data

    async def aclose(self) -> None:
        """Leave it: before its end, the connection goes with it, for the rest of the answer would be in the way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._error = Closed("the reply was closed while it was being read; read it first")
            connection.drop()
            self.wake()
