"""The process: one engine, one uvicorn server with our connection protocol, an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from headway import __version__
from headway.errors import ConfigError
from headway.gateway.data.gate import Gate
from headway.gateway.data.guard import is_data
from headway.gateway.environment import EnvFile
from headway.gateway.hangup import Hangup
from headway.gateway.keys import Keys
from headway.gateway.listening import is_reachable, keys_path, listen, url_of
from headway.gateway.protocol import Connection, Site
from headway.gateway.reload import Reloader, Task
from headway.gateway.serving import Serving
from headway.gateway.settings import ServeSettings
from headway.gateway.standing import Plan, Standing, planned
from headway.gateway.words import traced
from headway.types import Handler

if TYPE_CHECKING:
    import uvicorn

    from headway.gateway.hub.member import Member

__all__ = ["keys_path", "listen", "run", "url_of"]

LEAVE_S = 1
"""What an answer that was broken off has for its record."""


async def run(
    settings: ServeSettings,
    listener: socket.socket,
    *,
    ready: Callable[[], None] | None = None,
    handler: Handler | None = None,
    stop: asyncio.Event | None = None,
    member: Member | None = None,
    env: EnvFile | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let what is being answered end.

    Args:
        settings: See `ServeSettings`.
        listener: From `listen`; closed at the end.
        ready: Called when requests are taken.
        handler: Takes the network's place: a simulator or a fake.
        stop: Ends it, like a signal.
        member: What ties it to the other workers; None: there are none.
        env: The file of variables, loaded; None: it is loaded here.

    Raises:
        ConfigError: A setting is wrong, or the extra `serve` is not installed.
    """
    if env is None:
        env = EnvFile(settings.env_file)
        env.load()
    try:
        plan = planned(settings)
        keys = await Keys.open(keys_path(settings))
        try:
            async with traced(plan.settings):
                await _run(settings, env, plan, keys, listener, ready, handler, stop, member)
        finally:
            await keys.aclose()  # after the engine, whose last calls have settled by then
    finally:
        if member is not None:
            await member.leave()  # last of all: who has left is taken to have ended
        env.put_back({})


async def _run(
    settings: ServeSettings,
    env: EnvFile,
    plan: Plan,
    keys: Keys,
    listener: socket.socket,
    ready: Callable[[], None] | None,
    handler: Handler | None,
    stop: asyncio.Event | None,
    member: Member | None,
) -> None:
    gate = Gate(keys, always=bool(settings.keys) or is_reachable(settings.host))

    def make(plan: Plan, before: Standing | None = None) -> Standing:
        limits = member.limits if member is not None else None
        return Standing(settings, plan, gate, handler, limits=limits, before=before)

    def begun() -> None:
        said = f"it takes requests at {url_of(listener)}"
        serving.said.tell("ready", said, quiet=True, pid=os.getpid(), version=__version__, keys=gate.keyed)
        if ready is not None:
            ready()

    standing = make(plan)
    try:
        serving = Serving(settings, standing.engine, standing.door, homes=standing.homes, gate=gate, keys=keys)
        server = _server(serving, begun)
    except BaseException:
        await standing.aclose()
        raise

    def answering() -> tuple[Iterable[Task], Iterable[Task]]:
        state = server.server_state
        own = [one.answering for one in _connections(server)]
        return [task for task in own if task is not None], list(state.tasks)

    reloader = Reloader(serving, standing, env, make, answering, settings.drain_s)
    if member is not None:
        member.join(serving, reloader, server.handle_exit)
    else:
        serving.reload = reloader.ask
    try:
        await _until_stopped(server, listener, stop)
        serving.refused.say()
        serving.said.tell("end", "it has ended", quiet=True, pid=os.getpid())
    finally:
        await reloader.aclose()


async def _until_stopped(server: uvicorn.Server, listener: socket.socket, stop: asyncio.Event | None) -> None:
    ending = asyncio.ensure_future(_stopped(server, stop)) if stop is not None else None
    try:
        await server.serve([listener])
    finally:
        if ending is not None:
            ending.cancel()
        connections = _connections(server)
        for connection in connections:
            connection.end()
        if tasks := [task for connection in connections if (task := connection.answering) is not None]:
            await asyncio.wait(tasks, timeout=LEAVE_S)
        for connection in connections:
            connection.abort()


def _connections(server: uvicorn.Server) -> list[Connection]:
    """Those of the data plane."""
    return [one for one in cast("set[object]", server.server_state.connections) if isinstance(one, Connection)]


async def _stopped(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.handle_exit(signal.SIGTERM, None)


def _protocol(serving: Serving) -> Callable[..., Connection]:
    """Makes our protocol for each connection, with the server's own behind it."""
    from headway.gateway.protocol.handed import Handed

    site: Site | None = None
    settings = serving.settings

    def protocol(config: uvicorn.Config, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> Connection:
        nonlocal site
        if site is None:

            def other() -> Handed:
                return Handed(
                    config, server_state, app_state, asyncio.get_running_loop(), settings.limits, settings.doors
                )

            site = Site(serving.handle, serving.check, is_data, other, settings.limits, server_state.connections)
            site.refused = serving.refused
        return Connection(site, asyncio.get_running_loop())

    return protocol


def _server(serving: Serving, begun: Callable[[], None]) -> uvicorn.Server:
    """The server of uvicorn, quiet, with our protocol in front of its own."""
    try:
        import uvicorn

        from headway.gateway.app import application
        from headway.gateway.protocol import handed  # noqa: F401  # may be missing something, too
    except ImportError:
        raise ConfigError("the gateway's server is not installed; run: pip install 'headway[serve]'") from None

    settings = serving.settings

    class Server(uvicorn.Server):
        """Takes signals without handing them on at the end: to end in good order is exit code 0."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            again, serving.draining = serving.draining, True  # whoever asks whether it takes more is told no
            if self.should_exit:
                self._hurry()  # the second one
            self.should_exit = True
            if not again:
                said, open_ = "it ends; what is being answered is answered", self.server_state.connections
                serving.said.tell("drain", said, quiet=True, connections=len(open_))

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            late = asyncio.get_running_loop().call_later(max(1.0, settings.drain_s), self._hurry)
            try:
                await super().shutdown(sockets)
            finally:
                late.cancel()

        def _hurry(self) -> None:
            """Wait for nobody any more; who is being answered is told so."""
            self.force_exit = True
            for task in list(self.server_state.tasks):
                task.cancel()
            for connection in _connections(self):
                connection.end()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            begun()  # not before: a signal would end the process

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop, numbers = asyncio.get_running_loop(), [int(signal.SIGINT), int(signal.SIGTERM)]
            try:
                for number in numbers:
                    loop.add_signal_handler(number, self.handle_exit, number, None)
                if serving.reload is not None:
                    hang_up = Hangup(serving.reload, partial(self.handle_exit, signal.SIGTERM, None))
                    numbers += hang_up.watch(loop)
            except (NotImplementedError, RuntimeError, ValueError):
                numbers = []  # no main thread, or a system without them: `stop` ends it
            yield
            for number in numbers:
                loop.remove_signal_handler(number)

    return Server(
        uvicorn.Config(
            application(serving),
            http=_protocol(serving),  # type: ignore[arg-type]  # called like the class
            ws="none",  # `Handed` has its own
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)) + 2 * LEAVE_S,  # it says so in words of its own
        )
    )
