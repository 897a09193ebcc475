"""A provider for gateways to stand in front of: answers after a while, streams at a pace, or fails. One process.

    python bench/gateway/provider.py '{"delay_s": 0.05, "chunks": 100, "pace_s": 0.01}'

prints its port. What a request asks for by `"user":"..."` wins over that: `delay=0.2`, `chunks=5`, `pace=0.5`,
`fault=500|429|reset|cut|slow`, `once=1` (the fault is for the first try only), comma-separated.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httptools

sys.path.insert(0, str(Path(__file__).parents[1]))

from zero import CHUNK, HEAD, LAST, WHOLE

_USER = re.compile(rb'"user": ?"([^"]*)"')
_REFUSAL = b'{"error":{"message":"no","type":"server_error","param":null,"code":"overloaded"}}'
_MODELS = b'{"object":"list","data":[{"id":"gpt-5.4-mini","object":"model","created":1,"owned_by":"bench"}]}'
SLOW_S, SEEN_MAX = 2.0, 10_000


def _plain(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (status, more, len(body))
    return head + body


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self, given: dict[str, float], counts: dict[str, int], seen: dict[bytes, None]) -> None:
        self.given = given
        self.counts, self.seen = counts, seen  # of all connections
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.full = False  # of what nobody reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.counts["open"] += 1
        self.parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.counts["open"] -= 1
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.parts: list[bytes] = []

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.body = b"".join(self.parts)
        if self.parser.get_method() == b"GET":
            self.transport.write(_plain(b"200 OK", _MODELS))
            return
        self.counts["asked"] += 1
        asked = self.given
        if found := _USER.search(self.body, 0, 4096):
            said = dict(part.split("=") for part in found[1].decode().split(",") if "=" in part)
            fault = said.pop("fault", "")
            if said.pop("once", ""):
                if self.body in self.seen:
                    fault = ""
                self.seen[self.body] = None
                if len(self.seen) > SEEN_MAX:
                    del self.seen[next(iter(self.seen))]
            asked = asked | {f"{name}_s" if name != "chunks" else name: float(value) for name, value in said.items()}
            if fault and self.fail(fault):
                return
            if fault == "slow":
                asked = asked | {"delay_s": SLOW_S}
        start = self.body[:4096]
        streamed = b'"stream":true' in start or b'"stream": true' in start
        if asked["delay_s"]:
            self.timer = self.loop.call_later(asked["delay_s"], self.answer, asked, streamed)
        else:
            self.answer(asked, streamed)

    def fail(self, fault: str) -> bool:
        if fault == "500":
            self.transport.write(_plain(b"500 Internal Server Error", _REFUSAL))
        elif fault == "429":
            self.transport.write(_plain(b"429 Too Many Requests", _REFUSAL, b"retry-after-ms: 20\r\n"))
        elif fault == "reset":
            self.transport.abort()
        elif fault == "cut":
            self.transport.write(WHOLE[:-20])
            self.transport.close()
        return fault != "slow"

    def answer(self, asked: dict[str, float], streamed: bool) -> None:  # called by a timer
        if not streamed:
            self.transport.write(WHOLE)
            return
        self.transport.write(HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self.chunk(int(asked["chunks"]), asked["pace_s"], self.loop.time())

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def chunk(self, left: int, pace_s: float, due_s: float) -> None:
        if self.full:
            self.timer = self.loop.call_later(0.05, self.chunk, left, pace_s, due_s + 0.05)
            return
        event = CHUNK % (b'{"content":"word "}', b"null") if left else LAST
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event) + (b"" if left else b"0\r\n\r\n"))
        if left:
            due_s += pace_s
            self.timer = self.loop.call_at(due_s, self.chunk, left - 1, pace_s, due_s)


async def serve(given: dict[str, float]) -> None:
    counts, seen = {"open": 0, "asked": 0}, dict[bytes, None]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(given, counts, seen), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def provider(**given: float) -> Iterator[int]:
    """Its port."""
    told: dict[str, Any] = {"delay_s": 0.0, "chunks": 100, "pace_s": 0.0} | given
    child = subprocess.Popen([sys.executable, __file__, json.dumps(told)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve({"delay_s": 0.0, "chunks": 100, "pace_s": 0.0} | json.loads(sys.argv[1])))
