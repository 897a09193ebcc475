"""A served gateway with keys: who comes in over the wire, what the SDKs raise, and where it may listen."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import httpx2
import openai
import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.errors import ConfigError
from headway.gateway.data.answers import failed
from headway.gateway.keys import KeyStore
from headway.gateway.keys.meter import KeyBudgetExceeded
from headway.gateway.keys.rate import KeyOverloaded, KeyTooLate
from headway.gateway.server import listen
from headway.gateway.settings import ServeSettings
from headway.policy.keys import Key
from headway.sim import SimSettings, Simulator
from headway.types import Call, Reply
from tests.gateway.helpers import gateway, said, within

HELLO = [{"role": "user", "content": "Hello"}]
SIM = "http://sim.invalid/v1"
MODEL = "gpt-5.4-mini"


class Provider:
    """The simulator, and what reached it."""

    def __init__(self) -> None:
        self._simulator = Simulator(SimSettings(latency_scale=0.0, rpm=None, tpm=None))
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        return await self._simulator.handler(call)


def made(path: Path, name: str = "app", **rights) -> str:
    """Make a key; its text."""
    with KeyStore(path) as store:
        return store.create(Key(id="", name=name, **rights))[1].reveal()


def client(url: str, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key)


def test_the_openai_sdk_with_keys_good_and_bad(tmp_path):
    """200, 401, 403 and 402, each of them the SDK's own exception; nothing but the first reaches the provider."""
    path = tmp_path / "keys"
    good, poor = made(path), made(path, "poor", dollars_per_day=1e-9)
    bound = made(path, "bound", models=("gpt-5.4-n*", "text-*"))
    provider = Provider()

    async def main():
        async with gateway(provider, base_url=SIM, keys=str(path)) as url:

            async def ask(key: str):
                async with client(url, key) as ai:
                    return await ai.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=50)

            assert (await ask(good)).choices[0].message.content
            assert len(provider.calls) == 1
            sent = dict(provider.calls[0].headers)
            assert sent["authorization"] == "Bearer sk-own"
            for wrong in ("any", good[:-1] + ("A" if good[-1] != "A" else "B")):
                with pytest.raises(openai.AuthenticationError) as caught:
                    await ask(wrong)
                assert caught.value.body["message"]
                assert good[-20:] not in str(caught.value)
            with pytest.raises(openai.PermissionDeniedError, match=MODEL):
                await ask(bound)
            with pytest.raises(openai.APIStatusError) as caught:
                await ask(poor)
            assert caught.value.status_code == 402
            assert caught.value.body["code"] == "budget"
            assert len(provider.calls) == 1

    within(main())


def test_the_list_of_models_is_what_the_key_may_ask(tmp_path):
    """And a path that it does not have is refused; Anthropic's API refuses in its own shape."""
    path = tmp_path / "keys"
    bound = made(path, models=("gpt-5.4-mini",))

    async def main():
        async with gateway(Provider(), base_url=SIM, keys=str(path)) as url:
            async with client(url, bound) as ai:
                assert [model.id async for model in ai.models.list()] == [MODEL]
                with pytest.raises(openai.PermissionDeniedError, match="/v1/files"):
                    await ai.files.list()
            async with httpx2.AsyncClient() as plain:
                got = await plain.post(f"{url}/v1/messages", json={"model": "claude"}, headers={"x-api-key": "none"})
                assert (got.status_code, got.json()["type"]) == (401, "error")
                assert (await plain.get(f"{url}/v1/models")).status_code == 401

    within(main())


def test_a_revoked_key_is_out_on_an_open_connection(tmp_path):
    """The running gateway follows; revoking the last key does not open the door to everybody."""
    path = tmp_path / "keys"
    key = made(path)

    async def main():
        async with gateway(Provider(), base_url=SIM, keys=str(path)) as url, client(url, key) as ai:
            await ai.chat.completions.create(model=MODEL, messages=HELLO)
            with KeyStore(path) as store:
                store.revoke("app")
            with pytest.raises(openai.AuthenticationError, match="revoked"):
                while True:
                    await ai.models.list()
                    await asyncio.sleep(0.02)
            async with httpx2.AsyncClient() as plain:
                assert (await plain.get(f"{url}/v1/models")).status_code == 401

    within(main())


def test_the_first_key_shuts_a_gateway_that_had_none(tmp_path):
    """Made while it runs, in the place where it looks."""

    async def main():
        async with gateway(Provider(), base_url=SIM) as url, httpx2.AsyncClient() as plain:
            assert (await plain.get(f"{url}/v1/models")).status_code == 200
            assert CliRunner().invoke(app, ["keys", "create", "first"]).exit_code == 0
            while (await plain.get(f"{url}/v1/models")).status_code == 200:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.02)
            assert (await plain.get(f"{url}/v1/models")).status_code == 401

    within(main())


def test_beyond_the_loopback_with_a_key_only(tmp_path):
    """Listening, and being asked by another name, as a proxy does."""
    path = tmp_path / "keys"
    settings = ServeSettings(host="0.0.0.0", port=0, keys=str(path))
    with pytest.raises(ConfigError, match="headway keys create"):
        listen(settings)
    key = made(path)
    with KeyStore(path) as store:
        store.revoke("app")
    with pytest.raises(ConfigError, match="no keys"):
        listen(settings)
    key = made(path, "another")

    async def main():
        async with gateway(Provider(), base_url=SIM, host="0.0.0.0", keys=str(path)) as url:
            url = url.replace("0.0.0.0", "127.0.0.1")
            async with client(url, key) as ai:
                await ai.chat.completions.create(model=MODEL, messages=HELLO)
            head = "GET /v1/models HTTP/1.1\r\nHost: ai.example.com\r\nConnection: close\r\n"
            assert (await said(url, f"{head}Authorization: Bearer {key}\r\n\r\n".encode())).startswith(b"HTTP/1.1 200")
            assert (await said(url, f"{head}\r\n".encode())).startswith(b"HTTP/1.1 401")

    within(main())


def test_the_call_log_knows_the_key_by_its_id_alone(tmp_path, capfd, caplog):
    """No part of a key's secret is in the log's files, in what is printed, or in a logger's records."""
    path = tmp_path / "keys"
    key = made(path)
    provider = Provider()

    async def main():
        async with gateway(provider, base_url=SIM, keys=str(path), log="on") as url, client(url, key) as ai:
            await ai.chat.completions.create(model=MODEL, messages=HELLO)
            with pytest.raises(openai.NotFoundError):
                await ai.chat.completions.create(model="nope", messages=HELLO)

    within(main())
    secret = key.split("-", 2)[2].encode()
    places = (tmp_path, Path(os.environ["HEADWAY_HOME"]))
    files = {file.name: file.read_bytes() for place in places for file in place.rglob("*") if file.is_file()}
    with KeyStore(path) as store:
        kept = store.known().find("app").id.encode()
    assert kept in files["calls.sqlite"]
    assert not any(secret in data for data in files.values())
    printed = capfd.readouterr()
    assert secret.decode() not in printed.out + printed.err + caplog.text
    assert not any(secret.decode() in json.dumps(call.headers) for call in provider.calls)


def test_a_refusal_that_ends_says_when():
    """Whole seconds, never too few."""
    for kind, code in ((KeyOverloaded, "queue_full"), (KeyTooLate, "deadline")):
        late = failed("/v1/responses", kind("full", 1.2))
        assert (late.status, dict(late.headers)["retry-after"]) == (429, "2")
        assert json.loads(late.body)["error"]["code"] == code
    spent = KeyBudgetExceeded("spent")
    assert "retry-after" not in dict(failed("/v1/responses", spent).headers)
    spent.retry_after_s = 60.0
    reply = failed("/v1/responses", spent)
    assert (reply.status, dict(reply.headers)["retry-after"]) == (402, "60")


@pytest.mark.parametrize(
    ("status", "code", "own", "expected"),
    [(401, "invalid_api_key", "sk-own", 502), (403, "invalid_api_key", "sk-own", 502), (403, "unsupported_country", "sk-own", 403),
     (401, "invalid_api_key", None, 401)],
)  # fmt: skip
def test_a_provider_that_refuses_our_own_key_is_no_fault_of_the_client(status, code, own, expected):
    """502 in the shape of the API, without the provider's words; an upstream without a key of ours speaks for itself."""
    body = {"error": {"message": "Incorrect API key provided: sk-o**n", "type": "x", "param": None, "code": code}}

    async def provider(call: Call) -> Reply:
        return Reply(status, (("content-type", "application/json"),), json.dumps(body).encode())

    async def main():
        async with gateway(provider, base_url=SIM, api_key=own) as url, httpx2.AsyncClient() as plain:
            for path, stream in (("chat/completions", False), ("chat/completions", True), ("messages", False)):
                got = await plain.post(f"{url}/v1/{path}", json={"model": MODEL, "messages": HELLO, "stream": stream})
                assert got.status_code == expected
                assert ("Incorrect" in got.text) is (expected != 502)
                assert expected != 502 or "http://sim.invalid" in got.json()["error"]["message"]
            if expected == 502:
                got = await plain.post(f"{url}/v1/chat/completions", json={"model": MODEL, "messages": HELLO})
                assert got.json()["error"]["code"] == "upstream_key_refused"
                assert got.headers["headway-id"]

    within(main())


def test_a_key_in_the_models_place_is_written_nowhere(tmp_path, capfd):
    """It is refused before anything knows of it, and not repeated."""
    key = made(tmp_path / "keys")

    async def main():
        async with (
            gateway(Provider(), base_url=SIM, keys=str(tmp_path / "keys"), log="on") as url,
            httpx2.AsyncClient() as plain,
        ):
            for wrong in (key, f"Bearer {key}", "sk-proj-0123456789abcdef0123"):
                ask = {"model": wrong, "messages": HELLO}
                got = await plain.post(f"{url}/v1/responses", json=ask, headers={"x-api-key": key})
                assert (got.status_code, got.json()["error"]["code"]) == (400, "invalid_model")
                assert wrong not in got.text

    within(main())
    printed = capfd.readouterr()
    assert key not in printed.out + printed.err
    assert not any(key.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
