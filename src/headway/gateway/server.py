"""The process: one engine, one uvicorn server with our connection protocol, an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.config import Settings, load_settings
from headway.engine import Engine
from headway.errors import ConfigError
from headway.gateway.data import Door
from headway.gateway.data.gate import Gate
from headway.gateway.data.guard import is_data, is_loopback
from headway.gateway.data.homes import Homes, engine_upstreams
from headway.gateway.keys import Keys, KeyStore, default_path
from headway.gateway.protocol import Connection, Site
from headway.gateway.serving import Serving
from headway.gateway.settings import ServeSettings
from headway.types import Handler, Timeouts
from headway.upstream import Upstream

if TYPE_CHECKING:
    import uvicorn

__all__ = ["keys_path", "listen", "run", "url_of"]

PASSED_BYTES_MAX = 2 * 1024**3
"""The largest answer that passes through; it is never held."""


def listen(settings: ServeSettings, *, shared: bool = False, backlog: int | None = 2_048) -> socket.socket:
    """A socket that listens.

    Args:
        settings: Host and port.
        shared: Several processes listen there, and the system spreads connections among them.
        backlog: Connections that may wait to be accepted; None: it only takes the address.

    Raises:
        ConfigError: The address cannot be had, or others can reach it and there are no keys.
    """
    host, port = settings.host, settings.port
    if _reachable(host) and not _has_keys(keys_path(settings)):
        raise ConfigError(
            f"--host {host} can be reached by others, and this gateway has no keys: whoever reaches it would spend "
            "your provider's key; make one with `headway keys create`, or listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if backlog is not None:
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; choose another with --port") from None
    listener.setblocking(False)  # noqa: FBT003  # positional only
    return listener


def _reachable(host: str) -> bool:
    """Whether others than this machine can reach it."""
    return not is_loopback(f"[{host}]" if ":" in host else host)


def keys_path(settings: ServeSettings) -> Path:
    """Where its keys are."""
    return Path(settings.keys) if settings.keys else default_path(os.environ)


def _has_keys(path: Path) -> bool:
    """Whether anybody could use it by a key."""
    if not path.exists():
        return False
    with KeyStore(path) as store:
        return store.known().usable(time.time()) > 0


def url_of(listener: socket.socket) -> str:
    """How it is reached: "http://127.0.0.1:8080"."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def run(
    settings: ServeSettings,
    listener: socket.socket,
    *,
    ready: Callable[[], None] | None = None,
    handler: Handler | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let what is being answered end.

    Args:
        settings: See `ServeSettings`.
        listener: From `listen`; closed at the end.
        ready: Called when requests are taken.
        handler: Takes the network's place: a simulator or a fake.
        stop: Ends it, like a signal.

    Raises:
        ConfigError: A setting is wrong, or the extra `serve` is not installed.
    """
    found = load_settings(settings.engine, file=settings.config or None)
    given = settings.engine | {"upstreams": engine_upstreams(found)}
    if found.connections_max == Settings().connections_max:
        # As it is for one application; here every client's stream may need one of its own.
        given["connections_max"] = settings.limits.connections_max
    keys = await Keys.open(keys_path(settings))
    try:
        async with Engine(handler=handler, config=settings.config or None, **given) as engine:
            passing = handler or _passing(found)
            gate = Gate(keys, always=bool(settings.keys) or _reachable(settings.host))
            homes = Homes(found)
            door = Door(engine, homes, gate, passing)
            server = _server(Serving(settings, engine, door, homes=homes, gate=gate, keys=keys))
            try:
                await _until_stopped(server, listener, ready, stop)
            finally:
                if isinstance(passing, Upstream):
                    await passing.aclose()
    finally:
        await keys.aclose()  # after the engine, whose last calls have settled by then


async def _until_stopped(
    server: uvicorn.Server, listener: socket.socket, ready: Callable[[], None] | None, stop: asyncio.Event | None
) -> None:
    ending = asyncio.ensure_future(_stopped(server, stop)) if stop is not None else None
    if ready is not None:
        ready()  # the socket listens already: whoever connects now is served in a moment
    try:
        await server.serve([listener])
    finally:
        if ending is not None:
            ending.cancel()
        for connection in list(server.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()


def _passing(settings: Settings) -> Upstream:
    timeouts = Timeouts(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        first_event_s=settings.first_byte_timeout_s,
        idle_s=settings.idle_timeout_s,
    )
    return Upstream(timeouts, connections_max=settings.connections_max, reply_bytes_max=PASSED_BYTES_MAX)


async def _stopped(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _server(serving: Serving) -> uvicorn.Server:
    """The server of uvicorn, quiet, with our protocol in front of its own."""
    try:
        import uvicorn

        from headway.gateway.app import application
        from headway.gateway.protocol.handed import Handed
    except ImportError:
        raise ConfigError("the gateway's server is not installed; run: pip install 'headway[serve]'") from None

    site: Site | None = None
    settings, door = serving.settings, serving.door

    def protocol(config: uvicorn.Config, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> Connection:
        nonlocal site
        if site is None:

            def other() -> Handed:
                return Handed(config, server_state, app_state, asyncio.get_running_loop(), settings.limits)

            site = Site(door, door.check, is_data, other, settings.limits, server_state.connections)
        return Connection(site, asyncio.get_running_loop())

    class Server(uvicorn.Server):
        """Takes signals without handing them on at the end: to end in good order is exit code 0."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.force_exit = self.should_exit  # the second one is in a hurry
            self.should_exit = True

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop, numbers = asyncio.get_running_loop(), [signal.SIGINT, signal.SIGTERM]
            try:
                for number in numbers:
                    loop.add_signal_handler(number, self.handle_exit, number, None)
            except (NotImplementedError, RuntimeError, ValueError):
                numbers = []  # no main thread, or a system without them: `stop` ends it
            yield
            for number in numbers:
                loop.remove_signal_handler(number)

    return Server(
        uvicorn.Config(
            application(serving),
            http=protocol,  # type: ignore[arg-type]  # called like the class
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
    )
