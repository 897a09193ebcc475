"""The client over real sockets: TLS, options, large bodies both ways, and the way around through a proxy."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from headway.errors import ConfigError, ConnectFailed, ConnectionLost
from headway.types import Timeouts
from headway.upstream import Upstream
from headway.upstream.link import connect

from .helpers import ask, call, ok

pytestmark = pytest.mark.usefixtures("each_loop")


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")), 0)
    return head, await reader.readexactly(length)


async def always(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await request_of(reader)
        writer.write(ok())


def run(serve, work, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"):
    """Give `work` a client and the port of a server on loopback."""

    async def main():
        tasks = set()

        async def connected(reader, writer):
            tasks.add(asyncio.current_task())
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(connected, host, 0, ssl=tls)
        upstream = Upstream(Timeouts(), connections_max=10, reply_bytes_max=50_000_000)
        try:
            result = await work(upstream, server.sockets[0].getsockname()[1])
            assert upstream.busy == 0
            return result
        finally:
            await upstream.aclose()
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(main())


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """An authority of our own that the system trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


def serving(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_names_the_host_and_speaks_http_1(authority, host):
    """The name that is asked for (SNI), HTTP/1.1 although the server would rather speak another, kept connections."""
    named, spoken = [], []
    context = serving(authority, host)
    context.sni_callback = lambda _, name, __: named.append(name)

    async def serve(reader, writer):
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await always(reader, writer)

    async def work(upstream, port):
        return [await ask(upstream, call(f"https://{host}:{port}")) for _ in range(3)], upstream.idle

    assert run(serve, work, tls=context, host="localhost") == ([(200, b"{}")] * 3, 1)
    assert spoken == ["http/1.1"]
    assert named == (["localhost"] if host == "localhost" else [None])


@pytest.mark.parametrize("wrong", ["name", "authority", "protocol"])
def test_tls_that_cannot_be_trusted_is_no_connection(authority, wrong):
    """Another host's certificate, an unknown authority, no TLS at all: nothing is sent, nothing billed."""
    context = serving(trustme.CA() if wrong == "authority" else authority, "other" if wrong == "name" else "localhost")
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.read(100) if wrong == "protocol" else (await request_of(reader))[0])
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async def work(upstream, port):
        return await ask(upstream, call(f"https://localhost:{port}"))

    error = run(serve, work, tls=None if wrong == "protocol" else context, host="localhost")
    assert isinstance(error, ConnectFailed)
    assert not error.maybe_billed
    assert not any(b"HTTP" in head for head in heads)


@pytest.mark.parametrize("tls", [False, True])
def test_large_bodies_both_ways(authority, tls):
    """10 MB up and down arrive as they were, over a kept connection."""
    body = hashlib.shake_256(b"x").digest(10_000_000)

    async def serve(reader, writer):
        while True:
            _, data = await request_of(reader)
            writer.write(ok(data, b""))

    async def work(upstream, port):
        what = [call(f"http{'s' * tls}://localhost:{port}", body=body, stream=n == 1) for n in range(2)]
        return [(await ask(upstream, each))[1] == body for each in what], upstream.idle

    context = serving(authority, "localhost") if tls else None
    assert run(serve, work, tls=context, host="localhost") == ([True, True], 1)


def test_a_socket_sends_at_once_and_is_probed():
    """TCP_NODELAY against 40 ms of waiting for more, SO_KEEPALIVE against gateways that forget."""

    async def work(upstream, port):
        await ask(upstream, call(f"http://127.0.0.1:{port}"))
        own = next(iter(upstream._pool._connections))._transport.get_extra_info("socket")
        return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), own.getsockopt(
            socket.SOL_SOCKET, socket.SO_KEEPALIVE
        )

    nodelay, keepalive = run(always, work)
    assert nodelay
    assert keepalive


def test_a_kept_connection_that_the_kernel_knows_to_be_dead():
    """Closed by the server while our loop did not look: the request is sent again, over a new connection."""
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await request_of(reader)
        writer.write(ok())
        await writer.drain()

    async def work(upstream, port):
        what = f"http://127.0.0.1:{port}"
        replies = [await ask(upstream, call(what))]
        own = next(iter(upstream._pool._connections))._transport.get_extra_info("socket")
        with own.dup() if hasattr(own, "dup") else own._sock.dup() as same:
            same.shutdown(socket.SHUT_RD)  # its end is there to be read, and has not been yet
        replies.append(await ask(upstream, call(what)))
        return replies

    assert run(serve, work) == [(200, b"{}")] * 2
    assert connections == 2


def test_a_reset_is_named():
    """An answer cut off by a reset says so."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(ok()[:-1])
        await writer.drain()
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def work(upstream, port):
        return await ask(upstream, call(f"http://127.0.0.1:{port}"))

    error = run(serve, work)
    assert isinstance(error, ConnectionLost)
    assert "eset" in str(error)


def test_proxies_go_through_the_fallback(monkeypatch):
    """What the environment sends through a proxy is httpx2's business; NO_PROXY stays ours."""
    targets = []

    async def serve(reader, writer):
        while True:
            head, _ = await request_of(reader)
            targets.append(head.split(b" ")[1])
            writer.write(ok())

    async def work(upstream, port):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        proxied = await ask(upstream, call("http://api.example"))
        idle = [upstream.idle]
        direct = await ask(upstream, call(f"http://127.0.0.1:{port}"))
        return proxied, direct, [*idle, upstream.idle]

    assert run(serve, work) == ((200, b"{}"), (200, b"{}"), [0, 1])
    assert targets == [b"http://api.example/v1/x", b"/v1/x"]


@pytest.mark.parametrize(
    ("origin", "headers", "error"),
    [
        ("ftp://127.0.0.1:9", (), ConnectFailed),
        ("http://127.0.0.1:port", (), ConfigError),
        ("http://a\r\nb", (), ConfigError),
        ("ftp://127.0.0.1:9", (("x", "1\r\ny: 2"),), ConfigError),
    ],
)
def test_what_even_the_fallback_cannot_call_is_refused_in_words(origin, headers, error):
    """Schemes that nobody speaks, addresses that are none, line breaks: typed errors, nothing sent."""

    async def work(upstream, port):
        return await ask(upstream, call(origin, headers=headers))

    refusal = run(always, work)
    assert isinstance(refusal, error)


class Kept(asyncio.Protocol):
    """Knows its transport."""

    def connection_made(self, transport):
        self.transport = transport


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open sockets are counted in /proc")
def test_who_leaves_while_a_connection_is_made_leaves_no_socket_behind():
    """At any step of it: `create_connection` lost one that had just been connected to the garbage collector."""

    def sockets() -> int:
        return sum(
            os.path.realpath(one).rpartition("/")[2].startswith("socket:") for one in Path("/proc/self/fd").iterdir()
        )

    async def main() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port, loop, kept, left = server.sockets[0].getsockname()[1], asyncio.get_running_loop(), Kept(), 0
        for steps in range(30):
            before = sockets()
            asked = loop.create_task(connect(loop, lambda: kept, "127.0.0.1", port, None))
            for _ in range(steps):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait((asked,))
            left += asked.cancelled()
            if not asked.cancelled():
                kept.transport.abort()
            async with asyncio.timeout(10):
                while sockets() > before:  # noqa: ASYNC110  # nobody announces it
                    await asyncio.sleep(0.001)
        server.close()
        assert left > 2
        await server.wait_closed()

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
