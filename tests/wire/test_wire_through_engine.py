"""The newer formats through a whole engine: cached, billed, retried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headway import Engine
from headway.testing import FakeProvider, Step, virtual_run
from tests.wire.anthropic_bytes import HELLO, MESSAGES, PING, START, TEXT, TEXT_BLOCK, end, event, message

ASK: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 600, "messages": HELLO}
EVENTS = (START, PING, *TEXT_BLOCK, *end())
STREAM = b"".join(EVENTS)
DOLLARS = (12 * 3.00 + 10_240 * 0.30 + 2048 * 3.75 + 503 * 15.00) / 1e6


def engine(provider: FakeProvider, **settings: Any) -> Engine:
    quiet = {"log": "off", "log_level": "off", "api_key": "k", "seed": 7, "cache": "memory"}
    return Engine(handler=provider, **quiet | settings)


def test_a_stored_stream_serves_both_kinds_of_caller() -> None:
    """One stream is paid for; the next one gets its bytes, and who asks without streaming the message."""
    provider = FakeProvider([Step(chunks=EVENTS)])

    async def main() -> None:
        async with engine(provider) as headway:
            first = await headway.send("/v1/messages", {**ASK, "stream": True})
            assert await first.read() == STREAM
            assert first.trace is not None
            assert first.trace.dollars == pytest.approx(DOLLARS)
            again = await headway.send("/v1/messages", {**ASK, "stream": True, "metadata": {"user_id": "u"}})
            assert await again.read() == STREAM
            plain = await headway.send("/v1/messages", ASK)
            assert json.loads(await plain.read()) == message(TEXT)
            assert [reply.trace.cache for reply in (first, again, plain) if reply.trace] == ["miss", "memory", "memory"]

    virtual_run(main)
    assert provider.calls == 1


def test_a_stored_message_serves_who_streams() -> None:
    """The message is stored as JSON; who asks for a stream gets one that amounts to it."""
    stored = json.dumps(message(TEXT)).encode()
    provider = FakeProvider([Step(body=stored)])

    async def main() -> bytes:
        async with engine(provider) as headway:
            assert await (await headway.send("/v1/messages", ASK)).read() == stored
            return await (await headway.send("/v1/messages", {**ASK, "stream": True})).read()

    streamed = virtual_run(main)
    assert provider.calls == 1
    assert json.loads(MESSAGES.aggregate(streamed) or b"") == message(TEXT)


@pytest.mark.parametrize("before", [[], [START], [START, PING]], ids=["at once", "after the start", "after a ping"])
def test_an_overload_inside_a_stream_is_tried_again(before: list[bytes]) -> None:
    """Before any content an overloaded stream is a failed try, and the caller never sees it."""
    failed = (*before, event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    provider = FakeProvider([Step(chunks=failed), Step(chunks=EVENTS)])

    async def main() -> bytes:
        async with engine(provider) as headway:
            return await (await headway.send("/v1/messages", {**ASK, "stream": True})).read()

    assert virtual_run(main) == STREAM
    assert provider.calls == 2


def test_embeddings_are_cached_and_priced() -> None:
    """The second asking is free, the first has a price."""
    body = {
        "object": "list",
        "data": [{"embedding": [0.5]}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8},
    }
    provider = FakeProvider([Step(body=json.dumps(body).encode())])

    async def main() -> None:
        async with engine(provider) as headway:
            for cache in ("miss", "memory"):
                reply = await headway.send("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"})
                assert json.loads(await reply.read()) == body
                assert reply.trace is not None
                assert reply.trace.cache == cache
                assert reply.trace.dollars == pytest.approx(8 * 0.02 / 1e6 if cache == "miss" else 0.0)

    virtual_run(main)
    assert provider.calls == 1
