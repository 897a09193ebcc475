"""A real nginx with deploy/'s file in front of a server: streams pass as they come, bodies and hosts as they should."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONF = Path(__file__).resolve().parents[1] / "deploy" / "nginx" / "headway.conf"
PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def free_port() -> int:
    """One that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def nginx(folder: Path, to_port: int) -> Iterator[int]:
    """Deploy's file, plain HTTP on a port of the moment in the place of TLS; yields the port."""
    port = free_port()
    inner = re.sub(r"listen 443 .*;", f"listen 127.0.0.1:{port};", CONF.read_text("utf-8"))
    inner = re.sub(r"^\s*(listen \[::\]|ssl_).*\n", "", inner, flags=re.MULTILINE)
    inner = inner.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{to_port};")
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{inner}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(whole)], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, as soon as the port takes one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


class Server:
    """Answers with a stream whose second event waits until the first has been seen."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()
        self.ended = asyncio.Event()
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if length := re.search(rb"content-length: (\d+)", head, re.IGNORECASE):
            await reader.readexactly(int(length[1]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"6\r\none\n\n\n\r\n")
        await writer.drain()
        await self.seen.wait()
        writer.write(b"6\r\ntwo\n\n\n\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        self.ended.set()


def test_the_first_event_passes_before_the_second_is_made(tmp_path):
    """With a buffer in between this would wait for ever; the client's name for the host comes through."""

    async def main() -> tuple[bytes, bytes, bytes]:
        server = Server()
        listening = await asyncio.start_server(server, "127.0.0.1", 0)
        async with listening:
            with nginx(tmp_path, listening.sockets[0].getsockname()[1]) as port:
                reader, writer = await connected(port)
                writer.write(b"GET /v1/x HTTP/1.1\r\nhost: gateway.example.com\r\naccept-encoding: gzip\r\n\r\n")
                async with asyncio.timeout(PATIENCE_S):
                    first = await reader.readuntil(b"one")
                    server.seen.set()
                    second = await reader.readuntil(b"two")
                    await server.ended.wait()
                writer.close()
                await writer.wait_closed()
        return server.heads[0], first, second

    head, first, second = asyncio.run(main())
    assert b"Host: gateway.example.com\r\n" in head
    assert b"HTTP/1.1\r\n" in head
    assert b"two" not in first
    assert b"two" in second


def test_figures_are_not_for_the_world(tmp_path):
    """/metrics is not asked of the gateway."""

    async def main() -> bytes:
        with nginx(tmp_path, free_port()) as port:
            reader, writer = await connected(port)
            writer.write(b"GET /metrics HTTP/1.1\r\nhost: gateway.example.com\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line

    assert b" 404 " in asyncio.run(main())
