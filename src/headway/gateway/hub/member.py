"""A worker's side: it reports, asks how the others are, shares their limits, and reloads when it is told to."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from headway.errors import HeadwayError
from headway.gateway.hub.link import Asked, Link
from headway.gateway.hub.messages import (
    Figures,
    FromHub,
    Ready,
    Reload,
    Reloaded,
    Report,
    Reported,
    States,
    StatesAsked,
    Take,
    Taken,
)
from headway.gateway.hub.sliced import SlicedLimits
from headway.gateway.peers import WorkerState
from headway.policy.common_limits import Slice

if TYPE_CHECKING:
    from headway.gateway.reload import Reloader
    from headway.gateway.serving import Serving

__all__ = ["Member"]

REPORT_S = 1.0
STATES_S = 0.5
"""How long the others' figures are waited for: the hub waits half of that for each."""


class Member:
    """See the module. On the loop that serves.

    Args:
        sock: To the process that started this one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._link: Link[FromHub] = Link(FromHub, self._came, self._ended)
        self._asked = Asked()
        self._serving: Serving | None = None
        self._reloader: Reloader | None = None
        self._end: Callable[[int, Any], None] | None = None
        self._gone = False
        self._reporting: asyncio.Task[None] | None = None
        self._reloading: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Future[list[WorkerState]] | None = None
        self._others: list[WorkerState] = []
        self._told = b""
        self.limits = SlicedLimits(self._take, self._link.send)

    async def open(self) -> None:
        """Speak."""
        await self._link.open(self._sock)

    def join(self, serving: Serving, reloader: Reloader, end: Callable[[int, Any], None]) -> None:
        """Begin to report.

        Args:
            serving: Whose figures.
            reloader: Reads the configuration anew.
            end: Ends this process in good order, like a signal: the process that started it has gone.
        """
        self._serving, self._reloader, self._end = serving, reloader, end
        serving.peers = self
        self._reporting = asyncio.get_running_loop().create_task(self._report())
        if self._gone:
            end(signal.SIGTERM, None)

    def ready(self) -> None:
        """Requests are taken."""
        self._link.send(Ready())

    async def leave(self) -> None:
        """The end: the last figures, and what was taken and not used."""
        for task in (self._reporting, *self._reloading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.limits.aclose()
        self._say_figures()
        self._link.close()

    async def states(self) -> list[WorkerState]:
        """See `Peers`. Who asks while somebody is being told is told the same."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._states())
        return await asyncio.shield(self._asking)

    async def _states(self) -> list[WorkerState]:
        try:
            assert self._serving is not None  # nobody is served before it has joined
            own = self._serving.state()
            others: list[WorkerState] | None = await self._asked.ask(
                lambda number: self._link.send(StatesAsked(number, own.meters)), STATES_S
            )
        finally:
            self._asking = None
        if others is None:  # too late: there is what this one was told before, and another may have been told more
            known = [WorkerState(pid=one.pid, state={}, meters=one.meters, late=True) for one in self._others]
            return [own, *(known or [WorkerState(pid=0, state={}, late=True)])]
        self._others = others
        return [own, *others]

    async def _take(self, take: Take) -> Slice | None:
        taken: Slice | None = await self._asked.ask(lambda number: self._link.send(replace(take, id=number)))
        return taken

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self._say_figures()

    def _say_figures(self) -> None:
        if self._serving is None:
            return
        meters = self._serving.meters.packed()
        self._link.send(Figures(meters if meters != self._told else b""))
        self._told = meters

    def _came(self, message: FromHub) -> None:
        if isinstance(message, Taken):
            if not self._asked.answered(message.id, message.slice):
                self.limits.came_late(message.scope, message.slice)
        elif isinstance(message, States):
            self._asked.answered(message.id, message.states)
        elif isinstance(message, Report) and self._serving is not None:
            self._link.send(Reported(message.id, self._serving.state()))
        elif isinstance(message, Reload):
            task = asyncio.get_running_loop().create_task(self._do_reload(message))
            self._reloading.add(task)
            task.add_done_callback(self._reloading.discard)

    async def _do_reload(self, message: Reload) -> None:
        ok, said = False, "a worker failed over it, in a way that is told above"
        try:
            if self._reloader is None:
                said = "it is only starting"
            else:
                said = await (self._reloader.check() if message.check else self._reloader.reload())
                ok = True
        except HeadwayError as error:
            said = str(error)
        finally:  # whatever has happened: all reloads that come later wait for the answer
            self._link.send(Reloaded(message.id, ok, said))

    def _ended(self) -> None:
        """The process that started this one has gone."""
        self._gone = True
        self._asked.end()
        if self._end is not None:
            self._end(signal.SIGTERM, None)
