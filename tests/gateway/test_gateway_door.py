"""The data plane behind a served gateway: official SDKs, where calls go, whose key goes with them, what is refused."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import anthropic
import httpx2
import openai
import pytest

from headway import Engine
from headway.errors import ConfigError, ConnectFailed, DeadlineExceeded, Overloaded, ProviderTimeout
from headway.gateway.app import application
from headway.gateway.app.plane import Plane
from headway.gateway.data.answers import failed
from headway.gateway.data.calls import Calls
from headway.gateway.data.guard import is_loopback
from headway.gateway.data.homes import Home
from headway.gateway.limits import Limits
from headway.gateway.request import Request
from headway.gateway.server import listen
from headway.gateway.settings import ServeSettings
from headway.sim import SimSettings, Simulator
from headway.types import Call, Reply, RequestView
from tests.gateway.helpers import JSON, answer, echo, gateway, said, until, within

HELLO = [{"role": "user", "content": "Hello there"}]
SIM = "http://sim.test/v1"


def simulator() -> Simulator:
    return Simulator(SimSettings(latency_scale=0.0, rpm=None, tpm=None))


class Provider:
    """Answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        if call.path.endswith("/models"):
            name = "m-of-" + call.origin.removeprefix("http://")
            return Reply(200, JSON, json.dumps({"object": "list", "data": [{"id": name, "object": "model"}]}).encode())
        body = {
            "id": "1", "object": "chat.completion", "model": call.view.model, "created": 1,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip
        hidden = (("set-cookie", "a=b"), ("openai-organization", "acme"), ("headway-id", "theirs"), ("x-kept", "yes"))
        return Reply(200, (*JSON, *hidden), json.dumps(body).encode())


async def post(url: str, path: str, body: dict, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        return await client.post(
            url + path, json=body, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )


# -- the official SDKs -------------------------------------------------------------------------------------------------


def test_the_openai_sdk_whole_streamed_and_its_files():
    """Chat, Responses, embeddings, models, files, batches; errors become the SDK's own exceptions."""

    async def main():
        sim = simulator()
        async with (
            gateway(sim.handler, base_url=SIM) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as ai,
        ):
            whole = await ai.chat.completions.with_raw_response.create(model="gpt-5.4-mini", messages=HELLO)
            assert whole.parse().choices[0].message.content
            assert whole.headers["headway-attempts"] == "1"
            parts = [
                part
                async for part in await ai.chat.completions.create(model="gpt-5.4-mini", messages=HELLO, stream=True)
            ]
            assert len(parts) > 2
            assert (
                "".join(part.choices[0].delta.content or "" for part in parts)
                == whole.parse().choices[0].message.content
            )
            assert (await ai.responses.create(model="gpt-5.4-mini", input="Hello")).output_text
            events = [
                event.type async for event in await ai.responses.create(model="gpt-5.4-mini", input="a", stream=True)
            ]
            assert events[-1] == "response.completed"
            assert len((await ai.embeddings.create(model="text-embedding-3-small", input=["a", "b"])).data) == 2
            assert "gpt-5.4-mini" in [model.id async for model in ai.models.list()]
            line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
            line["body"] = {"model": "gpt-5.4-mini", "messages": HELLO}
            data = json.dumps(line).encode() + b"\n"
            file = await ai.files.create(file=("x.jsonl", data), purpose="batch")
            assert (await ai.files.content(file.id)).content == data
            batch = await ai.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert (await ai.batches.retrieve(batch.id)).id == batch.id
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                await ai.chat.completions.create(model="nope", messages=HELLO)

    within(main())


def test_the_anthropic_sdk_whole_and_streamed():
    """Messages, its stream, and a refusal in its shape."""

    async def main():
        sim = simulator()
        async with (
            gateway(sim.handler, base_url=SIM) as url,
            anthropic.AsyncAnthropic(base_url=url, api_key="any") as ai,
        ):
            whole = await ai.messages.create(model="claude-sonnet-5", max_tokens=50, messages=HELLO)
            assert whole.content[0].text
            async with ai.messages.stream(model="claude-sonnet-5", max_tokens=50, messages=HELLO) as stream:
                assert "".join([text async for text in stream.text_stream]) == whole.content[0].text
            with pytest.raises(anthropic.BadRequestError, match="headway-cache") as caught:
                await ai.messages.create(
                    model="claude-sonnet-5", max_tokens=50, messages=HELLO, extra_headers={"headway-cache": "perhaps"}
                )
            assert caught.value.body["error"]["type"] == "invalid_request_error"

    within(main())


def test_a_client_that_leaves_a_stream_ends_it_at_the_provider():
    """The simulator's ledger has it as aborted, long before its end."""

    async def main():
        sim = Simulator(SimSettings(latency_scale=0.5, rpm=None, tpm=None))
        async with gateway(sim.handler, base_url=SIM) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as ai:
                text = "Please repeat all of these words. " * 40
                stream = await ai.chat.completions.create(
                    model="gpt-5.4-mini", messages=[{"role": "user", "content": text}], stream=True
                )
                await anext(aiter(stream))
                await stream.close()
            await until(lambda: sim.ledger.totals.attempts)
            assert sim.ledger.totals.aborted == 1

    within(main())


def test_the_cache_answers_through_the_gateway_and_can_be_passed_by():
    """One tenant where there are no keys: clients with different keys of their own share what they ask."""

    async def main():
        provider = Provider()
        async with gateway(provider, base_url=SIM, cache="memory") as url:
            body = {"model": "m", "messages": HELLO, "temperature": 0}
            first = await post(url, "/v1/chat/completions", body, authorization="Bearer one")
            again = await post(url, "/v1/chat/completions", body, authorization="Bearer two")
            past = await post(url, "/v1/chat/completions", body, headway_cache="off")
            assert [one.headers["headway-cache"] for one in (first, again, past)] == ["miss", "memory", "off"]
            assert len(provider.calls) == 2

    within(main())


def test_lists_and_files_are_tried_again_and_what_passes_through_is_not():
    """A GET of a batch is harmless; what nobody here knows is asked once."""

    async def main():
        asked = []

        async def provider(call: Call) -> Reply:
            asked.append(call.path)
            return Reply(503 if len(asked) == 1 else 200, JSON, b"{}")

        async with gateway(provider, base_url=SIM, seed=1) as url, httpx2.AsyncClient() as client:
            got = await client.get(f"{url}/v1/batches/b1")
            assert (got.status_code, got.headers["headway-attempts"]) == (200, "2")
            del asked[:]
            assert (await client.post(f"{url}/v1/audio/speech", content=b"{}")).status_code == 503
            assert asked == ["/v1/audio/speech"]

    within(main())


# -- where it goes, and what goes along --------------------------------------------------------------------------------


def test_the_client_s_credential_stays_here_and_the_gateway_s_own_goes_out():
    """Nor do cookies, account choices, control headers and the way it came leave; nor does the provider's account."""

    async def main():
        provider = Provider()
        async with gateway(provider, base_url="http://up.test/openai/v1") as url:
            got = await post(
                url, "/v1/chat/completions?api-version=1", {"model": "m", "messages": HELLO, "base_url": "http://evil"},
                authorization="Bearer theirs", x_api_key="theirs", api_key="theirs", cookie="a=b",
                openai_organization="theirs", x_forwarded_for="1.2.3.4", headway_tags="run=r1", openai_beta="kept",
                x_api_base="http://evil",
            )  # fmt: skip
            [call] = provider.calls
            assert (call.origin, call.path) == ("http://up.test", "/openai/v1/chat/completions?api-version=1")
            sent = dict(call.headers)
            assert sent["authorization"] == "Bearer sk-own"
            assert sent["openai-beta"] == "kept"
            assert not any("theirs" in value or "evil" in value for value in sent.values())
            assert not {"cookie", "x-forwarded-for", "headway-tags", "host"} & set(sent)
            assert got.headers["x-kept"] == "yes"
            assert not {"set-cookie", "openai-organization"} & set(got.headers)
            assert got.headers.get_list("headway-id") == [got.headers["headway-id"]] != ["theirs"]

    within(main())


CONFIG = """
[[upstream]]
name = "claude"
base_url = "http://claude.test/v1"
key_env = "CLAUDE_API_KEY"
endpoints = ["messages"]

[[upstream]]
name = "small"
base_url = "http://small.test/api/v1"
key_env = "SMALL_API_KEY"
models = { "tiny" = "tiny-7b" }
"""


def test_the_path_and_the_model_choose_among_upstreams(tmp_path, monkeypatch):
    """Each with its own key; models are called what the upstream calls them; the rest is ambiguous unless named."""
    (tmp_path / "h.toml").write_text(CONFIG)
    monkeypatch.setenv("CLAUDE_API_KEY", "sk-claude")
    monkeypatch.setenv("SMALL_API_KEY", "sk-small")

    async def main():
        provider = Provider()
        async with gateway(provider, base_url="http://main.test/v1", config=str(tmp_path / "h.toml")) as url:
            await post(url, "/v1/messages", {"model": "claude-x", "max_tokens": 5, "messages": HELLO})
            await post(url, "/v1/chat/completions", {"model": "tiny", "messages": HELLO})
            await post(url, "/v1/chat/completions", {"model": "other", "messages": HELLO})
            where = [(call.origin, call.path, call.view.model) for call in provider.calls]
            assert where[1:] == [
                ("http://small.test", "/api/v1/chat/completions", "tiny-7b"),
                ("http://main.test", "/v1/chat/completions", "other"),
            ]
            assert b'"model":"tiny-7b"' in provider.calls[1].body.replace(b" ", b"")
            keys = [dict(call.headers) for call in provider.calls]
            assert [key.get("authorization") for key in keys[1:]] == ["Bearer sk-small", "Bearer sk-own"]
            del provider.calls[:]
            assert (await post(url, "/v1/files", {})).json()["error"]["code"] == "ambiguous_upstream"
            assert (await post(url, "/v1/files", {}, headway_upstream="nowhere")).status_code == 400
            assert not provider.calls
            await post(url, "/v1/files", {}, headway_upstream="small")
            assert [call.origin for call in provider.calls] == ["http://small.test"]
            async with httpx2.AsyncClient() as client:
                listed = (await client.get(f"{url}/v1/models")).json()["data"]
                assert [model["id"] for model in listed] == [
                    "m-of-main.test",
                    "m-of-claude.test",
                    "m-of-small.test",
                    "tiny",
                ]
                await client.get(f"{url}/v1/models")
                assert len(provider.calls) == 4
                await client.get(f"{url}/v1/models/m-of-small.test")
                assert provider.calls[-1].origin == "http://small.test"

    within(main())


def test_messages_go_to_the_upstream_that_has_them(tmp_path, monkeypatch):
    """With its key in its own header; the client's version of the API wins over ours."""
    (tmp_path / "h.toml").write_text(CONFIG)
    monkeypatch.setenv("CLAUDE_API_KEY", "sk-claude")
    monkeypatch.setenv("SMALL_API_KEY", "sk-small")

    async def main():
        provider = Provider()
        config = str(tmp_path / "h.toml")
        async with gateway(provider, base_url="https://api.openai.com/v1", config=config) as url:
            await post(url, "/v1/messages/count_tokens", {"model": "x"}, anthropic_version="2099-01-01")
            await post(url, "/v1/messages/count_tokens", {"model": "x"}, headway_upstream="claude")
            assert [call.origin for call in provider.calls] == ["http://claude.test"]

    within(main())


def test_the_end_waits_so_long_and_no_longer():
    """A stream that never ends is cut when the patience is over, and ended at the provider."""

    async def main():
        closed = []

        async def close() -> None:
            closed.append(True)

        async def provider(call: Call) -> Reply:
            async def chunks():
                yield b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
                await asyncio.sleep(3600)

            return Reply(200, (("content-type", "text/event-stream"),), chunks=chunks(), close=close)

        async with gateway(provider, base_url=SIM) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            body = b'{"model":"m","stream":true,"messages":[]}'
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            await reader.readuntil(b'"a"}}]}\n\n')
        assert closed == [True]
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    within(main())


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["//v1/models", "/v1//models", "/%76%31/models", "/v1/%2e%2e/admin", "/v1/../healthz", "/v1/./models", "/v1/a%2fb",
     "/v1/models/", "/v1", "/v1/", "/x/..;/v1/models", "/v1/a\\b", "/V1%2Fmodels", "/v1/" + "a" * 3000],
)  # fmt: skip
def test_odd_paths_are_refused_as_they_are_written(target):
    """Before anybody decodes or normalises them, and without a word to the provider."""

    async def main():
        provider = Provider()
        async with gateway(provider, base_url=SIM) as url:
            got = await said(url, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert got.startswith(b"HTTP/1.1 404 "), got
            assert b'{"error":{"message":"' in got
            assert not provider.calls

    within(main())


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("Host: evil.example", 421),
        ("Host: localhost.evil.example:80", 421),
        ("Host: 10.0.0.1", 421),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nOrigin: null", 403),
        ("Host: localhost\r\nHeadway-Wish: a pony", 400),
        ("Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", 400),
    ],
)
def test_other_names_origins_and_wishes_are_refused(lines, status):
    """Without keys it is this machine's alone, whatever a web page's name leads to."""

    async def main():
        provider = Provider()
        async with gateway(provider, base_url=SIM) as url:
            got = await said(url, f"POST /v1/messages HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n".encode())
            assert got.startswith(f"HTTP/1.1 {status} ".encode()), got
            assert b'{"type":"error","error":{"type":"' in got
            assert not provider.calls

    within(main())


def test_what_is_refused_anyway_need_not_be_sent():
    """A path, a host: known from the head, and answered before the body is asked for."""

    async def main():
        async with gateway(Provider(), base_url=SIM) as url:
            for line, host, status in (
                ("//v1/files", "localhost", 404),
                ("/v1/files", "evil", 421),
                ("/v1/x", "[::1]:1", 100),
            ):
                head = (
                    f"POST {line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 30000000\r\nExpect: 100-continue\r\n\r\n"
                )
                reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
                writer.write(head.encode())
                assert (await reader.readuntil(b"\r\n")).startswith(f"HTTP/1.1 {status} ".encode())
                writer.close()
                await writer.wait_closed()

    within(main())


def test_an_upload_may_be_larger_than_a_question():
    """A batch's file; everything else of that size is too large."""

    async def main():
        provider, data = Provider(), bytes(40 << 20)
        async with gateway(provider, base_url=SIM) as url, httpx2.AsyncClient() as client:
            assert (await client.post(f"{url}/v1/files", content=data)).status_code == 200
            assert len(provider.calls[0].body) == len(data)
            assert (await client.post(f"{url}/v1/responses", content=data)).status_code == 413

    within(main())


def test_a_connection_that_was_handed_on_keeps_its_limits():
    """The application's requests may not drip in either."""

    async def main():
        async with gateway(Provider(), base_url=SIM, limits=Limits(head_s=0.05, head_bytes_max=2000)) as url:
            good = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert (await said(url, good + b"GET /he")).endswith(b"ok\n")
            assert (await said(url, good, b"GET /he")).endswith(b"ok\n")
            many = b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 2000 + b"Host: localhost\r\n\r\n"
            assert b"HTTP/1.1 400 " in await said(url, good, many)

    within(main())


@pytest.mark.parametrize("body", [b"", b"null", b"[" * 200_000, b'{"a":' * 40_000, b"\xff\xfe", b'{"model":1e999}'])
def test_bodies_that_are_no_request_cost_nothing_here(body):
    """JSON bombs and worse are the provider's to refuse: nothing here trips over them."""

    async def main():
        provider = Provider()
        async with gateway(provider, base_url=SIM) as url, httpx2.AsyncClient() as client:
            got = await client.post(f"{url}/v1/chat/completions", content=body)
            assert got.status_code == 200
            assert provider.calls[0].body == body

    within(main())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("full"), 429), (DeadlineExceeded("late"), 504), (ConnectFailed("down"), 502),
        (ProviderTimeout("silent"), 504), (ConfigError("wrong"), 400),
    ],
)  # fmt: skip
def test_failures_have_a_status_and_are_final(error, status):
    """What was tried here need not be tried by the client again."""
    reply = failed("/v1/chat/completions", error)
    assert reply.status == status
    assert ("x-should-retry", "false") in reply.headers


def test_a_provider_that_is_down_is_an_answer():
    """The official SDK raises its own exception, once."""

    async def main():
        calls = 0

        async def down(call: Call) -> Reply:
            nonlocal calls
            calls += 1
            raise ConnectFailed("nobody there")

        async with gateway(down, base_url=SIM, attempts_max=1) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as ai:
                with pytest.raises(openai.InternalServerError, match="nobody there"):
                    await ai.chat.completions.create(model="m", messages=HELLO)
            assert calls == 1

    within(main())


def test_without_keys_nobody_else_is_listened_to():
    """An address that others reach is refused in a sentence."""
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.com"):
        with pytest.raises(ConfigError, match="no keys"):
            listen(ServeSettings(host=host, port=0))
    assert is_loopback("[::1]:80")
    assert is_loopback("127.9.9.9")
    assert not is_loopback("127.0.0.1.evil")


# -- beside the data plane ---------------------------------------------------------------------------------------------


def test_equal_heads_have_the_patience_of_the_engine_that_asks():
    """What is noted of a head outlives a reload; the timeouts that follow from it are the new configuration's."""

    async def main():
        provider, notes, seen = Provider(), {}, []
        for first_byte_s in (50.0, 1.0, 30.0):
            async with Engine(
                handler=provider, log="off", log_level="off", api_key="k", first_byte_timeout_s=first_byte_s
            ) as engine:
                calls = Calls(engine)
                request = Request("POST", "/v1/x", (("x-stainless-read-timeout", "20"),), b"{}", notes)
                home = Home(name="", base_url=SIM)
                call = calls.make(request, "/v1/x", home, calls.sort(request), RequestView(), target="/v1/x")
                seen.append(call.timeouts and call.timeouts.first_byte_s)
        assert seen == [20.0, 1.0, 20.0]
        assert list(notes) == ["sorted"]

    within(main())


def test_health_and_the_data_plane_on_one_connection():
    """A connection that was handed to the application reaches the same door by its route."""

    async def main():
        sim = simulator()
        async with gateway(sim.handler, base_url=SIM) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            for target, found in (
                ("/healthz", b"ok"),
                ("/v1/models", b'"gpt-5.4"'),
                ("/readyz", b'"ready":true'),
                ("/", b"base_url"),
            ):
                writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                status, _, body = await answer(reader)
                assert (status, found in body) == (200, True), target
            writer.close()
            await writer.wait_closed()

    within(main())


def test_the_asgi_route_streams_and_reads_like_the_protocol():
    """For those who mount it elsewhere: the same handle, bodies bounded, streams as they come."""

    async def main():
        async def handle(request: Request) -> Reply:
            if request.body == b"stream":

                async def chunks():
                    yield b"one"
                    yield b"two"

                return Reply(200, JSON, chunks=chunks())
            return await echo(request)

        async def leaves() -> dict:
            return sent.pop(0) if sent else {"type": "http.disconnect"}

        async def waits(request: Request) -> Reply:
            try:
                await asyncio.sleep(3600)
            finally:
                left.append(request.target)
            raise AssertionError

        sent, left = [{"type": "http.request", "body": b"", "more_body": False}], []
        scope = {"type": "http", "method": "GET", "path": "/v1/x", "raw_path": b"/v1/x", "headers": []}
        await Plane(waits)(scope, leaves, None)
        assert left == ["/v1/x"]

        settings = ServeSettings()
        app = application(SimpleNamespace(handle=handle, check=lambda request: None, settings=settings))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
            assert (await client.post("/v1/x%3Ay?a=1", content=b"hi")).content == b"POST /v1/x%3Ay?a=1 hi"
            assert (await client.post("/v1/x", content=b"stream")).content == b"onetwo"
            assert (await client.post("/v1/x", content=bytes(33 << 20))).status_code == 413
            assert (await client.get("/nowhere")).status_code == 404

    within(main())


def test_a_body_of_too_many_objects_is_refused_and_a_text_full_of_braces_is_not():
    """Reading a million small messages would hold everybody else for half a second."""

    async def main() -> None:
        async def provider(call: Call) -> Reply:
            return Reply(200, JSON, b"{}")

        async with gateway(provider, base_url=SIM) as url, httpx2.AsyncClient(base_url=url) as client:
            ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": '{"a": 1}\n{\n' * 40_000}]}
            assert (await client.post("/v1/chat/completions", json=ask)).status_code == 200
            ask["messages"] = [{"role": "user", "content": "x"}] * 50_001
            reply = await client.post("/v1/chat/completions", json=ask)
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "request_too_complex")

    within(main())
