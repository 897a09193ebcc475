"""The process that starts workers, and watches over them."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from headway.errors import ConfigError
from headway.gateway.environment import EnvFile
from headway.gateway.hangup import Hangup
from headway.gateway.hub.hub import Hub, Seat
from headway.gateway.listening import listen, url_of
from headway.gateway.settings import ServeSettings
from headway.gateway.words import said_of

__all__ = ["Workers"]

READY_S: Final = 30.0
DEATHS_MAX: Final = 5
"""In a row, each within `YOUNG_S` of its beginning, with nobody left who serves."""
YOUNG_S: Final = 5.0
HUNG_S: Final = 30.0
"""Silence of a worker, which speaks every second, after which it is taken for hung."""
WATCH_S: Final = 1.0
WAIT_MIN_S, WAIT_MAX_S = 0.25, 30.0
"""Before a young worker that died is replaced: twice as long with every death in a row."""
_EXIT_S: Final = 2.0
_LOOK_S: Final = 0.02


class _Place:
    """Where one worker is, and after it the next."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.seat: Seat | None = None
        self.tending: asyncio.Task[None] | None = None


class Workers:
    """See the module.

    Args:
        settings: See `ServeSettings`.
    """

    def __init__(self, settings: ServeSettings) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("several workers cannot share a port on this system; use --workers 1")
        self._env = EnvFile(settings.env_file)
        self._env.load()
        self._said = said_of(settings)
        # Bound and never listening: it keeps the port for them, and nothing is sent to it.
        self._place = listen(settings, shared=True, backlog=None)
        self._settings = replace(settings, port=self._place.getsockname()[1])
        self._places = [_Place() for _ in range(settings.workers)]
        self._deaths = 0
        self._started = self._ending = False
        self._over: asyncio.Future[None]
        self._hub: Hub
        self._reloading: asyncio.Task[None] | None = None
        self._again = False

    async def run(self, ready: Callable[[str], None] | None) -> None:
        """Until a signal; then until all have ended.

        Raises:
            ConfigError: They do not start, or die as soon as they have started.
        """
        loop = asyncio.get_running_loop()
        warn = partial(self._said.tell, "reload", level="warning")
        self._over, self._hub = loop.create_future(), Hub(warn)
        numbers = [int(signal.SIGINT), int(signal.SIGTERM)]
        for number in numbers:
            loop.add_signal_handler(number, self._end)
        taken = [*numbers, *Hangup(self._reload_soon, self._end).watch(loop)]
        watching = loop.create_task(self._watch())
        try:
            for place in self._places:
                place.tending = loop.create_task(self._tend(place))
            if await self._all_ready() and ready is not None:
                ready(url_of(self._place))
            await self._over
        finally:
            watching.cancel()
            await self._stop()
            await self._hub.aclose()
            self._place.close()
            for number in taken:
                loop.remove_signal_handler(number)
            self._env.put_back({})

    async def _tend(self, place: _Place) -> None:
        """Keep one worker there."""
        loop = asyncio.get_running_loop()
        while True:
            born_at_s, gone = loop.time(), asyncio.Event()
            try:
                await self._start(place, gone)
            except OSError as error:
                self._fail(ConfigError(f"a worker cannot be started: {error.strerror or error}"))
                return
            await gone.wait()
            code = await self._exit_code(place)
            if code is None:
                return
            if not self._started:
                self._fail(ConfigError("a worker did not start; see what it said above"))
                return
            young = loop.time() - born_at_s < YOUNG_S
            self._deaths = self._deaths + 1 if young else 0
            if self._deaths >= DEATHS_MAX and not any(seat.ready.is_set() for seat in self._hub.seats):
                self._fail(ConfigError(f"workers end as soon as they start (exit code {code}); see above"))
                return
            wait_s = min(WAIT_MAX_S, WAIT_MIN_S * 2.0 ** (self._deaths - 1)) if young else 0.0
            when = f"in {wait_s:g} s" if wait_s else "now"
            said = f"a worker ended with exit code {code}; another one starts {when}"
            self._said.tell("worker ended", said, level="warning", exit_code=code, restart_in_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _start(self, place: _Place, gone: asyncio.Event) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            place.child = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes milliseconds; our own interpreter
                [sys.executable, "-P", "-m", "headway.gateway", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=self._env.without(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is ours to hand on
            )
        place.seat = self._hub.seat(place.child.pid, gone.set)
        await place.seat.open(ours, self._settings)

    async def _all_ready(self) -> bool:
        """Wait until all take requests; whoever cannot start has said why on stderr."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._ending or self._over.done():
                return False
            if sum(seat.ready.is_set() for seat in self._hub.seats) == len(self._places):
                self._started = True
                return True

    async def _exit_code(self, place: _Place) -> int | None:
        """Of a worker that has hung up: it ends, or is ended. None at the end of all, which waits for each longer."""
        child = place.child
        assert child is not None  # it was started
        until_s = asyncio.get_running_loop().time() + _EXIT_S
        while not self._ending and child.poll() is None:
            if asyncio.get_running_loop().time() > until_s:
                child.kill()
            await asyncio.sleep(_LOOK_S)
        return None if self._ending else child.wait()

    async def _watch(self) -> None:
        """End those that hang."""
        loop = asyncio.get_running_loop()
        while True:
            before_s = loop.time()
            await asyncio.sleep(WATCH_S)
            now_s = loop.time()
            if now_s - before_s > 5.0 * WATCH_S:  # this process was stopped, and perhaps the others with it
                for seat in self._hub.seats:
                    seat.born_at_s = seat.heard_at_s = now_s
            for place in self._places:
                seat_, child = place.seat, place.child
                if seat_ is None or child is None or child.poll() is not None:
                    continue
                ready = seat_.ready.is_set()
                since_s, most_s = (seat_.heard_at_s, HUNG_S) if ready else (seat_.born_at_s, READY_S)
                if now_s - since_s > most_s:
                    what = "has said nothing for" if ready else "takes no requests after"
                    said = f"worker {child.pid} {what} {most_s:g} s; it is ended"
                    self._said.tell("worker hung", said, level="warning", pid=child.pid)
                    seat_.born_at_s = seat_.heard_at_s = now_s
                    child.send_signal(signal.SIGABRT)  # it says where it hangs, and ends
                    loop.call_later(_EXIT_S, child.kill)

    def _reload_soon(self) -> None:
        self._again = True
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        try:
            while self._again:
                self._again = False
                ok, said = await self._hub.reload()
                self._said.tell("reload", said, level="info" if ok else "warning")
        finally:
            self._reloading = None

    def _end(self) -> None:
        if self._ending:  # the second one is in a hurry
            for place in self._places:
                if place.child is not None and place.child.poll() is None:
                    place.child.send_signal(signal.SIGTERM)
        self._ending = True
        if not self._over.done():
            self._over.set_result(None)

    def _fail(self, error: ConfigError) -> None:
        self._ending = True
        if not self._over.done():
            self._over.set_exception(error)

    async def _stop(self) -> None:
        self._ending = True
        children = [place.child for place in self._places if place.child is not None]
        for child in children:
            if child.poll() is None:
                child.terminate()
        until_s = asyncio.get_running_loop().time() + self._settings.drain_s + READY_S
        while any(child.poll() is None for child in children):
            if asyncio.get_running_loop().time() > until_s:
                break
            await asyncio.sleep(_LOOK_S)
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
        tending = [place.tending for place in self._places if place.tending is not None]
        if self._reloading is not None:
            tending.append(self._reloading)
        for task in tending:
            task.cancel()
        await asyncio.gather(*tending, return_exceptions=True)
        for seat in self._hub.seats[:]:
            seat.link.close()
        await asyncio.sleep(0)
