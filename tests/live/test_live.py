"""Every reader and every door against real providers: `make live`. Without a key, a provider is skipped.

Tiny prompts, at most 16 tokens out, a cap on every check and one over all of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

import headway
from headway.cli import app
from headway.types import Trace
from tests.live.providers import PROVIDERS, PURSE, STARTED, TOKENS_MAX, Provider, Row, config_file

pytestmark = pytest.mark.live

PROMPT = "Say hi."
PATHS = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "messages": "/messages",
}
VERSION = "2023-06-01"


class Check:
    """One provider, one format, through one door; the settings file holds its address and its cap."""

    def __init__(self, provider: Provider, kind: str, config: str, row: Row) -> None:
        self.provider, self.kind, self.config, self.row = provider, kind, config, row
        self.model = provider.models[kind]
        self.host = provider.base_url.removesuffix("/v1") if kind == "messages" else provider.base_url

    def body(self, *, stream: bool) -> dict[str, Any]:
        if self.kind == "embeddings":
            return {"model": self.model, "input": PROMPT}
        if self.kind == "responses":
            fields: dict[str, Any] = {"input": PROMPT, "store": False, "max_output_tokens": TOKENS_MAX}
        else:
            fields = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": TOKENS_MAX}
        return {"model": self.model, **fields, **({"stream": True} if stream else {})}

    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.provider.key, "anthropic-version": VERSION} if self.kind == "messages" else {}

    def booked(self, trace: Trace) -> None:
        """The reader has read what the provider counted, and it has a price."""
        assert trace.outcome == "ok", (trace.outcome, trace.error_code)
        assert trace.usage is not None
        assert not trace.usage.estimated
        assert trace.usage.input_tokens > 0
        assert self.kind == "embeddings" or trace.usage.output_tokens > 0
        self.row.tokens = f"{trace.usage.input_tokens}+{trace.usage.output_tokens}"


async def _sent(check: Check, *, stream: bool) -> float | None:
    """The raw engine."""
    async with headway.Engine(config=check.config) as engine:
        try:
            reply = await engine.send(PATHS[check.kind], check.body(stream=stream), headers=check.headers())
            said = await reply.read()
            await reply.aclose()
            assert reply.status == 200, said[:300]
            check.booked(reply.trace)
        finally:
            spent = engine.snapshot()["dollars"]
            check.row.dollars = spent
    return spent


def send(check: Check) -> None:
    asyncio.run(_sent(check, stream=False))


def stream(check: Check) -> None:
    asyncio.run(_sent(check, stream=True))


def async_client(check: Check) -> None:
    """The official SDK, streamed where the format streams."""
    import anthropic  # here, for they take seconds to import: where all is skipped, nobody waits for them
    import openai

    async def main() -> None:
        async with headway.Engine(config=check.config) as engine, headway.async_client(engine=engine) as http:
            try:
                if check.kind == "messages":
                    client = anthropic.AsyncAnthropic(
                        api_key=check.provider.key, base_url=check.host, http_client=http, max_retries=0
                    )
                    async for event in await client.messages.create(**check.body(stream=True)):
                        assert event.type
                else:
                    sdk = openai.AsyncOpenAI(
                        api_key=check.provider.key, base_url=check.host, http_client=http, max_retries=0
                    )
                    if check.kind == "embeddings":
                        assert (await sdk.embeddings.create(**check.body(stream=False))).data[0].embedding
                    else:
                        make = sdk.chat.completions.create if check.kind == "chat" else sdk.responses.create
                        assert [piece async for piece in await make(**check.body(stream=True))]
            finally:
                check.row.dollars = engine.snapshot()["dollars"]

    asyncio.run(main())


def client(check: Check) -> None:
    """The official SDK's sync client, a whole answer."""
    import anthropic
    import openai

    with headway.SyncEngine(config=check.config) as engine, headway.client(engine=engine) as http:
        try:
            if check.kind == "messages":
                one = anthropic.Anthropic(
                    api_key=check.provider.key, base_url=check.host, http_client=http, max_retries=0
                )
                assert one.messages.create(**check.body(stream=False)).content
            else:
                sdk = openai.OpenAI(api_key=check.provider.key, base_url=check.host, http_client=http, max_retries=0)
                if check.kind == "embeddings":
                    assert sdk.embeddings.create(**check.body(stream=False)).data[0].embedding
                elif check.kind == "chat":
                    assert sdk.chat.completions.create(**check.body(stream=False)).choices
                else:
                    assert sdk.responses.create(**check.body(stream=False)).output
        finally:
            check.row.dollars = engine.snapshot()["dollars"]


def ask(check: Check) -> None:
    """`headway ask`, of which the JSON is read."""
    more = ["--chat"] if check.kind == "chat" else []
    arguments = [PROMPT, "--model", check.model, "--config", check.config, "--max-output-tokens", str(TOKENS_MAX)]
    done = CliRunner().invoke(app, ["ask", *arguments, "--json", *more])
    (model,) = json.loads(done.stdout)["models"]
    check.row.dollars = model["dollars"]
    assert done.exit_code == 0, done.stderr
    usage = model["answers"][0]["usage"]
    check.row.tokens = f"{usage['input_tokens']}+{usage['output_tokens']}"


DOORS: dict[str, Callable[[Check], None]] = {
    "engine.send": send,
    "a stream": stream,
    "async_client": async_client,
    "client": client,
    "headway ask": ask,
}


def doors_of(kind: str) -> list[str]:
    """Embeddings do not stream, and `headway ask` speaks the OpenAI formats."""
    left_out = {"embeddings": ("a stream", "headway ask"), "messages": ("headway ask",)}.get(kind, ())
    return [door for door in DOORS if door not in left_out]


def checks() -> Iterator[Any]:
    for provider in PROVIDERS:
        for kind in provider.models:
            for door in doors_of(kind):
                yield pytest.param(provider, kind, door, id=f"{provider.name}-{kind}-{door.replace(' ', '_')}")


@pytest.mark.parametrize(("provider", "kind", "door"), list(checks()))
def test_a_real_provider_answers(provider, kind, door, tmp_path, monkeypatch):
    """It answers, the reader reads its usage, and what it costs is known and under the cap."""
    if not STARTED:
        pytest.skip("started by `make live` only")
    if provider.missing:
        pytest.skip(f"{provider.name}: {provider.missing}")
    cap = PURSE.take()
    if cap <= 0:
        pytest.skip("the dollars are spent")
    monkeypatch.setenv(provider.key_env, provider.key)
    row = Row(provider=provider.name, kind=kind, door=door, model=provider.models[kind])
    PURSE.rows.append(row)
    config = config_file(tmp_path, provider, row.model, cap)
    started_s = time.perf_counter()
    try:
        DOORS[door](Check(provider, kind, str(config), row))
        row.outcome = "ok"
    finally:
        row.total_s = time.perf_counter() - started_s
        PURSE.back(cap, row.dollars)
    assert row.dollars is not None, "nobody knows what it cost"
    assert 0 < row.dollars < cap
