"""A virtual network: in-memory connections on the virtual-time loop, with latency and with what goes wrong.

    network = Network(loop, seed=7, faults=(NetworkFault(kind="reset", rate=0.02),))
    network.serve("api.openai.com", 80, protocol_factory)

From then on the loop's `getaddrinfo`, `create_connection` and `create_server` are this network's, so that unmodified
asyncio programs run on it: SDKs on one side, an HTTP server's protocol on the other, real bytes between them. TLS is
transparent: `ssl` is accepted, costs a round trip, and nothing is encrypted. (A client that wraps TLS around the bytes
itself, as httpcore does, has to be given an `http://` address.)

Each connection draws its fault from dice of its own, seeded by (seed, its number): which connections fail does not
depend on what runs next to them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from functools import partial
from math import isfinite
from random import Random
from typing import TYPE_CHECKING, Any, Final

from headway.errors import ConfigError
from headway.sim.network_faults import CONNECT_GIVEN_UP_S, Direction, Drawn, NetworkFault, draw_fault
from headway.sim.network_link import Link
from headway.sim.network_transport import VirtualSocket, VirtualTransport

if TYPE_CHECKING:
    from headway.sim.loop import VirtualLoop

__all__ = ["Connection", "Network", "VirtualServer", "Watch"]

ProtocolFactory = Callable[[], asyncio.BaseProtocol]

Watch = Callable[[int, str, bytes], None]
"""Told (connection's number, event, bytes): "refused", "black_hole", "open", "up" and "down" (written), "up delivered",
"up lost", ... and "closed" (the client's end)."""

_CLIENT: Final = "10.0.0.1"
_TLS_HANDSHAKE: Final = 0x16


class Network:
    """See the module.

    Args:
        loop: The virtual loop it becomes the network of.
        seed: Of all its dice.
        latency_s: One way, in seconds, >= 0.
        faults: What befalls connections; the first that the dice choose.
        watch: Told everything that happens, for records and checks.

    Raises:
        ConfigError: A latency that is none.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        *,
        seed: int = 0,
        latency_s: float = 0.0005,
        faults: Iterable[NetworkFault] = (),
        watch: Watch | None = None,
    ) -> None:
        if not (isfinite(latency_s) and latency_s >= 0):
            raise ConfigError(f"network: latency_s must be a number of seconds from 0, not {latency_s:g}")
        self.loop = loop
        self.latency_s = latency_s
        self.faults = tuple(faults)
        self.watch = watch
        self.made = 0
        """Connections asked for so far, refused ones included."""
        self._seed = seed
        self._hosts: dict[str, str] = {}
        self._served: dict[tuple[str, int], ProtocolFactory] = {}
        self._open: dict[int, Connection] = {}
        loop.network = self

    @property
    def open(self) -> tuple[Connection, ...]:
        """Connections whose client's end is not closed yet, oldest first."""
        return tuple(self._open.values())

    def serve(self, host: str, port: int, protocol_factory: ProtocolFactory) -> None:
        """Have connections to that host and port answered by a protocol each. Raises `ConfigError`: it is taken."""
        host = host.lower()
        address = self._hosts.setdefault(host, f"10.0.1.{len(self._hosts) + 1}")
        if (address, port) in self._served:
            raise ConfigError(f"network: {host}, port {port}, is served already; choose another port")
        self._served[address, port] = protocol_factory

    def stop_serving(self, host: str, port: int) -> None:
        """From now on that port is refused; open connections go on."""
        self._served.pop((self._hosts.get(host.lower(), host), port), None)

    def resolve(self, host: str) -> str:
        """The address of a host. Raises `socket.gaierror`."""
        host = host.lower()
        if host in self._hosts:
            return self._hosts[host]
        if host in self._hosts.values():
            return host
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def connect(
        self, protocol_factory: ProtocolFactory, host: str, port: int, *, ssl: Any = None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """What `loop.create_connection` does here. Raises `OSError`, as sockets do."""
        address = self.resolve(host)
        self.made += 1
        number = self.made
        rng = Random(f"{self._seed}/{number}")
        fault = draw_fault(self.faults, self.loop.time(), rng)
        kind = "" if fault is None else fault.kind
        if kind == "black_hole":
            self._note(number, kind)
            await asyncio.sleep(CONNECT_GIVEN_UP_S)
            raise TimeoutError(errno.ETIMEDOUT, f"Connect call failed {(address, port)}")
        await asyncio.sleep(2 * self.latency_s)
        factory = self._served.get((address, port))
        if kind == "refused" or factory is None:
            self._note(number, "refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {(address, port)}")
        if ssl:
            await asyncio.sleep(2 * self.latency_s)
        client, server = protocol_factory(), factory()
        connection = Connection(self, number, fault, rng)
        self._open[number] = connection
        self._note(number, "open")
        connection.join(client, server, (_CLIENT, 32_768 + number % 28_000), (address, port), ssl)
        return connection.client, client

    def _note(self, number: int, event: str, data: bytes = b"") -> None:
        if self.watch is not None:
            self.watch(number, event, data)

    def _closed(self, number: int) -> None:
        self._note(number, "closed")
        del self._open[number]


class Connection:
    """Two ends and the two directions between them."""

    client: VirtualTransport
    server: VirtualTransport

    def __init__(self, network: Network, number: int, fault: Drawn | None, rng: Random) -> None:
        self.number = number
        self.fault = fault
        self._network = network
        self._rng = rng
        self._exchanges = 0
        self._answered = True

    def join(
        self,
        client: asyncio.BaseProtocol,
        server: asyncio.BaseProtocol,
        here: tuple[str, int],
        there: tuple[str, int],
        ssl: Any,
    ) -> None:
        """Make both ends and tell their protocols, the server's first."""
        network = self._network
        up, down = self._link("up"), self._link("down")
        quiet_fd = network.loop.quiet_fd
        ours, theirs = VirtualSocket(quiet_fd, here, there), VirtualSocket(quiet_fd, there, here)
        tls = {"sslcontext": ssl, "ssl_object": _TransparentTls()} if ssl else {}
        self.server = VirtualTransport(
            network.loop, server, up, down, extra=_extra(theirs, tls), writes=self._down, gone=lambda: None
        )
        self.client = VirtualTransport(
            network.loop, client, down, up, extra=_extra(ours, tls), writes=self._up,
            gone=partial(network._closed, self.number),
        )  # fmt: skip
        ours.transport, theirs.transport = self.client, self.server
        self.server.open()
        self.client.open()

    def reset(self) -> None:
        """Both ends are told that the other one is gone."""
        self.client.reset()
        self.server.reset()

    def _link(self, direction: Direction) -> Link:
        fault = self.fault
        if fault is not None and fault.kind in ("reset", "cut", "stall") and fault.direction != direction:
            fault = None
        return Link(
            self._network.loop,
            self._network.latency_s,
            fault=fault,
            rng=self._rng,
            struck=self._struck,
            note=lambda event, data: self._passed(direction, event, data),
        )

    def _struck(self) -> None:
        if self.fault is not None and self.fault.kind == "cut":
            self.server.vanish()
        else:
            self.reset()

    def _passed(self, direction: Direction, event: str, data: bytes) -> None:
        if direction == "down" and event == "delivered":
            self._answered = True
        self._network._note(self.number, f"{direction} {event}", data)

    def _down(self, data: bytes) -> bool:
        self._network._note(self.number, "down", data)
        return True

    def _up(self, data: bytes) -> bool:
        """Note what the client writes; whether it still finds the server there."""
        self._network._note(self.number, "up", data)
        if self._answered:
            self._answered = False
            self._exchanges += 1
            if self._exchanges == 1 and data[0] == _TLS_HANDSHAKE:
                raise ConfigError("network: TLS is transparent here; give this client an http:// address")
            if self._exchanges == 2 and self.fault is not None and self.fault.kind == "stale":
                self._network._note(self.number, "up lost", data)
                if self.fault.in_order:
                    self.server.vanish()
                else:
                    self.reset()
                return False
        return True


class VirtualServer(asyncio.AbstractServer):
    """What `loop.create_server` gives here."""

    def __init__(self, network: Network, host: str, port: int) -> None:
        self._network = network
        self._place = host, port
        self._serving = True
        self.sockets: tuple[()] = ()

    def close(self) -> None:
        """Accept no more; open connections go on."""
        if self._serving:
            self._serving = False
            self._network.stop_serving(*self._place)

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The virtual loop."""
        return self._network.loop

    async def start_serving(self) -> None:
        """It does from the start."""

    async def serve_forever(self) -> None:
        """Until it is cancelled."""
        try:
            await self._network.loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """At once: there is nothing to wait for."""


class _TransparentTls:
    """What stands where an `ssl.SSLObject` would: no protocol was negotiated."""

    def selected_alpn_protocol(self) -> None:
        """HTTP/1.1, then."""

    def version(self) -> str:
        """As TLS 1.3."""
        return "TLSv1.3"


def _extra(sock: VirtualSocket, tls: dict[str, Any]) -> dict[str, Any]:
    return {"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername(), **tls}
