"""`/v1/realtime` of a served gateway, between clients that others keep and an upstream that plays the API's events."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headway.gateway.keys import KeyStore
from headway.gateway.limits import DoorLimits
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider
from headway.wire.realtime import Took, dollars_of
from tests.gateway.helpers import gateway, until, within
from tests.gateway.test_gateway_keys import made

MODEL = "gpt-realtime"
USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {
        "text_tokens": 40, "audio_tokens": 60, "cached_tokens": 30,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 20},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}  # fmt: skip
COST = dollars_of(
    MODEL, "", Took(input_tokens=100, output_tokens=50, cached=30, input_audio=60, cached_audio=20, output_audio=40)
)

ASIDE = dollars_of(MODEL, "", Took(output_tokens=4096))


class Upstream:
    """Plays a session: a response for each `response.create`; keeps what it was told."""

    def __init__(self) -> None:
        self.heads: list = []
        self.frames: list = []
        self.closed: list[int | None] = []
        self.open = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self._count = 0

    async def __call__(self, socket) -> None:
        self.heads.append(socket.request)
        self.open += 1
        await self._say(
            socket,
            type="session.created",
            session={"id": "s", "model": MODEL, "type": "realtime", "object": "realtime.session"},
        )
        try:
            async for frame in socket:
                self.frames.append(frame)
                if isinstance(frame, bytes):
                    await socket.send(frame[::-1])
                    continue
                await self._answer(socket, json.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1
            self.closed.append(socket.close_code)

    async def _say(self, socket, **event) -> None:
        await socket.send(json.dumps({"event_id": "e", **event}))

    async def _answer(self, socket, event) -> None:
        kind = event.get("type")
        if kind == "response.create":
            if (event.get("response") or {}).get("instructions") == "fail":
                error = {
                    "type": "invalid_request_error",
                    "code": "invalid_value",
                    "message": "no",
                    "event_id": event.get("event_id"),
                }
                await self._say(socket, type="error", error=error)
                return
            await self._respond(socket)
        elif kind == "input_audio_buffer.commit":
            await self._respond(socket)  # as the provider's own ear for the end of a turn does
        elif kind == "close":
            await socket.close(event["code"], event["reason"])
        elif kind == "flood":
            for _ in range(event["count"]):
                await self._say(socket, type="response.output_audio.delta", response_id="none", delta="x" * 100_000)

    async def _respond(self, socket) -> None:
        self._count += 1
        id_ = f"resp_{self._count}"
        about = {"response_id": id_, "item_id": "i", "output_index": 0, "content_index": 0}
        base = {"id": id_, "object": "realtime.response", "output": []}
        await self._say(socket, type="response.created", response=base | {"status": "in_progress"})
        for text in ("Hel", "lo"):
            await self._say(socket, type="response.output_text.delta", delta=text, **about)
        waiting = [asyncio.ensure_future(self.hold.wait()), asyncio.ensure_future(socket.wait_closed())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        if not self.hold.is_set():
            return
        await self._say(socket, type="response.done", response=base | {"status": "completed", "usage": USAGE})


@asynccontextmanager
async def relayed(upstream, **how):
    """A gateway in front of it; gives the gateway's URL."""
    async with serve(upstream, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        how = {"base_url": f"http://127.0.0.1:{port}/v1"} | how
        async with gateway(FakeProvider(), **how) as url:
            yield url


def at(url: str, query: str = f"?model={MODEL}") -> str:
    return url.replace("http", "ws") + "/v1/realtime" + query


async def events(socket, last: str = "response.done") -> list[dict]:
    found = []
    while not found or found[-1]["type"] != last:
        found.append(json.loads(await socket.recv()))
    return found


async def create(socket, **more) -> None:
    await socket.send(json.dumps({"type": "response.create", **more}))


def rows(path):
    """Calls, each with its one try."""
    with CallLogReader(path) as reader:
        tries = {row.flight_id: row for row in reader.attempts()}
        return [(row, tries[row.flight_id]) for row in reader.calls()]


def test_the_openai_sdk_talks_through_it(tmp_path):
    """The official client, a text answer, and the row of it with its first word, tokens and dollars."""
    log = tmp_path / "calls.sqlite"

    async def main():
        upstream = Upstream()
        async with relayed(upstream, log=str(log)) as url:
            async with (
                openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="anything") as client,
                client.realtime.connect(model=MODEL) as connection,
            ):
                await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
                for _ in range(2):
                    await connection.response.create()
                    text = ""
                    async for event in connection:
                        if event.type == "response.output_text.delta":
                            text += event.delta
                        elif event.type == "response.done":
                            assert event.response.usage.output_tokens == 50
                            break
                    assert text == "Hello"
            await until(lambda: upstream.closed == [1000])
            head = upstream.heads[0]
            assert head.path == f"/v1/realtime?model={MODEL}"
            assert head.headers["authorization"] == "Bearer sk-own"
            assert "anything" not in str(head.headers)
        found = rows(log)
        assert len(found) == 2
        for row in (one for pair in found for one in pair):
            assert (row.outcome, row.finish, row.model, row.path, row.status) == (
                "ok",
                "completed",
                MODEL,
                "/v1/realtime",
                200,
            )
            assert row.dollars == pytest.approx(COST)
            assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (100, 30, 50)
            assert row.stream
        for call, _ in found:
            assert 0 <= call.sent_s <= call.first_byte_s <= call.first_content_s <= call.end_s
            assert call.attempts == 1

    within(main())


def test_both_directions_text_and_binary_and_close_codes():
    """What one side says the other hears as it was; whoever closes says why to the other."""

    async def main():
        upstream = Upstream()
        async with relayed(upstream) as url:
            async with connect(at(url), subprotocols=["realtime"]) as socket:
                assert socket.subprotocol == "realtime"
                assert json.loads(await socket.recv())["type"] == "session.created"
                await socket.send(b"abc")
                assert await socket.recv() == b"cba"
                odd = '{"type": "session.update", "x": [1,  2]}'
                for frame in (
                    odd,
                    "{}",
                    json.dumps({"type": "input_audio_buffer.append", "audio": "x" * 2_000_000}),
                ):
                    await socket.send(frame)
                await create(socket)
                await events(socket)
                assert upstream.frames[1] == odd
                assert len(upstream.frames[3]) > 2_000_000
                await socket.close(4001, "enough")
            await until(lambda: upstream.closed == [4001])
            for code, said, reason in ((4321, 4321, "because"), (1000, 1000, ""), (1013, 1013, "later")):
                async with connect(at(url)) as socket:
                    await socket.recv()
                    await socket.send(json.dumps({"type": "close", "code": code, "reason": reason}))
                    with pytest.raises(ConnectionClosed) as closed:
                        await socket.recv()
                    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (said, reason)
            upstream.hold.clear()
            socket = await connect(at(url))
            await create(socket)
            await until(lambda: upstream.open == 1)
            socket.transport.abort()  # without a word
            upstream.hold.set()
            await until(lambda: upstream.open == 0)

    within(main())


def test_what_was_cut_short_failed_or_came_unasked_has_its_row(tmp_path):
    """A client that leaves, a provider that refuses, and a turn whose end the provider has heard."""
    log = tmp_path / "calls.sqlite"

    async def main():
        upstream = Upstream()
        async with relayed(upstream, log=str(log)) as url:
            async with connect(at(url)) as socket:
                await socket.recv()
                await create(socket, response={"instructions": "fail"}, event_id="mine")
                assert (await events(socket, "error"))[-1]["error"]["event_id"] == "mine"
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
                await events(socket)
                upstream.hold.clear()
                await create(socket)
                await events(socket, "response.output_text.delta")
            await until(lambda: upstream.closed == [1000])
            upstream.hold.set()
        (failed, _), (heard, _), (cut, _) = rows(log)
        assert (failed.outcome, failed.error_code, failed.dollars) == ("client_error", "invalid_value", 0)
        assert (heard.outcome, heard.dollars) == ("ok", pytest.approx(COST))
        assert (cut.outcome, cut.maybe_billed, cut.usage_estimated) == ("abandoned", True, True)
        assert cut.output_tokens > 0

    within(main())


def test_a_slow_client_holds_the_provider_back_and_frames_have_a_bound():
    """What nobody reads is not taken from the provider; what is too large ends the connection."""

    async def main():
        upstream = Upstream()
        doors = DoorLimits(realtime_frame_bytes_max=200_000)
        async with relayed(upstream, doors=doors) as url:
            async with connect(at(url), max_queue=1) as socket:
                await socket.send(json.dumps({"type": "flood", "count": 200}))
                for _ in range(201):
                    await socket.recv()
                await socket.send("x" * 200_001)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd.code == 1009
            await until(lambda: upstream.open == 0)
            sockets = [await connect(at(url), max_queue=1, close_timeout=0.1) for _ in range(2)]
            await sockets[0].send(json.dumps({"type": "flood", "count": 10_000}))
            await create(sockets[1])  # the other one is not held up
            await events(sockets[1])
            for socket in sockets:
                socket.transport.abort()
            await until(lambda: upstream.open == 0)

    within(main())


def test_only_configured_addresses_and_only_our_key(tmp_path):
    """Queries that choose more than a model, upstreams without it, and redirects, which a key does not follow."""

    async def main():
        upstream = Upstream()
        elsewhere = Upstream()

        def moved(connection, request):
            response = connection.respond(302, "")
            response.headers["location"] = f"ws://127.0.0.1:{port}/v1/realtime"
            return response

        async with serve(elsewhere, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with serve(upstream, "127.0.0.1", 0, process_request=moved) as redirecting:
                base = f"http://127.0.0.1:{redirecting.sockets[0].getsockname()[1]}/v1"
                async with gateway(FakeProvider(), base_url=base) as url:
                    with pytest.raises(InvalidStatus) as caught:
                        await connect(at(url))
                    assert caught.value.response.status_code == 502
        assert not elsewhere.heads
        async with relayed(upstream) as url:
            for query, status in (
                ("?model=a&base_url=http://evil.test", 400), ("?model=a&model=b", 400), ("?call_id=c", 400), ("?model=%ff", 400),
            ):  # fmt: skip
                with pytest.raises(InvalidStatus) as caught:
                    await connect(at(url, query))
                assert caught.value.response.status_code == status
            with pytest.raises(InvalidStatus) as caught:
                await connect(at(url), additional_headers={"origin": "http://evil.test"})
            assert caught.value.response.status_code == 403
            headers = {
                "openai-organization": "x",
                "cookie": "a=b",
                "openai-beta": "realtime=v1",
                "authorization": "Bearer theirs",
            }
            async with connect(at(url), additional_headers=headers) as socket:
                await socket.recv()
            sent = upstream.heads[-1].headers
            assert (sent["authorization"], sent["openai-beta"]) == ("Bearer sk-own", "realtime=v1")
            assert "cookie" not in sent
            assert "openai-organization" not in sent
        config = tmp_path / "h.toml"
        async with serve(upstream, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            config.write_text(
                '[[upstream]]\nname = "words"\nbase_url = "http://127.0.0.1:9/v1"\nendpoints = ["responses"]\nkey_env = "NONE_KEY"\n'
                f'[[upstream]]\nname = "voice"\nbase_url = "http://127.0.0.1:{port}/openai/v1"\nendpoints = ["realtime"]\n'
                'models = {voice = "deployed"}\nkey_env = "VOICE_KEY"\noutput_usd = 100.0\n'
            )
            async with gateway(FakeProvider(), api_key=None, config=str(config), log=str(tmp_path / "log")) as url:
                async with connect(at(url, "?model=voice")) as socket:
                    await create(socket)
                    await events(socket)
                assert upstream.heads[-1].path == "/openai/v1/realtime?model=deployed"
                assert upstream.heads[-1].headers["authorization"] == "Bearer sk-voice"
                with pytest.raises(InvalidStatus) as caught:
                    await connect(at(url, "?model=other"))
                assert caught.value.response.status_code == 404
        assert rows(tmp_path / "log")[0][0].dollars == pytest.approx(50 * 100e-6)

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        patch.setenv("NONE_KEY", "sk-none")
        patch.setenv("VOICE_KEY", "sk-voice")
        within(main())


def test_keys_are_judged_when_it_opens_and_for_every_response(tmp_path):
    """The path, the model, the dollars; a key that ends meanwhile asks nothing more."""

    async def main():
        keys, upstream = tmp_path / "keys", Upstream()
        any_path = made(keys, "any")
        voice = {"paths": ("/v1/realtime",)}
        good, bound = made(keys, "good", **voice), made(keys, "bound", models=("gpt-5*",), **voice)
        poor = made(keys, "poor", dollars_per_day=COST * 1.5 + ASIDE, **voice)
        async with relayed(upstream, keys=str(keys)) as url:

            def dial(key: str, query: str = f"?model={MODEL}"):
                return connect(at(url, query), additional_headers={"authorization": f"Bearer {key}"})

            for key, query, status in (
                ("hw-no", "", 401), (any_path, "", 403), (bound, f"?model={MODEL}", 403), ("", "", 401),
            ):  # fmt: skip
                with pytest.raises(InvalidStatus) as caught:
                    await dial(key, query)
                assert caught.value.response.status_code == status
            assert not upstream.heads
            async with connect(at(url), subprotocols=["realtime", f"openai-insecure-api-key.{good}"]) as socket:
                await socket.recv()
                assert "hw-" not in str(upstream.heads[0].headers)
                await create(socket)
                await events(socket)
                with KeyStore(keys) as store:
                    store.revoke(store.known().secrets[good[3:15]].key)
                answers = 1
                while True:
                    await create(socket, event_id="late")
                    found = json.loads(await socket.recv())
                    if found["type"] == "error":
                        break
                    await events(socket)
                    answers += 1
                    await asyncio.sleep(0.02)
                assert (found["error"]["code"], found["error"]["event_id"]) == ("key_revoked", "late")
                assert len([frame for frame in upstream.frames if "response.create" in frame]) == answers
            async with dial(poor) as socket:
                await socket.recv()
                for last in ("response.done", "response.done", "error"):
                    await create(socket)
                    found = await events(socket, last)
                assert found[-1]["error"]["code"] == "budget"
                told = len(upstream.frames)
                for frame in (
                    '{"type": "session.update", "session": {"audio": {"input": {"\\u0074ranscription": {"model": "w"}}}}}',
                    '{"type": "session.update", "session": {"input_audio_transcription": {"model": "w"}}}',
                    '{"type": "transcription_session.update"}',
                    '{"type": "session.update", "session": {"audio": 1}}',
                    "no json",
                    b"{}",
                ):
                    await socket.send(frame)
                    assert json.loads(await socket.recv())["error"]["code"] == "cost_unknown"
                other = '{"type": "session.update", "session": {"model": "gpt-realtime-2"}}'
                for frame in (other, '{"type": "response.create", "response": {"model": "gpt-realtime-2"}}'):
                    await socket.send(frame)
                    assert json.loads(await socket.recv())["error"]["code"] == "model_not_allowed"
                await socket.send('{"type": "session.update", "session": {"type": "transcription"}}')
                assert json.loads(await socket.recv())["error"]["code"] == "cost_unknown"
                assert len(upstream.frames) == told
                same = '{"type":"session.update","session":{"model":"' + MODEL + '","voice":"ash"}}'
                await socket.send(same.replace('"session":', '"session":{"model":"gpt-realtime-2"},"session":'))
                await until(lambda: len(upstream.frames) > told)
                assert upstream.frames[told:] == [same]
            with pytest.raises(InvalidStatus) as caught:
                await dial(poor, "?intent=transcription")
            assert caught.value.response.status_code == 403

    within(main())


def test_responses_that_never_begin_have_a_bound():
    """The provider is not sent a 65th."""

    async def main():
        upstream = Upstream()
        upstream._respond = lambda socket: asyncio.sleep(0)
        async with relayed(upstream) as url, connect(at(url)) as socket:
            await socket.recv()
            for number in range(64):
                await create(socket, event_id=f"e{number}")
            await create(socket, event_id="late")
            error = json.loads(await socket.recv())["error"]
            assert (error["code"], error["event_id"]) == ("busy", "late")
            await until(lambda: len(upstream.frames) == 64)

    within(main())


def test_what_cannot_be_reached_is_said_before_the_socket_opens():
    """With a status, as for any other call."""

    async def main():
        def denied(connection, request):
            return connection.respond(401, "no")

        async with serve(Upstream(), "127.0.0.1", 0, process_request=denied) as server:
            for port, status in ((server.sockets[0].getsockname()[1], 401), (9, 502)):
                async with gateway(FakeProvider(), base_url=f"http://127.0.0.1:{port}/v1") as url:
                    with pytest.raises(InvalidStatus) as caught:
                        await connect(at(url))
                    assert caught.value.response.status_code == status
                    assert f"127.0.0.1:{port}" in json.loads(caught.value.response.body)["error"]["message"]

    within(main())


def test_the_end_of_the_server_waits_for_the_response():
    """Then it says 1001, to both sides."""

    async def main():
        upstream = Upstream()
        async with serve(upstream, "127.0.0.1", 0) as server:
            base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            manager = gateway(FakeProvider(), base_url=base, drain_s=5)
            url = await manager.__aenter__()
            idle, busy = await connect(at(url)), await connect(at(url))
            upstream.hold.clear()
            await create(busy)
            await events(busy, "response.output_text.delta")
            leaving = asyncio.ensure_future(manager.__aexit__(None, None, None))
            await idle.recv()
            with pytest.raises(ConnectionClosed) as closed:
                await idle.recv()
            assert closed.value.rcvd.code == 1001
            upstream.hold.set()
            await events(busy)
            with pytest.raises(ConnectionClosed) as closed:
                await busy.recv()
            assert closed.value.rcvd.code == 1001
            await leaving
            await until(lambda: upstream.open == 0)

    within(main())
