"""Bad input, all of it, while somebody who means well is served: refused in the API's own shape, and nothing is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import openai
import pytest

from headway.gateway.keys import KeyStore
from headway.gateway.limits import Limits
from headway.policy.keys import Key
from headway.types import Call, Reply
from tests.gateway.attacks import CASES, EVIL, MARK, asked, status_of
from tests.gateway.helpers import JSON, gateway, until, within

pytestmark = pytest.mark.usefixtures("each_loop")

PROVIDER = "http://provider.invalid/v1"
ANSWER = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'
)


class Provider:
    """Answers whatever comes; streams for as long as somebody reads."""

    def __init__(self) -> None:
        self.sent: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.sent.append(call)
        if call.view.stream:
            return Reply(200, (("content-type", "text/event-stream"),), chunks=self.chunks())
        return Reply(200, JSON, ANSWER)

    async def chunks(self):
        while True:
            yield b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)
            await asyncio.sleep(0.005)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def sockets() -> int:
    """How many this process has open."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(one.readlink()).startswith("socket:")
    return found


def test_bad_requests_are_refused_in_shape_while_others_are_served(tmp_path, capfd, caplog, monkeypatch):
    """With an error that SDKs can read; no host that they name is looked up, no secret is written, nothing is left."""
    path = tmp_path / "keys"
    with KeyStore(path) as store:
        key = store.create(Key(id="", name="app"))[1].reveal()
    provider = Provider()
    looked_up = []
    real = socket.getaddrinfo

    def looking(host, *args, **kwargs):
        looked_up.append(host)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", looking)
    wrong, shapeless, good = {}, {}, 0

    async def main():
        nonlocal good
        async with gateway(provider, base_url=PROVIDER, keys=str(path), log="on") as url:
            attacked = asyncio.Event()

            async def mean_well() -> None:
                nonlocal good
                async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as ai:
                    while not attacked.is_set():
                        ask = [{"role": "user", "content": f"Write {3 + good % 9} words."}]
                        await ai.chat.completions.create(model="gpt-4o", messages=ask)
                        good += 1
                        await asyncio.sleep(0.01)

            await status_of(port_of(url), asked(key, "{}"))  # what is begun on first use is there now
            before = sockets(), len(asyncio.all_tasks())
            served = asyncio.ensure_future(mean_well())
            for case in CASES:
                status, body = await status_of(port_of(url), case.make(key))
                if status not in case.right:
                    wrong[case.name] = status, body[:200]
                elif status >= 400 and not _in_shape(body):
                    shapeless[case.name] = body[:200]
                assert MARK.encode() not in body
            attacked.set()
            await served
            await until(lambda: sockets() <= before[0] and len(asyncio.all_tasks()) <= before[1])

    within(main())
    assert wrong == {}
    assert shapeless == {}
    assert good > 0
    assert not [host for host in looked_up if EVIL in str(host)]
    assert {call.origin for call in provider.sent} == {"http://provider.invalid"}
    assert not [call for call in provider.sent if MARK in repr(call.headers)]
    printed = capfd.readouterr()
    written = printed.out + printed.err + caplog.text
    kept = b"".join(file.read_bytes() for file in Path(tmp_path).rglob("*") if file.is_file())
    for secret in (MARK, key.split("-", 2)[2], "sk-own"):
        assert secret not in written
        assert secret.encode() not in kept
    assert "Traceback" not in written
    assert len(written) < 50_000


def _in_shape(body: bytes) -> bool:
    """An error as the OpenAI API has them, so that its SDKs show the message."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(error["message"] and error["type"]) and {"code", "param"} <= set(error)


def test_those_who_drip_and_those_who_do_not_read_hold_nobody_up(tmp_path):
    """Half a head each, or an answer that nobody takes: who means well is answered, and they are gone in the end."""
    provider = Provider()
    limits = Limits(head_s=0.5, write_s=0.2, linger_s=0.2)

    async def main():
        async with gateway(provider, base_url=PROVIDER, limits=limits) as url:
            before = sockets()
            writers = []
            for n in range(200):
                _, writer = await asyncio.open_connection("127.0.0.1", port_of(url), limit=1)
                writers.append(writer)
                if n % 50:
                    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-drip: ")
                else:
                    writer.transport.pause_reading()
                    ask = {
                        "model": "gpt-4o",
                        "stream": True,
                        "messages": [{"role": "user", "content": "Write 4000 words."}],
                    }
                    body = json.dumps(ask).encode()
                    writer.write(
                        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
                        % (len(body), body)
                    )
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as ai:
                for n in range(30):
                    for writer in writers:
                        if n < 5 and not writer.transport.is_closing():
                            writer.write(b"y")
                    ask = [{"role": "user", "content": f"Write {3 + n} words."}]
                    await ai.chat.completions.create(model="gpt-4o", messages=ask)
            await until(lambda: sockets() <= before + len(writers))  # theirs are still open, ours are not
            for writer in writers:
                writer.close()
            await until(lambda: sockets() <= before)

    within(main())


@pytest.mark.parametrize("host", [EVIL, f"localhost.{EVIL}", "127.0.0.1.nip.invalid", "0x7f000001"])
def test_without_keys_only_this_machine_s_names_are_answered(host):
    """A web page under a name that leads here does not spend the provider's key."""
    provider = Provider()

    async def main():
        async with gateway(provider, base_url=PROVIDER) as url:
            raw = f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            status, body = await status_of(port_of(url), raw)
            assert status == 421
            assert _in_shape(body)

    within(main())
