"""Bodies on their way through: a request's that was read in part, a reply's on its loop or handed to another thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from typing import Any

from headway.errors import Closed, HeadwayError
from headway.types import Reply

__all__ = ["AsyncBody", "AsyncParts", "Bridge", "SyncBody", "SyncParts"]

Failed = Callable[[HeadwayError], Exception]
"""Makes the client family's own exception of ours."""

WINDOW_BYTES = 256 * 1024
"""How far a reader in another thread may lag behind before the provider is held back."""


class AsyncParts:
    """A request's body that was read in part: what was read, then the rest."""

    def __init__(self, read: list[bytes], rest: AsyncIterator[bytes]) -> None:
        self._read = read
        self._rest = rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._read:
            yield self._read.pop(0)
        async for part in self._rest:
            yield part


class SyncParts:
    """As `AsyncParts`."""

    def __init__(self, read: list[bytes], rest: Iterator[bytes]) -> None:
        self._read = read
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        while self._read:
            yield self._read.pop(0)
        yield from self._rest


class AsyncBody:
    """A stream for an async client; closing it leaves the flight, and so does losing it."""

    def __init__(self, reply: Reply, failed: Failed) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = reply.__anext__
        self._reply: Reply | None = reply
        self._failed = failed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except HeadwayError as error:
            raise self._failed(error) from error

    async def aclose(self) -> None:
        """Idempotent."""
        reply, self._reply = self._reply, None
        if reply is not None:
            await reply.aclose()

    def __del__(self) -> None:
        if self._reply is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(_close, self._reply)


def _close(reply: Reply) -> None:
    asyncio.ensure_future(reply.aclose()).add_done_callback(_seen)


def _seen(task: asyncio.Future[None]) -> None:
    """Nobody waits for it: its error, if any, is not news."""
    if not task.cancelled():
        task.exception()


class Bridge:
    """A stream that is pulled on its loop and read in another thread, as much at a time as is there.

    Made on the loop. Chunks wait in a queue that needs no turn of the loop to be read; the loop is only woken when it
    waits for room.
    """

    def __init__(self, reply: Reply) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._ready: SimpleQueue[bytes | None] = SimpleQueue()
        self._put_bytes = 0  # written by the loop alone
        self._taken_bytes = 0  # written by the reader alone
        self._room: asyncio.Future[None] | None = None
        self._over = False
        self._error: BaseException | None = None
        self._task = self._loop.create_task(self._pump(reply))
        self._task.add_done_callback(self._ended)

    def take(self) -> bytes:
        """What is there, waiting for it if need be; b"" at the end. In the reader's thread.

        Raises:
            HeadwayError: The stream broke.
        """
        if self._over:
            return self._end()
        ready = self._ready
        if ready.empty() and self._pid != os.getpid():
            raise Closed("this process was forked after the stream was opened; read it where it was opened")
        parts = []
        while True:
            chunk = ready.get()
            if chunk is None:
                self._over = True
                break
            parts.append(chunk)
            if ready.empty():
                break
        if not parts:
            return self._end()
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        self._taken_bytes += len(taken)
        room = self._room
        if room is not None:
            self._room = None
            self._post(_make, room)
        return taken

    def close(self) -> None:
        """Leave the stream. Idempotent; does not wait."""
        if not self._task.done():
            self._post(self._task.cancel)

    def _end(self) -> bytes:
        if self._error is not None:
            raise self._error
        return b""

    async def _pump(self, reply: Reply) -> None:
        try:
            async for chunk in reply:
                if not chunk:
                    continue  # nothing is no end
                self._put_bytes += len(chunk)
                self._ready.put(chunk)
                while self._put_bytes - self._taken_bytes > WINDOW_BYTES:
                    room = self._room = self._loop.create_future()
                    if self._put_bytes - self._taken_bytes > WINDOW_BYTES:  # or it was read just before that
                        await room
        finally:
            await reply.aclose()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._error = Closed("the engine was closed while this answer was read; open a new one")
        else:
            self._error = task.exception()
        self._ready.put(None)

    def _post(self, work: Callable[..., object], *args: Any) -> None:
        if self._pid == os.getpid():
            try:
                self._loop.call_soon_threadsafe(work, *args)
            except RuntimeError:
                pass  # the loop is closed, and with it the stream


def _make(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


class SyncBody:
    """A stream for a sync client; closing it leaves the flight, and so does losing it."""

    def __init__(self, bridge: Bridge, failed: Failed) -> None:
        self._bridge = bridge
        self._failed = failed

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            taken = self._bridge.take()
        except HeadwayError as error:
            raise self._failed(error) from error
        if not taken:
            raise StopIteration
        return taken

    def close(self) -> None:
        """Idempotent."""
        self._bridge.close()

    def __del__(self) -> None:
        self._bridge.close()
