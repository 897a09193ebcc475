"""The ends of a virtual connection: what asyncio promises of a transport, without a socket."""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio.protocols import _feed_data_to_buffered_proto  # type: ignore[attr-defined]  # asyncio's own for the same
from collections.abc import Callable
from typing import Any, Final, cast

from headway.sim.network_link import Link

__all__ = ["VirtualTransport"]

_HIGH_BYTES: Final = 64 * 1024  # asyncio's default


class VirtualTransport(asyncio.Transport):
    """One end. `connection_lost` comes exactly once, never from within a call of the protocol's own.

    Args:
        loop: The virtual loop.
        protocol: The one that owns this end; told `connection_made` by `open`.
        inbound, outbound: The two directions.
        extra: For `get_extra_info`.
        writes: Told all that is written; False from it: that gets lost.
        gone: Called when `connection_lost` has been.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        inbound: Link,
        outbound: Link,
        *,
        extra: dict[str, Any],
        writes: Callable[[bytes], bool],
        gone: Callable[[], None],
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._inbound = inbound
        self._outbound = outbound
        self._writes = writes
        self._gone = gone
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._reading_paused = False
        self._writing_paused = False
        self._closing = False
        self._eof_written = False
        self._eof_read = False
        self._lost = False
        self._was_reset = False
        inbound.target = self
        outbound.source = self

    def open(self) -> None:
        """Tell the protocol."""
        self._protocol.connection_made(self)

    # -- what asyncio promises -------------------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change the owner."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The owner."""
        return self._protocol

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether bytes are handed on."""
        return not (self._closing or self._reading_paused)

    def pause_reading(self) -> None:
        """Hand on nothing until `resume_reading`; the other end is held back once the way is full."""
        if not self._closing:
            self._reading_paused = True

    def resume_reading(self) -> None:
        """Hand on what has come meanwhile."""
        if not self._closing and self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._read_on)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to pause and to resume writing, in bytes. Raises `ValueError`: low > high."""
        if high is None:
            high = _HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._weigh()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that are not on their way yet."""
        return self._outbound.kept_bytes

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send. After `close` or a loss it is ignored. Raises `RuntimeError` after `write_eof`."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._closing:
            return
        if self._was_reset:
            self._end(BrokenPipeError(errno.EPIPE, "Broken pipe"))
            return
        sent = bytes(data)
        if self._writes(sent):
            self._outbound.put(sent)
            self._weigh()

    def write_eof(self) -> None:
        """Send no more, and tell the other end so; reading goes on."""
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._outbound.end()

    def close(self) -> None:
        """Read no more; send what was written, then end."""
        if not self._closing:
            self._closing = True
            self._inbound.hang_up()
            self.eased()

    def abort(self) -> None:
        """End now; what is not on its way is lost."""
        self._end(None)

    # -- what the links and the network call ------------------------------------------------------------------------

    @property
    def deaf(self) -> bool:
        """Whether it takes nothing now."""
        return self._reading_paused or self._closing

    @property
    def readable(self) -> bool:
        """What polling its socket would say."""
        return self._inbound.readable or self._was_reset

    def take(self, data: bytes) -> None:
        """Bytes have arrived; a protocol that raises loses its connection, and the loop reports why."""
        taken = False
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                _feed_data_to_buffered_proto(self._protocol, data)
            else:
                cast("asyncio.Protocol", self._protocol).data_received(data)
            taken = True
        finally:
            if not taken:
                self.abort()

    def take_end(self) -> None:
        """The other end sends no more: this one closes, too, unless its protocol wants to go on writing."""
        keep = False
        try:
            keep = bool(cast("asyncio.Protocol", self._protocol).eof_received())
        finally:
            if not keep:
                self.close()

    def eased(self) -> None:
        """Some of what was written is on its way."""
        self._weigh()
        if self._closing and not self._lost and not self._outbound.kept_bytes:
            self._end(None)

    def reset(self) -> None:
        """The other end is gone. Who does not read learns it at its next read or write, as with a socket."""
        self._was_reset = True
        self._inbound.die()
        if self._closing or not self._reading_paused or self._outbound.kept_bytes:
            self._end(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def vanish(self) -> None:
        """This end dies without a word of its own: the other one sees an end of file where the bytes stop."""
        self._outbound.stop()
        self._end(None)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        if self._was_reset:
            self.reset()
        else:
            self._inbound.pull()

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._inbound.hang_up()
        self._outbound.drop_kept()
        if not self._eof_written and not self._was_reset:
            self._outbound.end()
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._gone()

    def _weigh(self) -> None:
        """Pause or resume the protocol's writing."""
        size = self._outbound.kept_bytes
        if not self._writing_paused and size > self._high:
            self._writing_paused = True
            self._protocol.pause_writing()
        elif self._writing_paused and size <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()


class VirtualSocket:
    """What `get_extra_info("socket")` gives: addresses, options that do nothing, and whether a read would wait.

    HTTP clients poll a kept connection's descriptor before they use it again. Nothing ever arrives on `quiet_fd`; once
    something has arrived here, there is no descriptor, which they take for the same.
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, quiet_fd: int, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._quiet_fd = quiet_fd
        self._here = here
        self._there = there
        self.transport: VirtualTransport | None = None

    def fileno(self) -> int:
        """A descriptor on which nothing arrives, or -1."""
        transport = self.transport
        return -1 if transport is None or transport.readable or transport.is_closing() else self._quiet_fd

    def getsockname(self) -> tuple[str, int]:
        """This end's address."""
        return self._here

    def getpeername(self) -> tuple[str, int]:
        """The other end's."""
        return self._there

    def setsockopt(self, *option: Any) -> None:
        """Accepted."""

    def getsockopt(self, *option: Any) -> int:
        """0."""
        return 0
