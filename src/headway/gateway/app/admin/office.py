"""Documents for pages: asked of the process beside this one, and shared by all pages that look at the same.

While pages are open it is asked once a second for every different set of filters; what takes long, less often.
A page that reads slowly gets the latest document when it has read the one before, and none in between: nothing waits
for it, and nothing is kept for it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from headway.config import state_dir
from headway.errors import HeadwayError
from headway.gateway.app.admin.now import now_of
from headway.gateway.request import Refused
from headway.gateway.serving import Serving
from headway.insight.clerk import Clerk, ClerkFailed
from headway.insight.desk import Ask
from headway.insight.documents import Filters
from headway.insight.overview import Now

__all__ = ["PAGES_MAX", "Office"]

PAGES_MAX: Final = 64
UPDATE_S, TICK_S = 1.0, 0.1
LOAD_MAX: Final = 0.25
"""The part of that process's time that updates may take."""
NAMES_MAX: Final = 10_000
"""Keys that are shown by name; others by id."""
QUIET_S: Final = 5.0
"""How long a page hears nothing at most."""


class _Sight:
    """What pages with equal filters look at."""

    __slots__ = ("body", "changed", "document", "due_s", "pages", "version")

    def __init__(self) -> None:
        self.document = b""
        self.body = b""
        self.version = 0
        self.changed = asyncio.Event()
        self.due_s = 0.0
        self.pages = 0

    def wake(self) -> None:
        """Have its pages look up."""
        self.changed.set()
        self.changed = asyncio.Event()


class Office:
    """See the module.

    Args:
        serving: What the process runs on.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._clerk: Clerk | None = None
        self._told = (0, -1, False)
        self._sights: dict[Filters, _Sight] = {}
        self._updating: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self.pages = 0

    async def ask(self, ask: Ask) -> tuple[int, bytes]:
        """A status and a JSON document.

        Raises:
            Refused: There is none at present.
        """
        try:
            clerk = await self._ready()
            return await clerk.ask(ask)
        except ClerkFailed as problem:
            raise Refused(503, str(problem), "not_available") from None

    def warm(self) -> None:
        """Somebody is about to ask: have the log read meanwhile."""
        if (self._clerk is None or not self._clerk.pid) and (self._warming is None or self._warming.done()):
            self._warming = asyncio.ensure_future(self._warm())

    async def _warm(self) -> None:
        try:
            await self.ask(Ask(what="calls", limit=1))
        except (Refused, HeadwayError):
            pass  # whoever asks is told

    async def overview(self, filters: Filters) -> tuple[int, bytes]:
        """The first view. Raises `Refused`."""
        asked_wall_s = time.time()
        now = await self._now()
        return await self.ask(Ask(what="overview", filters=filters, now=now, asked_wall_s=asked_wall_s))

    async def live(self, filters: Filters) -> AsyncIterator[bytes]:
        """Events for one page, until the gateway ends. Raises `Refused` where there are too many pages."""
        if self.pages >= PAGES_MAX:
            raise Refused(503, f"{PAGES_MAX} pages are open already; close one", "too_many_pages")
        self.pages += 1
        sight = self._sights.setdefault(filters, _Sight())
        sight.pages += 1
        if self._updating is None or self._updating.done():
            self._updating = asyncio.ensure_future(self._update())
        return self._events(filters, sight)

    def leave(self, filters: Filters) -> None:
        """A page for which there was `live` is gone."""
        self.pages -= 1
        sight = self._sights[filters]
        sight.pages -= 1
        if not sight.pages:
            del self._sights[filters]

    async def _events(self, filters: Filters, sight: _Sight) -> AsyncIterator[bytes]:
        seen = 0
        while not self._serving.draining:
            if sight.version != seen:
                seen = sight.version
                yield b"event: overview\ndata: " + sight.document + b"\n\n"
                continue
            try:
                async with asyncio.timeout(QUIET_S):
                    await sight.changed.wait()
            except TimeoutError:
                yield b": nothing new\n\n"

    async def _update(self) -> None:
        """As long as there are pages."""
        loop = asyncio.get_running_loop()
        while self._sights and not self._serving.draining:
            due = [(filters, sight) for filters, sight in self._sights.items() if sight.due_s <= loop.time()]
            now = await self._now() if due else None
            for filters, sight in due:
                began_s = loop.time()
                if now is not None:
                    await self._refresh(filters, sight, now)
                took_s = loop.time() - began_s
                sight.due_s = began_s + max(UPDATE_S, took_s * len(self._sights) / LOAD_MAX)
            await asyncio.sleep(TICK_S)
        for sight in self._sights.values():
            sight.wake()

    async def _refresh(self, filters: Filters, sight: _Sight, now: Now) -> None:
        try:
            status, document = await self.ask(Ask(what="overview", filters=filters, now=now))
        except (Refused, HeadwayError):
            return  # pages hear that nothing is new; the process beside us is started anew
        body = document.partition(b",")[2]  # without the time, which always changes
        if status == 200:
            sight.document = document
            if body != sight.body:
                sight.body = body
                sight.version += 1
                sight.wake()

    async def _ready(self) -> Clerk:
        """The clerk for the log that is being written now, who knows what the keys are called."""
        path = _log_path(self._serving)
        if self._clerk is None or self._clerk.path != path:
            old, self._clerk = self._clerk, Clerk(path)
            self._told = (0, -1, False)
            if old is not None:
                await old.aclose()
        clerk, known, keyed = self._clerk, self._serving.keys.known, self._serving.gate.keyed
        if self._told != (clerk.starts, known.edits, keyed) or not clerk.pid:
            youngest = sorted(known.keys.values(), key=lambda key: -key.created_wall_s)[:NAMES_MAX]
            await clerk.ask(Ask(what="names", names={key.id: key.name for key in youngest}, keyed=keyed))
            self._told = (clerk.starts, known.edits, keyed)
        return clerk

    async def _now(self) -> Now:
        from headway import __version__

        states = [worker for worker in await self._serving.peers.states() if worker.state]  # those that live
        return now_of(states, self._serving.homes.all, __version__)


def _log_path(serving: Serving) -> str:
    log = serving.engine.settings.log
    if log == "off":
        return ""
    return str(state_dir(os.environ) / "calls.sqlite" if log == "on" else Path(log))
