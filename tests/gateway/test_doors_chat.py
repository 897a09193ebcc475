"""`/chat` of a served gateway, spoken to by a WebSocket client that others keep; and what a conversation remembers."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headway.errors import ConnectionLost
from headway.gateway.app.doors.conversation import Conversation
from headway.gateway.limits import DoorLimits, Limits
from headway.gateway.request import Refused
from headway.sim import SimSettings
from headway.sim.server import serving
from headway.testing import FakeProvider, Step
from tests.gateway.helpers import gateway, said, until, within
from tests.gateway.test_gateway_keys import made
from tests.gateway.test_gateway_serve import served

BASE = "http://provider.test/v1"
SLOW = Step(text="one two three four five", chunk_delay_s=0.03)


class Talk:
    """A client's side."""

    def __init__(self, socket) -> None:
        self.socket = socket

    async def send(self, **frame) -> None:
        await self.socket.send(json.dumps(frame))

    async def frame(self) -> dict:
        return json.loads(await self.socket.recv())

    async def until(self, type_: str) -> tuple[str, dict]:
        """All text up to a frame of that type, and that frame."""
        text = ""
        while (frame := await self.frame())["type"] == "token":
            text += frame["text"]
        assert frame["type"] == type_, frame
        return text, frame

    async def ask(self, text: str, **more) -> tuple[str, dict]:
        await self.send(type="say", text=text, **more)
        return await self.until("done")


@asynccontextmanager
async def talking(provider, query: str = "", *, client=None, **how):
    how = {"base_url": BASE, "model": "gpt-5.4-mini"} | how
    async with (
        gateway(provider, **how) as url,
        connect(url.replace("http", "ws") + "/chat" + query, **(client or {})) as socket,
    ):
        yield Talk(socket)


def turns(call) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in json.loads(call.body)["messages"]]


def test_a_conversation_has_a_memory():
    """Tokens as they come, what an answer took, and the turns that the next question brings along."""

    async def main():
        provider = FakeProvider([Step(text="It is blue"), Step(text="It scatters")])
        async with talking(provider, "?system=Be+brief&max_tokens=40") as talk:
            text, done = await talk.ask("What colour is the sky?")
            assert text == "It is blue"
            assert done["usage"]["output_tokens"] == 2
            assert done["dollars"] > 0
            assert (done["cache"], done["cut"], done["model"]) == ("off", False, "gpt-5.4-mini")
            assert 0 <= done["ttft_ms"] <= done["total_ms"]
            assert (await talk.ask("Why?", model="gpt-5.4"))[0] == "It scatters"
            assert provider.seen[1].view.model == "gpt-5.4"
            assert turns(provider.seen[1]) == [
                ("system", "Be brief"),
                ("user", "What colour is the sky?"),
                ("assistant", "It is blue"),
                ("user", "Why?"),
            ]
            await talk.send(type="reset")
            assert await talk.frame() == {"type": "reset"}
            await talk.ask("Anew")
            assert turns(provider.seen[2]) == [("system", "Be brief"), ("user", "Anew")]

    within(main())


def test_a_cancelled_answer_stays_as_far_as_it_came():
    """The provider's stream ends with it, and the next question knows what was said."""

    async def main():
        provider = FakeProvider(
            [Step(text="one two three four", chunk_delay_s=0.05), Step(delay_s=60), Step(text="ok")]
        )
        async with talking(provider) as talk:
            await talk.send(type="cancel")  # of nothing: nothing
            await talk.send(type="say", text="Count")
            first = await talk.frame()
            await talk.send(type="cancel")
            more, last = await talk.until("cancelled")
            assert last["usage"]["estimated"]
            assert (provider.open, provider.aborted) == (0, 1)
            await talk.send(type="say", text="Never answered")
            await until(lambda: provider.calls == 2)
            await talk.send(type="cancel")
            assert (await talk.until("cancelled"))[0] == ""
            await until(lambda: provider.aborted == 2)
            await talk.ask("Go on")
            assert turns(provider.seen[2]) == [
                ("user", "Count"),
                ("assistant", first["text"] + more),
                ("user", "Go on"),
            ]

    within(main())


def test_one_answer_at_a_time_and_one_question_waits():
    """A third one is told so; reset drops both."""

    async def main():
        provider = FakeProvider([SLOW, Step(text="second"), SLOW, Step(text="last")])
        async with talking(provider) as talk:
            for text in ("a", "b", "c"):
                await talk.send(type="say", text=text)
            frames = []
            while sum(frame["type"] == "done" for frame in frames) < 2:
                frames.append(await talk.frame())
            assert [frame["code"] for frame in frames if frame["type"] == "error"] == ["busy"]
            assert [turns(call)[-1] for call in provider.seen] == [("user", "a"), ("user", "b")]
            await talk.send(type="say", text="d")
            await talk.send(type="say", text="e")
            await talk.send(type="reset")
            await talk.until("cancelled")
            assert await talk.frame() == {"type": "reset"}
            await talk.ask("f")
            assert turns(provider.seen[-1]) == [("user", "f")]
            assert provider.calls == 4

    within(main())


def test_errors_are_frames_and_the_socket_lives_on():
    """The provider's, a broken stream's, and those of frames that are none."""

    async def main():
        half = b'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'
        broken = Step(chunks=(half,), error=ConnectionLost("it hung up"))
        provider = FakeProvider([Step(status=400), broken, Step(text="fine")])
        async with talking(provider) as talk:
            for frame, code in (
                ("{", "bad_frame"), ("[]", "bad_frame"), ('{"type": "sing"}', "bad_frame"), (b"\x00", "bad_frame"),
                ('{"type": "say"}', "bad_frame"), ('{"type": "say", "text": ""}', "invalid_request"),
                ('{"type": "say", "text": "a", "temperature": 1}', "bad_frame"),
            ):  # fmt: skip
                await talk.socket.send(frame)
                said_ = await talk.frame()
                assert (said_["type"], said_["code"]) == ("error", code), frame
                assert said_["message"]
            assert provider.calls == 0
            await talk.send(type="say", text="a")
            assert (await talk.until("error"))[1]["status"] == 400
            await talk.send(type="say", text="b")
            text, error = await talk.until("error")
            assert (text, error["code"]) == ("Half", "connection_lost")
            assert (await talk.ask("c"))[0] == "fine"
            assert turns(provider.seen[-1]) == [("user", "b"), ("assistant", "Half"), ("user", "c")]

    within(main())


def test_who_leaves_ends_his_answer():
    """With a goodbye or without one."""

    async def main():
        provider = FakeProvider([Step(text="a b c d", chunk_delay_s=10)])
        async with gateway(provider, base_url=BASE, model="m") as url:
            for count in (1, 2):
                socket = await connect(url.replace("http", "ws") + "/chat")
                await Talk(socket).send(type="say", text=f"q{count}")
                await until(lambda count=count: provider.calls == count and provider.open == 1)
                if count == 1:
                    await socket.close()
                else:
                    socket.transport.abort()
                await until(lambda count=count: provider.open == 0 and provider.aborted == count)

    within(main())


def test_a_slow_reader_holds_the_provider_back_and_is_dropped_in_the_end():
    """Nothing is piled up for him."""

    async def main():
        provider = FakeProvider([Step(text=" ".join(["x" * 50_000] * 400))])
        limits = Limits(write_s=0.3, linger_s=0.1)
        async with talking(
            provider, limits=limits, client={"max_queue": 1, "max_size": None, "close_timeout": 0.1}
        ) as talk:
            await talk.send(type="say", text="a lot")
            await until(lambda: provider.open == 1)
            await until(lambda: provider.open == 0 and provider.aborted == 1)

    within(main())


def test_frames_sockets_and_silence_have_bounds():
    """1009 for a frame too large, 503 for a socket too many, 1000 for a client that says nothing."""

    async def main():
        doors = DoorLimits(chat_frame_bytes_max=1000, sockets_max=1, turns_bytes_max=100)
        provider = FakeProvider()
        async with gateway(provider, base_url=BASE, model="m", doors=doors) as url:
            ws = url.replace("http", "ws") + "/chat"
            async with connect(ws) as socket:
                with pytest.raises(InvalidStatus) as caught:
                    await connect(ws)
                assert caught.value.response.status_code == 503
                await Talk(socket).send(type="say", text="a" * 101)
                assert (await Talk(socket).frame())["code"] == "text_too_large"
                await socket.send("a" * 1001)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd.code == 1009
            async with connect(ws) as socket:  # the first one's place is free again
                await socket.send(b"\xff\xfe", text=True)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd.code == 1007
        assert provider.calls == 0
        async with talking(FakeProvider(), doors=DoorLimits(idle_s=0.05)) as talk:
            with pytest.raises(ConnectionClosed) as closed:
                await talk.frame()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "nothing was said for 0.05 seconds")

    within(main())


def test_pages_of_other_origins_get_no_socket(tmp_path):
    """With and without keys; and nothing is asked over other spellings of the path."""

    async def main():
        for keys in ("", str(tmp_path / "keys")):
            key = made(tmp_path / "keys") if keys else ""
            headers = {"authorization": f"Bearer {key}"} if key else {}
            async with gateway(FakeProvider(), base_url=BASE, model="m", keys=keys) as url:
                ws, host = url.replace("http", "ws"), url.removeprefix("http://")
                for path, more, status in (
                    ("/chat", {"origin": "http://evil.test"}, 403),
                    ("/chat", {"origin": "null"}, 403),
                    ("/chat", {"sec-fetch-site": "same-site"}, 403),
                    ("/chat", {"origin": "http://localhost.evil.test"}, 403),
                    ("/%63hat", {}, 404),
                    ("/chat?voice=1", {}, 400),
                    ("/nowhere", {}, 403),
                ):
                    with pytest.raises(InvalidStatus) as caught:
                        await connect(ws + path, additional_headers=headers | more)
                    assert caught.value.response.status_code == status, path
                own = {"origin": f"http://{host}", "sec-fetch-site": "same-origin"}
                async with connect(ws + "/chat", additional_headers=headers | own) as socket:
                    assert (await Talk(socket).ask("a"))[0] == "ok"

    within(main())


def test_keys_come_in_a_header_a_subprotocol_or_the_first_frame(tmp_path):
    """And each question is judged by them."""

    async def main():
        path = tmp_path / "keys"
        key = made(path, models=("small",))
        async with gateway(
            FakeProvider(), base_url=BASE, model="small", keys=str(path), doors=DoorLimits(hello_s=0.2)
        ) as url:
            ws = url.replace("http", "ws") + "/chat"
            async with connect(ws, additional_headers={"authorization": f"Bearer {key}"}) as socket:
                assert (await Talk(socket).ask("a"))[0] == "ok"
                await Talk(socket).send(type="say", text="a", model="large")
                assert (await Talk(socket).frame())["code"] == "model_not_allowed"
            async with connect(ws, subprotocols=["headway", f"headway-key.{key}"]) as socket:
                assert socket.subprotocol == "headway"
                assert (await Talk(socket).ask("a"))[0] == "ok"
            async with connect(ws) as socket:
                await Talk(socket).send(type="key", key=key)
                assert (await Talk(socket).ask("a"))[0] == "ok"
            with pytest.raises(InvalidStatus) as caught:
                await connect(ws, additional_headers={"authorization": "Bearer hw-no"})
            assert caught.value.response.status_code == 401
            for first in ({"type": "key", "key": "hw-no"}, {"type": "say", "text": "a"}, None):
                async with connect(ws) as socket:
                    if first is not None:
                        await Talk(socket).send(**first)
                    assert (await Talk(socket).frame())["code"] == "invalid_key"
                    with pytest.raises(ConnectionClosed) as closed:
                        await socket.recv()
                    assert closed.value.rcvd.code == 1008

    within(main())


def test_who_shows_no_key_takes_nobodys_place(tmp_path):
    """Strangers have a few places of their own; one that shows its key has a real one, and leaves its own to others."""

    async def main():
        path = tmp_path / "keys"
        key = made(path)
        doors = DoorLimits(sockets_max=2, strangers_max=2)
        async with gateway(FakeProvider(), base_url=BASE, model="m", keys=str(path), doors=doors) as url:
            ws, headers = url.replace("http", "ws") + "/chat", {"authorization": f"Bearer {key}"}

            async def full(**how) -> bool:
                try:
                    await (await connect(ws, **how)).close()
                except InvalidStatus as refused:
                    return refused.response.status_code == 503
                return False

            async with connect(ws) as first, connect(ws):
                assert await full()
                async with connect(ws, additional_headers=headers) as owner:
                    assert (await Talk(owner).ask("a"))[0] == "ok"
                    await Talk(first).send(type="key", key=key)
                    assert (await Talk(first).ask("a"))[0] == "ok"
                    assert await full(additional_headers=headers)
                    async with connect(ws) as third:  # the first one's place among strangers
                        await Talk(third).send(type="key", key=key)
                        assert (await Talk(third).frame())["code"] == "overloaded"
                        with pytest.raises(ConnectionClosed) as closed:
                            await third.recv()
                        assert closed.value.rcvd.code == 1008
            for _ in range(3):  # all places are free again
                async with connect(ws, additional_headers=headers) as one, connect(ws, additional_headers=headers):
                    assert (await Talk(one).ask("a"))[0] == "ok"

    within(main())


def test_the_end_of_the_server_is_said_after_the_answer():
    """What is being answered is answered, then 1001; what takes too long is ended."""

    async def main():
        for provider, last in (
            (FakeProvider([SLOW]), "done"),
            (FakeProvider([Step(text="a b", chunk_delay_s=60)]), ""),
        ):
            manager = gateway(provider, base_url=BASE, model="m", drain_s=1)
            url = await manager.__aenter__()
            idle = await connect(url.replace("http", "ws") + "/chat")
            busy = await connect(url.replace("http", "ws") + "/chat")
            await Talk(busy).send(type="say", text="a")
            await until(lambda provider=provider: provider.open == 1)
            leaving = asyncio.ensure_future(manager.__aexit__(None, None, None))
            with pytest.raises(ConnectionClosed) as closed:
                await idle.recv()
            assert closed.value.rcvd.code == 1001
            if last:
                assert (await Talk(busy).until(last))[0] == "one two three four five"
            with pytest.raises(ConnectionClosed) as closed:
                await busy.recv()
            assert closed.value.rcvd.code == 1001
            await leaving
            assert provider.open == 0

    within(main())


def test_upgrades_that_are_none_are_refused_and_end_the_connection(capfd):
    """Bodies, lengths, odd keys, huge lines: one refusal, no second request out of the same bytes, no traceback."""
    head = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\nSec-WebSocket-Version: 13\r\n"
    second = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def main():
        async with gateway(FakeProvider(), base_url=BASE, model="m") as url:
            for request in (
                head + b"\r\n" + second,
                head + key + b"Content-Length: 5\r\n\r\nhello" + second,
                head + key + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
                head + key.replace(b"13", b"7") + b"\r\n" + second,
                head + key + b"X-Long: " + b"a" * 9_000 + b"\r\n\r\n" + second,
                head + key + b"".join(b"X-%d: 1\r\n" % n for n in range(150)) + b"\r\n" + second,
                head + key + b"X-Long: " + b"a" * 10_000_000 + b"\r\n\r\n",
                head + key + b"Cookie: a\x00b\r\n\r\n",
                head.replace(b"/chat", b"/v1/realtime") + b"\r\n" + second,
                head.replace(b"/chat", b"/v1//realtime") + key + b"\r\n" + second,
                head.replace(b"/chat", b"/v1/nothing") + key + b"\r\n" + second,
                head.replace(b"localhost", b"evil.test") + key + b"\r\n" + second,
            ):
                found = await said(url, request)
                assert found[:12] in (
                    b"HTTP/1.1 400",
                    b"HTTP/1.1 403",
                    b"HTTP/1.1 404",
                    b"HTTP/1.1 421",
                    b"HTTP/1.1 431",
                ), (found[:99], request[:200])
                assert b"ok\n" not in found
                assert found.count(b"HTTP/1.1") == 1
            assert await said(url, second.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    within(main())
    assert "Traceback" not in capfd.readouterr().err


def test_headway_serve_streams_to_curl_talks_and_ends_in_good_order():
    """The command as people start it: curl reads as it comes, and SIGTERM is a goodbye and exit code 0."""
    options = ("--model", "gpt-5.4-mini")
    with serving(SimSettings(latency_scale=0.0)) as base, served("--base-url", base, *options) as (child, url):
        curl = ["curl", "-sN", "-G", f"{url}/stream", "--data-urlencode", "prompt=Name three colours."]
        text = subprocess.run([*curl, "-d", "format=text"], capture_output=True, text=True, check=True).stdout
        assert text == "Name three colours."
        events = subprocess.run(curl, capture_output=True, text=True, check=True).stdout
        assert 'data: {"text":"Name"}\n\n' in events
        assert "event: done\ndata: {" in events

        async def main():
            async with connect(url.replace("http", "ws") + "/chat") as socket:
                assert (await Talk(socket).ask("Name three colours."))[0] == "Name three colours."
                child.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the gateway ends")

        within(main())
        assert child.wait(20) == 0


@given(st.lists(st.tuples(st.text(min_size=1, max_size=40), st.text(max_size=60)), max_size=30), st.integers(1, 9))
def test_a_conversation_stays_within_its_bounds_and_forgets_the_oldest_first(pairs, turns_max):
    """What it remembers is a tail of what was said, as much of it as there is room for."""
    talk, said_ = Conversation(turns_max, 120), []
    for question, answer in pairs:
        if len(question.encode("utf-8", "replace")) > 120:
            with pytest.raises(Refused):
                talk.asked(question)
            continue
        turns_ = talk.asked(question)
        contents = [turn["content"] for turn in turns_]
        assert contents[-1] == question
        assert contents[:-1] == said_[len(said_) - len(contents) + 1 :]
        assert len(turns_) <= max(turns_max, 1)
        assert sum(len(text.encode("utf-8", "replace")) for text in contents) <= 120
        assert [turn["role"] for turn in turns_] == (["user", "assistant"] * len(turns_))[: len(turns_)]
        talk.add(question, answer)
        if answer:
            said_ += [question, answer]
    talk.reset()
    assert len(talk) == 0
