"""`/stream` of a served gateway: events and text, what is kept and for whom, and whom it costs nothing to refuse."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx2
import pytest
from websockets.asyncio.client import connect

from headway.errors import Closed, ConnectionLost
from headway.gateway.keys import KeyStore
from headway.gateway.limits import Limits
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step
from headway.types import Call, Reply
from tests.gateway.helpers import gateway, said, until, within
from tests.gateway.test_gateway_keys import made

BASE = "http://provider.test/v1"
EVENTS = {"accept": "text/event-stream"}


def events_of(text: str) -> list[tuple[str, dict]]:
    """Names and data of a stream's events; an id alone is none."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        if "data" in lines:
            found.append((lines.get("event", "message"), json.loads(lines["data"])))
    return found


class Numbered:
    """The simulator's answers, each under a request id of its own."""

    def __init__(self) -> None:
        self._simulator = Simulator(SimSettings(latency_scale=0.0, rpm=None, tpm=None))
        self.calls = 0

    async def __call__(self, call: Call) -> Reply:
        self.calls += 1
        reply = await self._simulator.handler(call)
        reply.headers = (
            *(pair for pair in reply.headers if pair[0] != "x-request-id"),
            ("x-request-id", f"r{self.calls}"),
        )
        return reply


@asynccontextmanager
async def served(provider, **how):
    """A gateway with a model of its own, and a client of it."""
    how = {"base_url": BASE, "model": "gpt-5.4-mini"} | how
    async with gateway(provider, **how) as url, httpx2.AsyncClient(base_url=url) as client:
        yield client


def test_an_answer_comes_as_events_with_what_it_took():
    """Pieces, then one last event; the answer is the provider's, in whatever words it was asked."""

    async def main():
        provider = FakeProvider([Step(text="Once upon a time")])
        async with served(provider) as client:
            for api, path in (
                ("chat", "/v1/chat/completions"),
                ("responses", "/v1/responses"),
                ("messages", "/v1/messages"),
            ):
                found = await client.get(
                    "/stream", params={"prompt": "Say it", "system": "Be brief", "api": api, "max_tokens": 50}
                )
                assert found.status_code == 200
                assert found.headers["content-type"] == "text/event-stream; charset=utf-8"
                assert found.headers["cache-control"] == "no-store"
                *pieces, (name, last) = events_of(found.text)
                assert "".join(data["text"] for _, data in pieces) == "Once upon a time"
                assert name == "done"
                assert last["usage"]["output_tokens"] == 2
                assert last["dollars"] > 0
                assert last["cache"] == "off"
                assert 0 <= last["ttft_ms"] <= last["total_ms"]
                assert provider.seen[-1].path == path
                assert provider.seen[-1].view.model == "gpt-5.4-mini"
                assert b"Be brief" in provider.seen[-1].body

    within(main())


def test_text_for_who_wants_text():
    """By `format`, by `Accept`, and for somebody who types the address; long questions come as a body."""

    async def main():
        provider = FakeProvider([Step(text="Twelve words")])
        async with served(provider) as client:
            for how in (
                {"params": {"prompt": "p", "format": "text"}},
                {"params": {"prompt": "p"}, "headers": {"accept": "text/plain"}},
                {"params": {"prompt": "p"}, "headers": {"accept": "text/html,*/*;q=0.8", "sec-fetch-site": "none"}},
            ):
                found = await client.get("/stream", **how)
                assert (found.text, found.headers["content-type"]) == ("Twelve words", "text/plain; charset=utf-8")
            long = {"prompt": "word " * 40_000, "format": "text", "model": "other"}
            assert (await client.post("/stream", json=long)).text == "Twelve words"
            assert provider.seen[-1].view.model == "other"

    within(main())


def test_a_piece_is_there_as_soon_as_it_was_said_and_who_leaves_ends_it():
    """The first word is read while the provider is still speaking; then the client goes, and so does the call."""

    async def main():
        provider = FakeProvider([Step(text="one two three four", chunk_delay_s=0.05), Step(delay_s=60)])
        async with served(provider) as client:
            async with client.stream("GET", "/stream", params={"prompt": "p"}) as reply:
                async for line in reply.aiter_lines():
                    if line.startswith("data:"):
                        break
                assert provider.open == 1
            await until(lambda: provider.open == 0 and provider.aborted == 1)
            asking = asyncio.ensure_future(client.get("/stream", params={"prompt": "q"}))
            await until(lambda: provider.calls == 2)
            asking.cancel()
            await until(lambda: provider.aborted == 2)

    within(main())


def test_what_the_cache_holds_is_kept_by_its_asker_and_304_asks_nobody():
    """A first answer has to be asked about again, a kept one not for as long as it is fresh."""

    async def main():
        provider = Numbered()
        async with served(provider, cache="memory", cache_ttl_s=1000) as client:
            ask = {"prompt": "Name a colour", "max_tokens": 40}
            first = await client.get("/stream", params=ask)
            assert first.headers["cache-control"] == "private, no-cache"
            assert first.headers["vary"] == "Accept, Authorization, Cookie, X-API-Key"
            tag = first.headers["etag"]
            again = await client.get("/stream", params=ask, headers={"if-none-match": f'"other", {tag}'})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert 800 < int(again.headers["cache-control"].removeprefix("private, max-age=")) <= 1200
            hit = await client.get("/stream", params=ask)
            assert hit.headers["etag"] == tag
            assert hit.headers["cache-control"].startswith("private, max-age=")
            assert events_of(hit.text)[-1][1]["cache"] == "memory"
            assert events_of(hit.text)[-1][1]["dollars"] == 0
            assert provider.calls == 1
            for other in ({"prompt": "Name a colour!"}, {"model": "gpt-5.4"}, {"system": "s"}, {"format": "text"}):
                found = await client.get("/stream", params=ask | other, headers={"if-none-match": tag})
                assert (found.status_code, found.headers["etag"] != tag) == (200, True)
            asked = provider.calls
            text = await client.get("/stream", params=ask | {"format": "text"})
            assert text.headers["etag"].startswith('"')
            renewed = await client.get(
                "/stream", params=ask, headers={"headway-cache": "refresh", "if-none-match": tag}
            )
            assert (renewed.status_code, provider.calls) == (200, asked + 1)
            assert renewed.headers["etag"] != tag
            assert (await client.get("/stream", params=ask, headers={"if-none-match": tag})).status_code == 200

    within(main())


def test_a_cut_answer_is_never_said_to_be_unchanged():
    """What the cache did not take is asked for anew, though its asker has its tag."""

    async def main():
        provider = Numbered()
        async with served(provider, cache="memory") as client:
            ask = {"prompt": "Say all of this again: " + "word " * 100, "max_tokens": 16}
            first = await client.get("/stream", params=ask)
            assert events_of(first.text)[-1][1]["cut"] is True
            again = await client.get("/stream", params=ask, headers={"if-none-match": first.headers["etag"]})
            assert again.status_code == 200
            assert provider.calls == 2

    within(main())


def test_keys_hold_and_keep_answers_apart(tmp_path):
    """No key, a wrong model, and another key's tag."""

    async def main():
        keys = tmp_path / "keys"
        one, two = made(keys, "one"), made(keys, "two", models=("gpt-5.4-mini",))
        provider = Numbered()
        async with served(provider, cache="memory", keys=str(keys)) as client:
            ask = {"prompt": "Name a colour"}
            assert (await client.get("/stream", params=ask)).status_code == 401
            assert (await client.post("/stream", json=ask)).status_code == 401
            assert (await client.head("/stream", params=ask)).status_code == 401
            first = await client.get("/stream", params=ask, headers={"authorization": f"Bearer {one}"})
            theirs = {"authorization": f"Bearer {two}", "if-none-match": first.headers["etag"]}
            other = await client.get("/stream", params=ask, headers=theirs)
            assert (other.status_code, provider.calls) == (200, 2)
            assert other.headers["etag"] != first.headers["etag"]
            wrong = await client.get("/stream", params=ask | {"model": "gpt-5.4"}, headers=theirs)
            assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "model_not_allowed")
            event = await client.get("/stream", params=ask, headers=EVENTS)
            assert (event.status_code, event.headers["cache-control"]) == (200, "no-store")
            assert [(name, data["status"]) for name, data in events_of(event.text)] == [("error", 401)]

    within(main())


def test_a_signed_in_browser_needs_no_header(tmp_path):
    """Its cookie is enough for this gateway's own pages, for no other, and no longer than its key."""

    async def main():
        keys = tmp_path / "keys"
        key = made(keys, "boss", admin=True)
        provider = FakeProvider()
        async with served(provider, keys=str(keys)) as client:
            own = {"origin": f"http://{client.base_url.netloc.decode()}", "sec-fetch-site": "same-origin"}
            assert (await client.post("/api/session", json={"key": key}, headers=own)).status_code == 200
            ask = {"params": {"prompt": "p"}}
            assert (await client.get("/stream", **ask, headers=own)).status_code == 200
            assert (await client.get("/stream", **ask, headers={"sec-fetch-site": "none"})).status_code == 200
            assert (await client.get("/stream", **ask)).status_code == 403
            assert (await client.get("/stream", **ask, headers={"sec-fetch-site": "same-site"})).status_code == 403
            headers = own | {"cookie": f"headway_session={client.cookies['headway_session']}"}
            async with connect(f"ws://{client.base_url.netloc.decode()}/chat", additional_headers=headers) as socket:
                await socket.send('{"type": "say", "text": "a"}')
                assert json.loads(await socket.recv())["type"] == "token"
            assert (await client.get("/v1/models", headers=own)).status_code == 401  # a cookie is none of /v1's
            with KeyStore(keys) as store:
                store.revoke(store.known().secrets[key[3:15]].key)
            while (await client.get("/stream", **ask, headers=own)).status_code == 200:  # within a second
                pass
            assert (await client.get("/stream", **ask, headers=own)).status_code == 401

    within(main())


def test_nothing_is_spent_unasked():
    """HEAD, what is fetched ahead, another origin's page, an EventSource that comes back, and forms."""

    async def main():
        provider = FakeProvider()
        async with served(provider) as client:
            host = client.base_url.netloc.decode()
            ask = {"prompt": "p"}
            head = await client.head("/stream", params=ask)
            assert (head.status_code, head.content) == (200, b"")
            for status, headers in (
                (503, {"sec-purpose": "prefetch;prerender"}),
                (503, {"purpose": "prefetch"}),
                (503, {"x-moz": "prefetch"}),
                (403, {"sec-fetch-site": "cross-site"}),
                (403, {"sec-fetch-site": "same-site", "accept": "text/event-stream"}),
                (403, {"origin": "http://evil.test"}),
                (403, {"origin": "null"}),
                (403, {"origin": f"http://{host}.evil.test", "sec-fetch-site": "same-origin"}),
                (403, {"referer": "http://evil.test/page"}),
                (403, {"referer": f"http://{host}.evil.test/", "accept": "image/*"}),
                (403, {"referer": "http://["}),
                (403, {"cookie": "headway_session=1"}),
                (403, {"cookie": "headway_session=1", "referer": "http://evil.test/"}),
                (204, {"last-event-id": "x", "accept": "text/event-stream"}),
                (421, {"host": "evil.test"}),
            ):
                assert (await client.get("/stream", params=ask, headers=headers)).status_code == status, headers
                assert (await client.post("/stream", json=ask, headers=headers)).status_code == status, headers
            form = {"content-type": "text/plain"}
            assert (await client.post("/stream", content=b'{"prompt": "p"}', headers=form)).status_code == 415
            assert provider.calls == 0
            own = {"origin": f"http://{host}", "sec-fetch-site": "same-origin"}
            assert (await client.get("/stream", params=ask, headers=own)).status_code == 200
            ours = {"referer": f"http://{host}/try"}
            assert (await client.get("/stream", params=ask, headers=ours)).status_code == 200

    within(main())


@pytest.mark.parametrize(
    ("query", "said_"),
    [
        ("", "there is nothing to answer"),
        ("prompt=", "there is nothing to answer"),
        ("prompt=a&prompt=b", "says something twice"),
        ("prompt=a&max_tokens=many", "max_tokens must be a whole number"),
        ("prompt=a&max_tokens=0", "must be at least 1"),
        ("prompt=a&api=soap", "api must be one of responses, chat, messages"),
        ("prompt=a&format=xml", "format must be sse or text"),
        ("prompt=a&maxtokens=1", "the address has 'maxtokens', which is no parameter of this door; it takes prompt, "),
        ("prompt=%ff", "not understood"),
        ("&".join(f"a{n}=1" for n in range(40)), "not understood"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(query, said_):
    """400, and nothing reaches the provider."""

    async def main():
        provider = FakeProvider()
        async with served(provider) as client:
            found = await client.get(f"/stream?{query}")
            assert found.status_code == 400
            assert said_ in found.json()["error"]["message"]
            assert provider.calls == 0

    within(main())


def test_bodies_that_are_none():
    """JSON that is none, of another shape, or too much of it."""

    async def main():
        async with served(FakeProvider(), limits=Limits(body_bytes_max=2_000_000)) as client:
            for status, body, told in (
                (400, b"{", "the body is no JSON"),
                (400, b"[]", "must be an object"),
                (400, b'{"prompt": 1}', "prompt must be a text"),
                (400, b'{"prompt": "a", "max_tokens": "5"}', "max_tokens must be a whole number"),
                (400, b'{"prompt": "a", "temperature": 1}', "'temperature', which is no parameter of this door"),
                (400, b"\xff", "the body is no JSON"),
                (413, b" " * 2_000_001, "larger than"),
            ):
                found = await client.post("/stream", content=body, headers={"content-type": "application/json"})
                assert found.status_code == status
                assert told in found.json()["error"]["message"]
                assert "Expected" not in found.text
                assert "$" not in found.text

    within(main())


def test_the_model_is_the_named_one_the_gateways_or_the_first_listed(tmp_path, monkeypatch):
    """And a sentence where there is none."""

    async def main():
        provider = FakeProvider()
        async with served(provider, model="") as client:
            found = await client.get("/stream?prompt=p")
            assert (found.status_code, found.json()["error"]["code"]) == (400, "no_model")
        config = tmp_path / "h.toml"
        config.write_text(
            '[[upstream]]\nname = "a"\nbase_url = "http://a.test/v1"\nmodels = ["m1", "m2"]\nendpoints = ["responses"]\n'
        )
        async with served(provider, model="", config=str(config)) as client:
            assert (await client.get("/stream?prompt=p")).status_code == 200
            assert (provider.seen[-1].view.model, provider.seen[-1].path) == ("m1", "/v1/responses")

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    within(main())


def test_a_stream_that_breaks_says_so():
    """As an event, or, where text has no word for it, by a connection that breaks off."""

    async def main():
        chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'
        broken = Step(chunks=(chunk,), error=ConnectionLost("the provider hung up"))
        provider = FakeProvider([broken])
        async with served(provider) as client:
            found = await client.get("/stream?prompt=p")
            (_, piece), (name, data) = events_of(found.text)
            assert piece == {"text": "Half"}
            assert (name, data["code"]) == ("error", "connection_lost")
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get("/stream?prompt=p&format=text")
            provider._script = [Step(chunks=(chunk,), error=Closed("the engine was closed; open a new one"))]
            found = await client.get("/stream?prompt=p")
            _, (name, data) = events_of(found.text)
            assert (name, data["code"], data["status"]) == ("error", "closed", 503)
            assert "the gateway ended" in data["message"]
            assert "engine" not in data["message"]
            provider._script = [Step(status=401)]
            refused = await client.get("/stream?prompt=p")
            assert refused.status_code == 502  # the gateway's own key was refused, not the asker's
            assert refused.json()["error"]["message"]

    within(main())


def test_a_reader_that_takes_nothing_is_dropped():
    """His provider is held back meanwhile, and then let go."""

    async def main():
        provider = FakeProvider([Step(text=" ".join(["x" * 50_000] * 200))])
        async with gateway(provider, base_url=BASE, model="m", limits=Limits(write_s=0.2)) as url:
            host, _, port = url.removeprefix("http://").rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1)
            writer.write(b"GET /stream?prompt=p HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: provider.open == 1)
            await until(lambda: provider.open == 0)
            writer.close()
            await said(url, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    within(main())
