"""What is sent to a gateway by people who mean it no good, as raw bytes, and what it should answer.

Used by the tests (once each, counted) and by `bench/gateway/hostile.py` (over and over, beside a client who means well).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CASES", "EVIL", "MARK", "Case", "asked", "status_of"]

MARK = "sk-MARK-of-a-secret"
"""Stands in the credentials and the queries of all requests: it must not be in any log or answer."""
EVIL = "evil.invalid"
PATIENCE_S = 30.0
CHAT = '{"model":"gpt-4o","messages":[{"role":"user","content":"Write 3 words."}]%s}'


@dataclass(frozen=True)
class Case:
    """One request, and the statuses that are right for it; 0: the connection ends without an answer."""

    name: str
    make: Callable[[str], bytes]
    """Of a credential."""
    right: tuple[int, ...]
    heavy: bool = False
    """Megabytes."""


def head(key: str, *more: str, line: str = "POST /v1/chat/completions HTTP/1.1", host: str = "localhost") -> str:
    names = [line, f"Host: {host}", f"Authorization: Bearer {key}", "Content-Type: application/json", *more]
    return "\r\n".join(names) + "\r\n\r\n"


def asked(key: str, body: str | bytes, **more: str) -> bytes:
    """A call with a body."""
    body = body.encode() if isinstance(body, str) else body
    return head(key, f"Content-Length: {len(body)}", **more).encode() + body


def _framed(*lines: str) -> Callable[[str], bytes]:
    return lambda key: head(key, *lines).encode() + b"5\r\nhello\r\n0\r\n\r\n"


def _path(path: str, host: str = "localhost") -> Callable[[str], bytes]:
    return lambda key: head(key, line=f"GET {path} HTTP/1.1", host=host).encode()


def _body(text: Callable[[], str]) -> Callable[[str], bytes]:
    return lambda key: asked(key, text())


def _chunked(megabytes: int) -> Callable[[str], bytes]:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    return lambda key: head(key, "Transfer-Encoding: chunked").encode() + chunk * megabytes + b"0\r\n\r\n"


def _odd(text: str) -> Callable[[str], bytes]:
    return lambda key: head(key, "Content-Length: 2").replace("Content-Type:", text + "Content-Type:").encode() + b"{}"


CASES = (
    Case("10 MB of headers", lambda key: head(key, *(f"x-{n}: {'y' * 10_000}" for n in range(1_000))).encode(), (431,)),
    Case("one header of 10 MB", lambda key: head(key, "x-y: " + "y" * 10_000_000).encode(), (431,)),
    Case("1,000 headers", lambda key: head(key, *(f"x-{n}: y" for n in range(1_000))).encode(), (431,)),
    Case("a length and chunks", _framed("Content-Length: 5", "Transfer-Encoding: chunked"), (400,)),
    Case("chunks and a length", _framed("Transfer-Encoding: chunked", "Content-Length: 5"), (400,)),
    Case("two lengths", _framed("Content-Length: 5", "Content-Length: 6"), (400,)),
    Case("a length with a sign", _framed("Content-Length: +5"), (400,)),
    Case("chunks of another name", _framed("Transfer-Encoding: xchunked"), (400,)),
    Case("chunks twice", _framed("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), (400,)),
    Case("chunks and more", _framed("Transfer-Encoding: chunked, identity"), (400,)),
    Case("a space before a colon", _odd("x-y : z\r\n"), (400,)),
    Case("a bare LF in the headers", _odd("x-y: z\nevil: yes\r\n"), (400,)),
    Case("a bare CR in the headers", _odd("x-y: z\revil: yes\r\n"), (400,)),
    Case("a folded header", _odd("x-y: z\r\n evil: yes\r\n"), (400,)),
    Case("a NUL in a header", _odd("x-y: z\0\r\n"), (400,)),
    Case("two hosts", _odd(f"Host: {EVIL}\r\n"), (400,)),
    Case("a host with a path", _path("/v1/models", f"{EVIL}/v1@localhost"), (400,)),
    Case("//v1", _path("//v1/models"), (404,)),
    Case("/v1//", _path("/v1//models"), (404,)),
    Case("/v1/..", _path("/v1/../v1/models"), (404,)),
    Case("%2e%2e", _path("/v1/%2e%2e/v1/models"), (404,)),
    Case("%2f", _path("/v1%2fmodels"), (404,)),
    Case("a backslash", _path("/v1\\..\\models"), (404, 400)),
    Case("a semicolon", _path("/;/v1/models"), (404,)),
    Case("a whole address as the target", _path(f"http://{EVIL}/v1/models?key={MARK}"), (400,)),
    Case("an address below /v1", _path(f"/v1/http://{EVIL}/?key={MARK}"), (404,)),
    Case("CONNECT", lambda key: head(key, line=f"CONNECT {EVIL}:443 HTTP/1.1").encode(), (400, 405)),
    Case("HTTP/2 without asking", lambda key: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505)),
    Case("TLS", lambda key: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), (400,)),
    Case("40 MB, announced", lambda key: head(key, f"Content-Length: {40 << 20}").encode(), (413,)),
    Case("a length of 100 digits", lambda key: head(key, f"Content-Length: {'9' * 100}").encode(), (400, 413)),
    Case("40 MB in chunks", _chunked(40), (413,), heavy=True),
    Case("a chunk's size of 100 digits", lambda key: head(key, "Transfer-Encoding: chunked").encode() + b"f" * 100, (400, 413)),
    Case("no JSON", _body(lambda: "hello"), (200, 400)),
    Case("100,000 brackets", _body(lambda: "[" * 100_000), (200, 400)),
    Case("100,000 brackets in a call", _body(lambda: CHAT % (',"x":' + "[" * 100_000 + "]" * 100_000)), (200, 400)),
    Case("100,000 objects in a call", _body(lambda: CHAT % (',"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000)), (200, 400)),
    Case("30 MB of brackets", _body(lambda: "[" * (30 << 20)), (200, 400), heavy=True),
    Case("a number of 1,000,000 digits", _body(lambda: CHAT % (',"max_tokens":' + "9" * 1_000_000)), (200, 400)),
    Case("1e999999", _body(lambda: CHAT % ',"temperature":1e999999,"max_tokens":1e400'), (200, 400)),
    Case("the same field 100,000 times", _body(lambda: CHAT % (',"model":"gpt-4o"' * 100_000)), (200, 400)),
    Case("half of a surrogate", _body(lambda: CHAT % ',"user":"\\ud800"'), (200, 400)),
    Case("a body that is no text", lambda key: asked(key, b'{"model":"\xff\xfe"}'), (200, 400)),
    Case("a model of 1 MB", _body(lambda: f'{{"model":"{"m" * 1_000_000}","messages":[]}}'), (400, 403, 404)),
    Case("30 MB of small messages", _body(lambda: '{"model":"gpt-4o","messages":[' + ",".join(['{"role":"user","content":"x"}'] * 1_000_000) + "]}"), (400,), heavy=True),
    Case("fields that name hosts", _body(lambda: CHAT % (
        f',"api_base":"http://{EVIL}/","base_url":"http://{EVIL}","api_key":"{MARK}","host":"{EVIL}","proxy":"http://{EVIL}"'
    )), (200, 400)),
    Case("headers that name hosts", lambda key: asked(key, CHAT % "").replace(
        b"Content-Type:", f"X-Forwarded-Host: {EVIL}\r\nX-Base-Url: http://{EVIL}\r\nheadway-upstream: http://{EVIL}\r\nContent-Type:".encode()
    ), (400,)),
    Case("a wrong key", lambda key: asked(MARK, CHAT % ""), (401,)),
    Case("a key of the right shape", lambda key: asked(key[:-4] + "AAAA", CHAT % ""), (401,)),
    Case("a key of 60 KB", lambda key: asked("hw-" + "k" * 60_000, CHAT % ""), (401,)),
)  # fmt: skip


async def status_of(port: int, raw: bytes, *, patience_s: float = PATIENCE_S) -> tuple[int, bytes]:
    """Send it, and read one answer: its status (0 for none) and its body; the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)

    async def send() -> None:
        try:
            for at in range(0, len(raw), 1 << 16):
                writer.write(raw[at : at + (1 << 16)])
                await writer.drain()
        except ConnectionError:
            pass  # refused before all of it was sent

    sending = asyncio.ensure_future(send())
    try:
        async with asyncio.timeout(patience_s):
            found = await reader.readuntil(b"\r\n\r\n")
            status = int(found.split(b" ", 2)[1])
            length = next(
                (int(line[16:]) for line in found.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0
            )
            return status, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
