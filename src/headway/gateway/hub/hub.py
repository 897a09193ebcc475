"""The hub: in the process that started the workers, it knows all of them, and what they share.

- limits: one bucket a quota scope, which workers take slices of (`policy.common_limits`);
- figures: whoever asks is told those of all that answer in time. What a worker's metrics stood at when it ended is
  kept, so that what is counted over all of them never goes back;
- the configuration: all are told to read it anew, one after the other; where the first finds it wrong, nobody changes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec

from headway.gateway.hub.link import ANSWER_S, Asked, Link
from headway.gateway.hub.messages import (
    Figures,
    FromWorker,
    Give,
    Ready,
    Reload,
    Reloaded,
    Report,
    Reported,
    Start,
    States,
    StatesAsked,
    Take,
    Taken,
    Tell,
)
from headway.gateway.peers import WorkerState
from headway.gateway.settings import ServeSettings
from headway.policy.common_limits import CommonLimits
from headway.telemetry.states import kept

__all__ = ["Hub", "Seat"]


class Seat:
    """One worker's place in the hub.

    Args:
        hub: Which.
        pid: The worker's.
        ended: Called when it has gone.
    """

    def __init__(self, hub: Hub, pid: int, ended: Callable[[], object]) -> None:
        self.pid = pid
        self.ready = asyncio.Event()
        self.heard_at_s = asyncio.get_running_loop().time()
        """When it last said anything."""
        self.meters = b""
        self.asked = Asked()
        self._hub = hub
        self._ended = ended
        self.link: Link[FromWorker] = Link(FromWorker, self._came, self._left)

    async def open(self, sock: socket.socket, settings: ServeSettings) -> None:
        """Speak to it; the first word is what it serves."""
        await self.link.open(sock)
        self.link.send(Start(settings))

    async def state(self) -> WorkerState | None:
        """How it is; None where it does not say so in time."""
        found: WorkerState | None = await self.asked.ask(lambda number: self.link.send(Report(number)), ANSWER_S)
        if found is not None:
            self.meters = found.meters or self.meters
        return found

    async def reload(self) -> Reloaded | None:
        """What came of a reload, however long that takes; None where it has ended."""
        found: Reloaded | None = await self.asked.ask(lambda number: self.link.send(Reload(number)), None)
        return found

    def _came(self, message: FromWorker) -> None:
        self.heard_at_s = asyncio.get_running_loop().time()
        if isinstance(message, Figures):
            self.meters = message.meters or self.meters
        elif isinstance(message, Ready):
            self.ready.set()
        else:
            self._hub.came(self, message)

    def _left(self) -> None:
        self.asked.end()
        self._hub.left(self)
        self._ended()


class Hub:
    """See the module. On the loop of the process that started the workers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = CommonLimits()
        self._work: set[asyncio.Task[None]] = set()
        self.seats: list[Seat] = []
        self.gone: list[WorkerState] = []
        """Those that have ended, as one: without a state, with the sum of what their metrics stood at."""

    def seat(self, pid: int, ended: Callable[[], object]) -> Seat:
        """A place for one worker more."""
        seat = Seat(self, pid, ended)
        self.seats.append(seat)
        return seat

    async def reload(self) -> tuple[bool, str]:
        """Have all of them read the configuration anew: whether it is in service now, and what to say."""
        told = ""
        for seat in [seat for seat in self.seats if seat.ready.is_set()]:
            found = await seat.reload()
            if found is None:
                continue  # it has ended; whoever comes in its place reads the new one
            if not found.ok:
                return False, found.said
            told = told or found.said
        return True, told or "no worker has started yet"

    def came(self, seat: Seat, message: msgspec.Struct) -> None:
        """A worker says something."""
        now_s = self._loop.time()
        if isinstance(message, Take):
            taken = self._limits.bucket(message.scope, now_s).take(message.least, message.wanted, now_s)
            seat.link.send(Taken(message.id, taken))
        elif isinstance(message, Give):
            self._limits.bucket(message.scope, now_s).give_back(message.unused, now_s, known=message.known)
        elif isinstance(message, Tell):
            bucket = self._limits.bucket(message.scope, now_s)
            left, mark, larger, full = message.left, message.mark, message.larger, message.full
            bucket.tell(message.bucket, now_s, who=seat.pid, left=left, mark=mark, larger=larger, full=full)
        elif isinstance(message, Reported):
            seat.asked.answered(message.id, message.state)
        elif isinstance(message, Reloaded):
            seat.asked.answered(message.id, message)
        elif isinstance(message, StatesAsked):
            seat.meters = message.meters or seat.meters
            task = self._loop.create_task(self._tell_states(seat, message.id))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    def left(self, seat: Seat) -> None:
        """A worker has gone: its last figures stay."""
        if seat in self.seats:
            self.seats.remove(seat)
        if seat.meters:
            remains = kept([*(one.meters for one in self.gone), seat.meters])
            self.gone = [WorkerState(pid=seat.pid, state={}, meters=remains)]

    async def aclose(self) -> None:
        """End what is being told."""
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _tell_states(self, asking: Seat, number: int) -> None:
        others = [seat for seat in self.seats if seat is not asking and seat.ready.is_set()]
        found = await asyncio.gather(*[seat.state() for seat in others])
        known = [
            state or WorkerState(pid=seat.pid, state={}, meters=seat.meters)  # counters do not go back meanwhile
            for seat, state in zip(others, found, strict=True)
            if state is not None or seat.meters
        ]
        asking.link.send(States(number, known + self.gone))
