"""The simulator over HTTP: in this process for `headway sim`, or in one of its own for demos, benches and tests."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from headway.errors import ConfigError
from headway.sim.app import DROP, asgi_app
from headway.sim.child import child_server
from headway.sim.settings import SimSettings
from headway.sim.simulator import Simulator

if TYPE_CHECKING:
    import uvicorn

    from headway.sim.network import Network

__all__ = ["child_main", "serve_forever", "serve_on", "serving"]


def serve_forever(
    settings: SimSettings, host: str = "127.0.0.1", port: int = 8181, *, ready: Callable[[str], None] | None = None
) -> Simulator:
    """Serve until Ctrl-C; then the simulator, for its ledger.

    Args:
        settings: What to play.
        host: Address to listen on.
        port: 0 for any free one.
        ready: Called with the base URL ("http://127.0.0.1:8181/v1") once connections are accepted.

    Raises:
        ConfigError: The extra `sim` is not installed, or the address cannot be had.
    """
    simulator = Simulator(settings)
    listener = _listen(host, port)
    server = _server(simulator)
    url = _url(listener)

    async def serve() -> None:
        if ready is not None:
            ready(url)  # the socket listens already: whoever connects now is served in a moment
        await server.serve([listener])

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        pass  # the server has shut down in good order; this is how it says why
    return simulator


@contextmanager
def serving(settings: SimSettings | None = None) -> Iterator[str]:
    """A simulator in a process of its own, on a free port of the loopback; gives its base URL, ending in "/v1".

    The ledger is at ``GET {url[:-3]}/sim/ledger`` (``DELETE`` resets it). The process ends with the block, and also
    when this process dies.

    Raises:
        ConfigError: The extra `sim` is not installed.
        ConnectFailed: The process did not start within 20 s.
    """
    if find_spec("uvicorn") is None or find_spec("httptools") is None:
        raise ConfigError("the simulator's server is not installed; run: pip install 'headway[sim]'")
    with child_server("headway.sim", settings or SimSettings(), "the simulator") as url:
        yield url


def serve_on(
    network: Network, host: str, port: int, simulator: Simulator, *, keep_alive_s: int = 75, app: Any = None
) -> None:
    """Serve a simulator at a host of a virtual network, over real HTTP/1.1 bytes.

    Args:
        network: See `headway.sim.network`.
        host: E.g. "api.openai.com".
        port: 80, unless its clients' TLS is the loop's.
        simulator: One may be served at several hosts.
        keep_alive_s: An idle connection is closed after so many seconds.
        app: Another ASGI application in the place of the simulator's own, e.g. one that records.

    Raises:
        ConfigError: The extra `sim` is not installed, or the port is taken.
    """
    config = _config(app or asgi_app(simulator), keep_alive_s)
    config.load()
    from uvicorn.server import ServerState

    state = ServerState()
    protocol: Any = config.http_protocol_class
    network.serve(host, port, lambda: protocol(config, state, {}, network.loop))


def child_main() -> None:
    """The process `serving` starts: settings come in as a line of JSON, the URL goes out, end of input ends it."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 65_536)):
        line += more
    simulator = Simulator(msgspec.json.decode(line, type=SimSettings))
    listener = _listen("127.0.0.1", 0)
    server = _server(simulator)

    def until_end_of_input() -> None:
        while os.read(0, 1):
            pass
        server.should_exit = True

    threading.Thread(target=until_end_of_input, daemon=True).start()
    os.write(1, _url(listener).encode() + b"\n")
    asyncio.run(server.serve([listener]))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2_048)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; choose another with --port") from None
    listener.setblocking(False)  # noqa: FBT003  # positional only
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _server(simulator: Simulator) -> uvicorn.Server:
    config = _config(asgi_app(simulator), 75)
    import uvicorn

    return uvicorn.Server(config)


def _config(app: Any, keep_alive_s: int) -> uvicorn.Config:
    """Of a server that is quiet, speaks HTTP/1.1 only and can drop connections."""
    try:
        import uvicorn  # only who serves pays for it
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        raise ConfigError("the simulator's server is not installed; run: pip install 'headway[sim]'") from None

    class Protocol(HttpToolsProtocol):
        """Lets the application drop the connection: HTTP has no word for that, so ASGI has none either."""

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {DROP: self._drop}  # type: ignore[dict-item]  # a function for a dict

        def _drop(self) -> None:
            self.transport.close()  # sends what was written, then ends, whatever was announced

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=2,
    )
