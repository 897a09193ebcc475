"""openai's SDK over Headway over real HTTP: every kind of call against the simulator, and what passes through."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx2
import openai
import pydantic
import pytest

import headway
from headway.sim import SimSettings
from headway.sim.server import serving
from headway.testing import FakeProvider, Step

from .sdk import MODEL, QUIET

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class City(pydantic.BaseModel):
    """What a structured answer is read into."""

    name: str
    country: str


@pytest.fixture(scope="module")
def url():
    """A simulator that answers at once."""
    with serving(SimSettings(latency_scale=0)) as base:
        yield base


def test_every_kind_of_call_async(url):
    """Plain, streamed, tool call, structured, embeddings: as the SDK has them."""

    async def main():
        http = headway.async_client(cache="memory", **QUIET)
        async with openai.AsyncOpenAI(api_key="sk-a", base_url=url, http_client=http) as client:
            ask = {"model": MODEL, "messages": [{"role": "user", "content": "What is the weather in Paris?"}]}
            plain = await client.chat.completions.create(**ask)
            stream = await client.chat.completions.create(**ask, stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            called = await client.chat.completions.create(**ask, tools=TOOLS, tool_choice="required")
            parsed = await client.responses.parse(model=MODEL, input="A city", text_format=City)
            vectors = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
            return plain, text, called, parsed, vectors

    plain, text, called, parsed, vectors = asyncio.run(main())
    assert plain.choices[0].message.content
    assert text
    call = called.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)
    assert isinstance(parsed.output_parsed, City)
    assert len(vectors.data) == 2


def test_every_kind_of_call_sync(url):
    """The same through the background loop."""
    http = headway.client(cache="memory", **QUIET)
    with openai.OpenAI(api_key="sk-b", base_url=url, http_client=http) as client:
        assert client.responses.create(model=MODEL, input="x").output_text
        stream = client.responses.create(model=MODEL, input="x", stream=True)
        kinds = [event.type for event in stream]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        assert isinstance(client.responses.parse(model=MODEL, input="A city", text_format=City).output_parsed, City)
        assert client.embeddings.create(model="text-embedding-3-small", input="a").data


def test_what_no_reader_knows_passes_through(url):
    """The list of models comes from the simulator itself: no header of ours, no row, no cache."""
    with openai.OpenAI(api_key="sk-c", base_url=url, http_client=headway.client(cache="memory", **QUIET)) as client:
        raw = client.models.with_raw_response.list()
    assert raw.parse().data
    assert not [name for name in raw.headers if name.startswith("headway-") or name == "cache-status"]


def test_nobody_listens():
    """A refused connection is an APIConnectionError, as with the bare SDK."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

    async def main():
        http = headway.async_client(attempts_max=1, **QUIET)
        async with openai.AsyncOpenAI(api_key="k", base_url=base, http_client=http, max_retries=0) as client:
            with pytest.raises(openai.APIConnectionError) as caught:
                await client.responses.create(model=MODEL, input="x")
            assert isinstance(caught.value.__cause__, httpx2.ConnectError)

    asyncio.run(main())


# -- passing through, against a server that shows what it got ----------------------------------------------------------


class Mirror(BaseHTTPRequestHandler):
    """Says 503 with the request's headers; the body comes back as it came."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, list(self.headers.items()), body))
        self.send_response(self.server.status)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("x-mine", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        """Moved to /v1/moved, and from there to whatever the server's `away` names."""
        self.server.seen.append((self.path, list(self.headers.items()), b""))
        self.send_response(307)
        self.send_header("location", self.server.away if self.path == "/v1/moved" else "/v1/moved")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def mirror():
    """The mirror's base URL; `.seen` of its server holds what it got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.seen, server.status = [], 503
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("family", ["httpx2", "httpx"])
def test_passing_through_changes_nothing(mirror, family):
    """Status, headers and bytes are the server's; the request's too, but for control headers; one try, no x-should-retry."""
    package = {"httpx2": httpx2, "httpx": httpx}[family]
    data = bytes(range(256)) * 1000
    headers = {"X-Case": "Kept", "headway-cache": "off"}

    async def pieces():
        yield data[:100]
        yield data[100:]

    async def main():
        async with headway.async_client(family=family, **QUIET) as client:
            whole = await client.post(mirror.url + "/files", content=data, headers=headers)
            streamed = await client.post(mirror.url + "/files", content=pieces(), headers=headers)
            return whole, streamed

    answers = asyncio.run(main())
    with headway.client(family=family, **QUIET) as client:
        answers += (client.post(mirror.url + "/files", content=data, headers=headers),)
    with package.Client() as bare:
        bare.post(mirror.url + "/files", content=data, headers={"X-Case": "Kept"})
    for answer in answers:
        assert (answer.status_code, answer.content, answer.headers["x-mine"]) == (503, data, "1")
        assert "x-should-retry" not in answer.headers
        assert "headway-id" not in answer.headers
    assert len(mirror.seen) == 4
    ours, streamed, _, bare = mirror.seen
    assert ours == bare
    assert streamed[2] == data


def test_uploads_pass_through(mirror):
    """files.create: the multipart body arrives whole."""
    mirror.status = 200
    with openai.OpenAI(api_key="k", base_url=mirror.url, http_client=headway.client(**QUIET)) as client:
        client.files.with_raw_response.create(file=("a.jsonl", b'{"x":1}\n'), purpose="batch")
    ((path, headers, body),) = mirror.seen
    assert path == "/v1/files"
    assert dict(headers)["Content-Type"].startswith("multipart/form-data")
    assert b'{"x":1}\n' in body


def test_bodies_too_large_to_read_pass_through(mirror, monkeypatch):
    """A request above the bound is sent by the family's own transport, streamed or whole, to the byte."""
    mirror.status = 200
    monkeypatch.setattr("headway.transport.asynchronous.BODY_BYTES_MAX", 1000)
    monkeypatch.setattr("headway.transport.synchronous.BODY_BYTES_MAX", 1000)
    parts = [b"a" * 600, b"b" * 600, b"c" * 600]

    async def pieces():
        for part in parts:
            yield part

    async def main():
        async with headway.async_client(**QUIET) as client:
            for content in (pieces(), b"".join(parts)):
                answer = await client.post(mirror.url + "/responses", content=content)
                assert answer.content == b"".join(parts)
                assert "headway-id" not in answer.headers

    asyncio.run(main())
    with headway.client(**QUIET) as client:
        for content in (iter(parts), b"".join(parts)):
            assert client.post(mirror.url + "/responses", content=content).content == b"".join(parts)
    assert len(mirror.seen) == 4


def test_no_redirect_takes_the_key_of_what_passes_through_elsewhere(mirror):
    """The clients follow redirects and take out `Authorization` alone: x-api-key and api-key went to another origin."""
    mirror.away = mirror.url.replace("127.0.0.1", "localhost") + "/stolen"
    get = {"url": mirror.url + "/models", "headers": {"x-api-key": "secret", "api-key": "secret"}}

    async def main():
        async with headway.async_client(**QUIET) as client:
            return await client.get(**get)

    answers = [asyncio.run(main())]
    fake = FakeProvider([Step(status=307, headers=(("location", mirror.away),), body=b"")])
    for handler in (None, fake):
        with headway.client(handler=handler, **QUIET) as client:
            answers.append(client.get(**get))
    assert [(answer.status_code, answer.headers.get("location")) for answer in answers] == [(307, None)] * 3
    assert [path for path, _, _ in mirror.seen] == ["/v1/models", "/v1/moved"] * 2
