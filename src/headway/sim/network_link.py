"""One direction of a virtual connection: bytes from a writer to a reader, in order, each a latency later."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from headway.sim.network_faults import Drawn, piece_bytes

if TYPE_CHECKING:
    from headway.sim.network_transport import VirtualTransport

__all__ = ["WINDOW_BYTES", "Link"]

WINDOW_BYTES: Final = 256 * 1024
"""What is on its way or waits for its reader at most, as the kernels' buffers do; more stays with the writer."""

_STEP_S: Final = 5e-7  # the loop's clock goes in whole microseconds: what is due then may be a hair later by sums
_READ_BYTES_MAX: Final = 256 * 1024  # asyncio's own: what one `data_received` gets


class Link:
    """See the module. The writer's transport calls `put` and `end`, the reader's `pull` and `hang_up`.

    Args:
        loop: The virtual loop.
        latency_s: From write to arrival.
        fault: What befalls this direction; None for nothing.
        rng: Dice for the sizes of pieces.
        struck: Called when `fault` strikes: the connection's end is the connection's business.
        note: Told (event, bytes) as they happen: "delivered", "lost".
    """

    source: VirtualTransport
    target: VirtualTransport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        latency_s: float,
        *,
        fault: Drawn | None,
        rng: Random,
        struck: Callable[[], None],
        note: Callable[[str, bytes], None],
    ) -> None:
        self._loop = loop
        self._latency_s = latency_s
        self._fault = fault
        self._rng = rng
        self._struck = struck
        self._note = note
        self._kept: deque[bytes] = deque()  # with the writer
        self.kept_bytes = 0
        self._wire: deque[tuple[float, bytes]] = deque()  # on the way: when it arrives; b"" is the end of file
        self._wire_bytes = 0
        self._here = bytearray()  # arrived, not read
        self._ended = False
        self._ends_here = False
        self._end_read = False
        self._timer: asyncio.Handle | None = None
        self._next_at_s = -inf
        self.passed_bytes = 0
        self._later: asyncio.Handle | None = None
        self._dead = False
        self._hung_up = False

    @property
    def readable(self) -> bool:
        """Whether a read would not wait: bytes or the end have arrived."""
        return bool(self._here) or (self._ends_here and not self._end_read)

    # -- the writer's side -----------------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Send more."""
        if self._dead:
            self._note("lost", data)
            if self._hung_up:
                self._loop.call_later(2 * self._latency_s, self.source.reset)
            return
        self._kept.append(data)
        self.kept_bytes += len(data)
        self._send()

    def end(self) -> None:
        """Send the end of file behind what was written."""
        if not self._dead and not self._ends_here:
            self._ended = True
            self._send()

    def drop_kept(self) -> None:
        """The writer gives up: what is not on the way yet is lost."""
        for data in self._kept:
            self._note("lost", data)
        self._kept.clear()
        self.kept_bytes = 0

    def stop(self) -> None:
        """The writer died: what was not read is lost, and the reader sees the end."""
        self.die()
        self._dead = False
        self._ends_here = True
        self._later = self._loop.call_soon(self.pull)

    def die(self) -> None:
        """Nothing arrives any more."""
        self._dead = True
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        self._timer = self._later = None
        for data in (bytes(self._here), *(data for _, data in self._wire)):
            if data:
                self._note("lost", data)
        self.drop_kept()
        self._here.clear()
        self._wire.clear()
        self._wire_bytes = 0

    def _send(self) -> None:
        now_s = self._loop.time()
        while self._kept and (room := WINDOW_BYTES - self._wire_bytes - len(self._here)) > 0:
            data = self._kept.popleft()
            if len(data) > room:
                self._kept.appendleft(data[room:])
                data = data[:room]
            self.kept_bytes -= len(data)
            self._wire_bytes += len(data)
            self._wire.append((now_s + self._latency_s, data))
        if self._ended and not self._kept:
            self._ended = False
            self._wire.append((now_s + self._latency_s, b""))
        self._arm()

    # -- the way ---------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer, for what arrives first: timers that are due together need not ring in their order."""
        if self._timer is None and self._wire and not self._dead:
            self._timer = self._loop.call_at(self._wire[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        while self._wire and self._wire[0][0] <= now_s + _STEP_S:
            _, data = self._wire.popleft()
            self._wire_bytes -= len(data)
            if data:
                self._here += data
            else:
                self._ends_here = True
        self._arm()
        self.pull()

    # -- the reader's side -----------------------------------------------------------------------------------------

    def pull(self) -> None:
        """Hand on what has arrived, as far as the reader takes it; one piece a turn of the loop."""
        if self._dead or self.target.deaf:
            return
        now_s = self._loop.time()
        if now_s < self._next_at_s - _STEP_S:
            return  # a timer for it is set
        size = min(len(self._here), self._piece_bytes())
        if size:
            piece = bytes(self._here[:size])
            del self._here[:size]
            self.passed_bytes += size
            if self._here or self._ends_here:
                self._again(now_s)
            self._note("delivered", piece)
            self.target.take(piece)
            if not self._dead:
                self._send()
                self.source.eased()
        fault = self._fault
        if fault is not None and self.passed_bytes >= fault.at_bytes and fault.kind in ("reset", "cut"):
            if not self._dead and (size or self.readable):
                self._fault = None  # once is enough
                self._struck()
        elif self._ends_here and not self._end_read and not size and self._end_passes():
            self._end_read = True
            self.target.take_end()

    def hang_up(self) -> None:
        """The reader is gone: what still comes meets a closed door, and its writer is told."""
        if self._dead:
            return
        unread = bool(self._here or self._wire_bytes or self._kept)
        self._hung_up = True
        self.die()
        if unread:
            self._loop.call_later(self._latency_s, self.source.reset)

    def _again(self, now_s: float) -> None:
        fault = self._fault
        if fault is not None and fault.kind == "slow":
            self._next_at_s = now_s + fault.pause_s
            self._later = self._loop.call_at(self._next_at_s, self.pull)
        else:
            self._later = self._loop.call_soon(self.pull)

    def _piece_bytes(self) -> int:
        fault = self._fault
        if fault is None or fault.kind in ("stale", "refused", "black_hole"):
            return _READ_BYTES_MAX
        if fault.kind in ("split", "slow"):
            return piece_bytes(fault.kind, self._rng)
        before = fault.at_bytes - self.passed_bytes
        if fault.kind != "stall":
            return max(0, before)
        return self._until_stall(before)

    def _end_passes(self) -> bool:
        """Behind all bytes; for ever stalled ones are given up when the client leaves, or nobody ever would."""
        return not self._here or (self._fault is not None and self._fault.direction == "up")

    def _until_stall(self, before: int) -> int:
        if before > 0:
            return before
        fault = self._fault
        assert fault is not None
        if fault.stall_s == inf:
            return 0
        if self._next_at_s == -inf and self._here:
            self._next_at_s = self._loop.time() + fault.stall_s
            self._later = self._loop.call_at(self._next_at_s, self.pull)
            return 0
        return _READ_BYTES_MAX
