"""Messages over a pair of sockets: four bytes of length, then msgpack."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar, cast

import msgspec

__all__ = ["ANSWER_S", "Asked", "Link", "read_one"]

FRAME_BYTES_MAX = 16 * 1024 * 1024
BUFFER_BYTES_MAX = 32 * 1024 * 1024
"""What may wait for a side that does not read; more is dropped, and whoever waits for an answer waits in vain."""
ANSWER_S = 0.25
"""How long an answer is waited for."""
_PENDING_MAX = 4096

M = TypeVar("M")


class Link(asyncio.Protocol, Generic[M]):
    """One side.

    Args:
        kind: The union of what comes in.
        came: Called with each message.
        ended: Called when the other side has gone.
    """

    def __init__(self, kind: Any, came: Callable[[M], object], ended: Callable[[], object]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        self._came = came
        self._ended = ended
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    async def open(self, sock: socket.socket) -> None:
        """Speak over a socket, which belongs to this from now on."""
        sock.setblocking(False)  # noqa: FBT003  # positional only
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self._transport = None
        self._ended()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
            if end - start > FRAME_BYTES_MAX:
                self.close()
                return
            if len(buffer) < end:
                break
            message = self._decoder.decode(buffer[start + 4 : end])
            start = end
            self._came(message)
        del buffer[:start]

    def send(self, message: msgspec.Struct) -> bool:
        """Say something; False where nobody hears it."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > BUFFER_BYTES_MAX:
            return False
        data = self._encoder.encode(message)
        if len(data) > FRAME_BYTES_MAX - 4:
            return False
        transport.write(len(data).to_bytes(4, "big") + data)
        return True

    def close(self) -> None:
        """End it, when what was said is sent."""
        if self._transport is not None:
            self._transport.close()


class Asked:
    """Questions that wait for their answers, by number."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, send: Callable[[int], bool], within_s: float | None = ANSWER_S) -> Any:
        """The answer; None where there is none in time.

        Args:
            send: Asks, under a number; False where nobody hears it.
            within_s: How long to wait for it; None: for as long as the other side is there.
        """
        if len(self._waiting) >= _PENDING_MAX:
            return None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if not send(number):
                return None
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    def answered(self, number: int, answer: Any) -> bool:
        """It has come; False where nobody waits for it any more."""
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(answer)
        return True

    def end(self) -> None:
        """Nobody will answer any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)


def read_one(sock: socket.socket, kind: type[M]) -> M:
    """Wait for one message, before there is a loop. Raises `EOFError` where the other side has gone."""
    sock.setblocking(True)  # noqa: FBT003  # positional only
    length = int.from_bytes(_exactly(sock, 4), "big")
    return msgspec.msgpack.decode(_exactly(sock, min(length, FRAME_BYTES_MAX)), type=kind)


def _exactly(sock: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        more = sock.recv(size_bytes - len(data))
        if not more:
            raise EOFError
        data += more
    return data
