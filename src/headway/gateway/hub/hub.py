"""The hub: in the process that started the workers, it knows all of them, and what they share.

- limits: one bucket a quota scope, which workers take slices of (`policy.common_limits`);
- figures: whoever asks is told those of all that answer in time. What a worker's metrics stood at when it ended is
  kept, so that what is counted over all of them never goes back;
- the configuration: all are told to read it anew. First they only look: where one finds it wrong, nobody changes. A
  worker that was starting meanwhile, and may have read the old one, is told when it takes requests.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine

import msgspec

from headway.gateway.hangup import STAYS
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
        self.born_at_s = self.heard_at_s = asyncio.get_running_loop().time()
        """When it was started, and when it last said anything."""
        self.reloads = hub.reloads
        """How many there had been then: of later ones it has to be told."""
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

    async def reload(self, *, check: bool = False) -> Reloaded | None:
        """What came of a reload, or of a look at it, however long that takes; None where it has ended."""
        found: Reloaded | None = await self.asked.ask(lambda number: self.link.send(Reload(number, check)), None)
        return found

    def _came(self, message: FromWorker) -> None:
        self.heard_at_s = asyncio.get_running_loop().time()
        if isinstance(message, Figures):
            self.meters = message.meters or self.meters
        elif isinstance(message, Ready):
            self.ready.set()
            self._hub.begun(self)
        else:
            self._hub.came(self, message)

    def _left(self) -> None:
        self.asked.end()
        self._hub.left(self)
        self._ended()


class Hub:
    """See the module. On the loop of the process that started the workers.

    Args:
        tell: Called with a sentence where a worker that came late cannot read the configuration.
    """

    def __init__(self, tell: Callable[[str], object] | None = None) -> None:
        self._tell = tell
        self.reloads = 0
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
        self.reloads += 1
        seats = [seat for seat in self.seats if seat.ready.is_set()]
        for found in await asyncio.gather(*[seat.reload(check=True) for seat in seats]):
            if found is not None and not found.ok:
                return False, f"{STAYS}: {found.said}"
        told, wrong, good = "", [], 0
        for seat in seats:
            found = await seat.reload()
            if found is None:
                continue  # it has ended; whoever comes in its place reads the new one
            if found.ok:
                good, told = good + 1, told or found.said
                continue
            wrong.append(found.said)
            if not good:
                return False, f"{STAYS}: {found.said}"
        if wrong:
            said = f"{good} of {good + len(wrong)} workers have the new configuration, the others keep the old one"
            return False, f"{said}: {wrong[0]}"
        return True, told or "no worker has started yet; each reads the configuration when it has"

    def begun(self, seat: Seat) -> None:
        """A worker takes requests; where there was a reload while it started, it may have read what was before."""
        if seat.reloads != self.reloads:
            self._do(self._catch_up(seat))

    async def _catch_up(self, seat: Seat) -> None:
        found = await seat.reload()
        if found is not None and not found.ok and self._tell is not None:
            self._tell(f"a worker that has just started keeps the configuration it found: {found.said}")

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def came(self, seat: Seat, message: msgspec.Struct) -> None:
        """A worker says something."""
        now_s = self._loop.time()
        if isinstance(message, Take):
            taken = self._limits.bucket(message.scope, now_s).take(message.least, message.wanted, now_s)
            seat.link.send(Taken(message.id, message.scope, taken))
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
            self._do(self._tell_states(seat, message.id))

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
            if seat in self.seats and (state is not None or seat.meters)  # who ended meanwhile is in `gone`
        ]
        asking.link.send(States(number, known + self.gone))
