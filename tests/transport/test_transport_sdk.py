"""openai's SDK over Headway and a scripted provider: what goes in, what comes out, what each header does."""

from __future__ import annotations

import asyncio
import gc
import sys

import httpx
import httpx2
import openai
import pytest

import headway
from headway import ProviderTimeout
from headway.testing import FakeProvider, Step, virtual_run

from .sdk import CHAT, HOME, MODEL, QUIET, async_openai, names, sync_openai


def test_a_plain_call_answers():
    """The answer is the provider's, the request went to the SDK's own origin with its own credential."""
    provider = FakeProvider([Step(text="four")])

    async def main():
        async with async_openai(provider) as client:
            reply = await client.responses.create(model=MODEL, input="2 + 2?")
            assert reply.output_text == "four"

    virtual_run(main)
    (call,) = provider.seen
    assert (call.method, call.origin, call.path) == ("POST", "https://provider.test", "/v1/responses")
    assert ("authorization", "Bearer sk-a") in call.headers


def test_a_sync_call_answers():
    """The sync client gives the same, through the background loop."""
    provider = FakeProvider([Step(text="four")])
    with sync_openai(provider) as client:
        assert client.responses.create(model=MODEL, input="2 + 2?").output_text == "four"
    assert provider.calls == 1


@pytest.mark.parametrize("path", ["responses", "chat"])
def test_a_stream_arrives_event_by_event(path):
    """Each event of the stream reaches the SDK, in order; the text is whole."""
    provider = FakeProvider([Step(text="one two three")])

    async def main():
        async with async_openai(provider) as client:
            if path == "chat":
                stream = await client.chat.completions.create(**CHAT, stream=True)
                return [c.choices[0].delta.content async for c in stream if c.choices and c.choices[0].delta.content]
            stream = await client.responses.create(model=MODEL, input="count", stream=True)
            return [e.delta async for e in stream if e.type == "response.output_text.delta"]

    assert virtual_run(main) == ["one ", "two ", "three"]
    assert provider.open == 0


def test_a_sync_stream_arrives_whole():
    """What crosses the thread boundary in batches is the stream, to the byte."""
    chunks = (*(b'data: {"n":%d}\n\n' % n for n in range(2000)), b"data: [DONE]\n\n")
    provider = FakeProvider([Step(chunks=chunks)])
    post = {"method": "POST", "url": HOME + "/chat/completions", "json": CHAT | {"stream": True}}
    with headway.client(handler=provider, **QUIET) as client, client.stream(**post) as response:
        got = b"".join(response.iter_raw())
    # A usage event was asked for by the engine; this provider sends none.
    assert got == b"".join(chunks)


def test_a_slow_sync_reader_holds_the_provider_back():
    """At most a window of a stream waits in the bridge; the rest stays with the provider until it is read."""
    pieces = (b"data: " + b"x" * 60_000 + b"\n\n",) * 100 + (b"data: [DONE]\n\n",)
    provider = FakeProvider([Step(chunks=pieces)])
    post = {"method": "POST", "url": HOME + "/chat/completions", "json": CHAT | {"stream": True}}
    with headway.client(handler=provider, **QUIET) as client, client.stream(**post) as response:
        parts = response.iter_raw()
        first = next(parts)
        assert len(first) < len(b"".join(pieces)) / 4
        assert provider.open == 1
        assert first + b"".join(parts) == b"".join(pieces)


def test_the_second_call_is_a_hit_and_says_so():
    """With the cache on, response headers tell what happened: miss, then hit, with Age and no attempt."""
    provider = FakeProvider()

    async def main():
        async with async_openai(provider, cache="memory") as client:
            create = client.responses.with_raw_response.create
            return [(await create(model=MODEL, input="x")).headers for _ in range(2)]

    miss, hit = virtual_run(main)
    assert provider.calls == 1
    assert (miss["headway-cache"], miss["headway-attempts"]) == ("miss", "1")
    assert float(miss["headway-cost"]) > 0
    assert (hit["headway-cache"], hit["headway-attempts"], hit["headway-cost"]) == ("memory", "0", "0")
    assert "hit" in hit["cache-status"]
    assert hit["age"] == "0"
    assert len({miss["headway-id"], hit["headway-id"]}) == 2


def test_control_headers_steer_and_never_reach_the_provider():
    """cache, priority, deadline, sample, namespace and tags are obeyed, and taken out."""
    provider = FakeProvider()
    control = {
        "headway-cache": "refresh",
        "Headway-Priority": "high",
        "headway-deadline": "7.5",
        "headway-sample": "2",
        "headway-namespace": "drafts",
        "headway-tags": "run=r1,step=s2",
    }

    async def main():
        async with async_openai(provider, cache="memory", caches={"drafts": {}}) as client:
            for _ in range(2):
                await client.responses.create(model=MODEL, input="x", extra_headers=control)

    virtual_run(main)
    assert provider.calls == 2
    call = provider.seen[0]
    assert not [name for name, _ in call.headers if name.startswith("headway-")]
    assert (call.cache_mode, call.priority, call.sample, call.namespace) == ("refresh", 1, "2", "drafts")
    assert (call.tags.run, call.tags.step) == ("r1", "s2")
    assert 7 < call.deadline_at_s - call.trace.started_at_s <= 7.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headway-cache", "maybe"),
        ("headway-priority", "1.5"),
        ("headway-deadline", "soon"),
        ("headway-deadline", "-1"),
        ("headway-namespace", "a b"),
        ("headway-tags", "colour=red"),
        ("headway-cach", "off"),
    ],
)
def test_a_malformed_control_header_is_answered_here(name, value):
    """400 in the providers' own shape, named, final, and nothing is sent."""
    provider = FakeProvider()

    async def main():
        async with async_openai(provider) as client:
            with pytest.raises(openai.BadRequestError, match=name) as caught:
                await client.responses.create(model=MODEL, input="x", extra_headers={name: value})
            return caught.value

    error = virtual_run(main)
    assert provider.calls == 0
    assert error.type == "headway_error"
    assert error.response.headers["x-should-retry"] == "false"


def test_best_of_n_with_samples_is_not_collapsed():
    """Equal requests share one flight; with a sample each they do not."""
    provider = FakeProvider([Step(delay_s=1)])

    async def main():
        async with async_openai(provider, cache="memory") as client:

            async def ask(sample):
                headers = {"headway-sample": sample} if sample else {}
                await client.responses.create(model=MODEL, input="x", temperature=1, extra_headers=headers)

            await asyncio.gather(*[ask("") for _ in range(5)])
            shared = provider.calls
            await asyncio.gather(*[ask(str(n)) for n in range(5)])
            return shared, provider.calls - shared

    assert virtual_run(main) == (1, 5)


def test_namespaces_do_not_share_answers():
    """The same request in two named caches is fetched twice; a name that is not set up is refused, nothing sent."""
    provider = FakeProvider()

    async def main():
        async with async_openai(provider, cache="memory", caches={"a": {}, "b": {}}) as client:
            for namespace in ("a", "b", "a"):
                headers = {"headway-namespace": namespace}
                await client.responses.create(model=MODEL, input="x", extra_headers=headers)
            with pytest.raises(openai.BadRequestError, match="'c'"):
                await client.responses.create(model=MODEL, input="x", extra_headers={"headway-namespace": "c"})

    virtual_run(main)
    assert provider.calls == 2


def test_leaving_a_stream_ends_it_at_the_provider():
    """Closing the SDK's stream half-way leaves the flight, and the provider's stream is closed."""
    provider = FakeProvider([Step(text="a b c d e f", chunk_delay_s=1)])

    async def main():
        async with async_openai(provider) as client:
            stream = await client.responses.create(model=MODEL, input="x", stream=True)
            async for event in stream:
                if event.type == "response.output_text.delta":
                    break
            await stream.close()
            await asyncio.sleep(0.1)
            return provider.open, provider.aborted

    assert virtual_run(main) == (0, 1)


def test_losing_a_stream_ends_it_at_the_provider():
    """A response that is dropped without being closed is ended as well, not left to its deadline."""
    provider = FakeProvider([Step(text="a b c d e f", chunk_delay_s=1)])

    async def main():
        async with headway.async_client(handler=provider, **QUIET) as client:
            body = {"model": MODEL, "input": "x", "stream": True}
            response = await client.send(client.build_request("POST", HOME + "/responses", json=body), stream=True)
            assert provider.open == 1
            del response
            gc.collect()
            await asyncio.sleep(0.1)
            return provider.open

    assert virtual_run(main) == 0


def test_cancelling_a_call_ends_it_at_the_provider():
    """A task that is cancelled while it waits for an answer takes the attempt with it."""
    provider = FakeProvider([Step(delay_s=100)])

    async def main():
        async with async_openai(provider) as client:
            task = asyncio.create_task(client.responses.create(model=MODEL, input="x"))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.1)

    virtual_run(main)
    assert provider.aborted == 1


def test_a_streamed_request_body_is_read():
    """A body that comes in pieces is put together: the reader sees it, the provider gets it."""
    provider = FakeProvider()

    async def pieces():
        yield b'{"model":"gpt-5.4-mini",'
        yield b'"input":"x"}'

    async def main():
        async with headway.async_client(handler=provider, **QUIET) as client:
            await client.post(HOME + "/responses", content=pieces())

    virtual_run(main)
    assert provider.seen[0].body == b'{"model":"gpt-5.4-mini","input":"x"}'
    assert provider.seen[0].view.model == MODEL


@pytest.mark.parametrize(("family", "package"), [("httpx2", httpx2), ("httpx", httpx)])
def test_both_families_async_and_sync(family, package):
    """Clients, answers and streams are the family's own, whole and streamed."""
    provider = FakeProvider([Step(text="a b")])
    url, body = HOME + "/responses", {"model": MODEL, "input": "x"}

    async def main():
        async with headway.async_client(family=family, handler=provider, **QUIET) as client:
            assert isinstance(client, package.AsyncClient)
            whole = await client.post(url, json=body)
            async with client.stream("POST", url, json=body | {"stream": True}) as streamed:
                return whole, b"".join([chunk async for chunk in streamed.aiter_raw()])

    whole, streamed = virtual_run(main)
    with headway.client(family=family, handler=provider, **QUIET) as client:
        assert isinstance(client, package.Client)
        again = client.post(url, json=body)
        with client.stream("POST", url, json=body | {"stream": True}) as response:
            assert b"".join(response.iter_raw()) == streamed
    assert isinstance(whole, package.Response)
    assert whole.content == again.content
    assert {"headway-id", "headway-cache", "headway-attempts", "headway-wait-ms"} <= names(whole)
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert streamed.count(b'"delta":') == 2


def test_whole_answers_can_be_read_raw():
    """A plain client that streams a whole answer gets it, as from any transport."""
    with headway.client(handler=FakeProvider(), **QUIET) as client:
        with client.stream("POST", HOME + "/responses", json={"model": MODEL, "input": "x"}) as response:
            assert b"resp_1" in b"".join(response.iter_raw())
        assert response.elapsed is not None


def test_a_handler_stands_in_for_the_network_altogether():
    """With `handler=`, what no reader knows goes to it as well, not to the network; async and sync."""
    models = Step(body=b'{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"x"}]}')
    provider = FakeProvider([models])

    async def main():
        async with async_openai(provider) as client:
            return await client.models.list()

    assert virtual_run(main).data[0].id == "m"
    with sync_openai(provider) as client:
        assert client.models.list().data[0].id == "m"
    assert {(call.method, call.path) for call in provider.seen} == {("GET", "/v1/models")}


def test_groq_takes_the_older_family():
    """Groq's SDK runs on httpx 0.28: plain and streamed."""
    groq = pytest.importorskip("groq")
    provider = FakeProvider([Step(text="fast answer")])
    with groq.Groq(api_key="k", http_client=headway.client(family="httpx", handler=provider, **QUIET)) as client:
        reply = client.chat.completions.create(**CHAT)
        assert reply.choices[0].message.content == "fast answer"
        stream = client.chat.completions.create(**CHAT, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == "fast answer"
    assert provider.seen[0].path == "/openai/v1/chat/completions"


def test_transports_fit_clients_that_people_build_themselves():
    """`AsyncTransport` and `Transport` are transports like any other, beside the client's own settings."""
    provider = FakeProvider()
    body = {"model": MODEL, "input": "x"}

    async def main():
        transport = headway.AsyncTransport(handler=provider, **QUIET)
        async with httpx2.AsyncClient(transport=transport, base_url=HOME, timeout=None, headers={"x-a": "1"}) as client:
            return (await client.post("/responses", json=body)).status_code

    assert virtual_run(main) == 200
    with httpx2.Client(transport=headway.Transport(handler=provider, **QUIET), base_url=HOME, timeout=None) as client:
        assert client.post("/responses", json=body).status_code == 200
    assert ("x-a", "1") in provider.seen[0].headers


def test_an_engine_may_be_shared_explicitly():
    """`engine=` uses that engine, and leaves it open."""
    provider = FakeProvider()

    async def main():
        async with headway.Engine(handler=provider, **QUIET) as engine:
            for _ in range(2):
                async with headway.async_client(engine=engine) as http:
                    client = openai.AsyncOpenAI(api_key="k", base_url=HOME, http_client=http)
                    client._platform = "Linux"
                    await client.responses.create(model=MODEL, input="x")
            return engine.snapshot()["attempts"]

    assert virtual_run(main) == 2
    with headway.SyncEngine(handler=provider, **QUIET) as engine, headway.client(engine=engine) as http:
        openai.OpenAI(api_key="k", base_url=HOME, http_client=http).responses.create(model=MODEL, input="x")
        assert engine.snapshot()["attempts"] == 1


def test_wrong_arguments_are_told_at_once():
    """A wrong setting, an unknown family, an engine and settings at once: a ConfigError where the client is made."""
    with pytest.raises(headway.ConfigError, match="cache_ttl"):
        headway.async_client(cache_tll_s=3)
    with pytest.raises(headway.ConfigError, match="httpx2"):
        headway.client(family="requests")
    with pytest.raises(headway.ConfigError, match="not both"):
        headway.async_client(engine=headway.Engine(handler=FakeProvider(), **QUIET), cache=True)
    with pytest.raises(headway.ConfigError, match="SyncEngine"):
        headway.client(engine=headway.Engine(handler=FakeProvider(), **QUIET))


def test_the_callers_read_timeout_bounds_silence():
    """It becomes first byte, first event and idle; without one the engine's own hold."""
    provider = FakeProvider()

    async def main():
        async with async_openai(provider, idle_timeout_s=33) as client:
            await client.responses.create(model=MODEL, input="x")
            await client.responses.create(model=MODEL, input="x", timeout=openai.Timeout(9, connect=2))

    virtual_run(main)
    unset, given = [call.timeouts for call in provider.seen]
    assert unset is None
    assert (given.connect_s, given.first_byte_s, given.first_event_s, given.idle_s) == (2, 9, 9, 9)


def test_a_redirect_takes_no_credential_to_another_origin():
    """A model call that is redirected elsewhere is answered as it is; within its origin it may be followed."""
    away = Step(status=307, headers=(("location", "https://elsewhere.test/v1/responses"),), body=b"{}")
    sly = Step(status=307, headers=(("location", "//elsewhere.test/v1/responses"),), body=b"{}")
    home = Step(status=307, headers=(("location", "/v2/responses"),), body=b"{}")
    provider = FakeProvider([away, sly, home, 200])

    async def main():
        async with headway.async_client(handler=provider, attempts_max=1, **QUIET) as client:
            post = {"json": {"model": MODEL, "input": "x"}, "headers": {"x-api-key": "secret"}}
            return [(await client.post(HOME + "/responses", **post)).status_code for _ in range(3)]

    assert virtual_run(main) == [307, 307, 200]
    assert {call.origin for call in provider.seen} == {"https://provider.test"}


def test_who_waits_longer_does_not_die_of_anothers_timeout():
    """Identical calls used to share the read timeout of the first one; now only those of one patience share a flight."""
    fake = FakeProvider([Step(text="late")])

    async def provider(call):
        if call.timeouts.first_byte_s < 1:
            await asyncio.sleep(call.timeouts.first_byte_s)
            raise ProviderTimeout("silent")
        await asyncio.sleep(1)
        return await fake(call)

    async def main():
        async with async_openai(provider, cache="memory", attempts_max=1, max_retries=0) as client:
            timeouts_s = (0.5, 30, 30, 0.5)
            asked = [client.responses.create(model=MODEL, input="x", timeout=each_s) for each_s in timeouts_s]
            return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third, fourth = virtual_run(main)
    assert (second.output_text, third.output_text) == ("late", "late")
    assert [type(error) for error in (first, fourth)] == [openai.APITimeoutError] * 2
    assert fake.calls == 1


@pytest.mark.parametrize("path", ["/responses", "/models"])
def test_a_socks_proxy_without_its_package_is_told_in_a_sentence(monkeypatch, path):
    """It used to be an ImportError out of the HTTP client, for each call."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hidden@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setitem(sys.modules, "socksio", None)

    async def main():
        async with headway.async_client(**QUIET) as client:
            return await client.request("POST" if path == "/responses" else "GET", HOME + path, content=b"{}")

    answers = [asyncio.run(main())]
    with headway.client(**QUIET) as client:
        answers.append(client.request("POST" if path == "/responses" else "GET", HOME + path, content=b"{}"))
    for answer in answers:
        assert answer.status_code == 400
        said = answer.json()["error"]["message"]
        assert "install socksio, or unset ALL_PROXY" in said
        assert "hidden" not in said
