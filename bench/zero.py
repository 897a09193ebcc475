"""A provider that answers at once, in a process of its own: what is left of a call's time is the client's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import httptools

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5.4-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"card_arrival"},"finish_reason":"stop"}],"usage":{"prompt_tokens":70,'
    b'"completion_tokens":4,"total_tokens":74}}'
)
HEAD = (
    b"HTTP/1.1 200 OK\r\nx-ratelimit-limit-requests: 30000000\r\nx-ratelimit-remaining-requests: 29999000\r\n"
    b"x-ratelimit-reset-requests: 2ms\r\nopenai-processing-ms: 1\r\nx-request-id: req_0123456789\r\n"
)
WHOLE = HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-5.4-mini",'
    b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
)
LAST = CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n"


class Zero(asyncio.Protocol):
    """Answers any request as soon as it is whole; streams chunks, in writes of their own, to those who ask."""

    def __init__(self, chunks: int, answered: list[int]) -> None:
        self.chunks = chunks
        self.answered = answered  # one number, of all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.streamed = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.streamed = self.streamed or b'"stream":true' in body

    def on_message_complete(self) -> None:
        if not self.streamed:
            if self.parser.get_method() == b"GET":
                self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n%012d" % self.answered[0])
                return
            self.answered[0] += 1
            self.transport.write(WHOLE)
            return
        self.streamed = False
        self.transport.write(HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        asyncio.get_running_loop().call_soon(self.send, self.chunks)

    def send(self, left: int) -> None:
        event = CHUNK % (b'{"content":"word "}', b"null") if left else LAST
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event) + (b"" if left else b"0\r\n\r\n"))
        if left:
            asyncio.get_running_loop().call_soon(self.send, left - 1)


async def serve(chunks: int) -> None:
    answered = [0]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Zero(chunks, answered), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def upstream(chunks: int = 400) -> Iterator[str]:
    """Its base URL; streams are of that many chunks."""
    child = subprocess.Popen([sys.executable, __file__, str(chunks)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}/v1"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def answered(url: str) -> int:
    """How many calls it has answered at once, streams left out."""
    with urllib.request.urlopen(url) as answer:
        return int(answer.read())


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
