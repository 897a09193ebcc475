"""What a scripted provider answers: what the official SDKs read, in the format they asked in."""

from __future__ import annotations

import asyncio

import anthropic
import openai
import pytest

import headway
from headway.testing import FakeProvider, Step

ASK = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
SAID = Step(text="Nine to five.", input_tokens=12, output_tokens=4)


def _anthropic(provider):
    http = headway.async_client(handler=provider, log="off", log_level="off", seed=1)
    return anthropic.AsyncAnthropic(api_key="k", base_url="http://provider.test", http_client=http)


def _openai(provider):
    http = headway.async_client(handler=provider, log="off", log_level="off", seed=1)
    return openai.AsyncOpenAI(api_key="k", base_url="http://provider.test/v1", http_client=http)


def test_a_message_comes_whole():
    """Text, stop reason and counts stand where Anthropic's SDK looks for them."""

    async def main():
        async with _anthropic(FakeProvider([SAID])) as client:
            return await client.messages.create(**ASK)

    message = asyncio.run(main())
    assert (message.content[0].text, message.stop_reason, message.model) == (
        "Nine to five.", "end_turn", "claude-sonnet-5",
    )  # fmt: skip
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 4)


def test_a_message_comes_as_a_stream():
    """A word an event; the SDK puts the same message together."""

    async def main():
        async with _anthropic(FakeProvider([SAID])) as client, client.messages.stream(**ASK) as stream:
            words = [word async for word in stream.text_stream]
            return words, await stream.get_final_message()

    words, message = asyncio.run(main())
    assert words == ["Nine ", "to ", "five."]
    assert (message.content[0].text, message.stop_reason) == ("Nine to five.", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 4)


def test_the_engine_reads_a_streamed_message():
    """Complete, with its usage as reported, and a price."""

    async def main():
        async with headway.Engine(handler=FakeProvider([SAID]), api_key="k", log="off") as engine:
            reply = await engine.send("/v1/messages", {**ASK, "stream": True})
            await reply.read()
            return reply.trace

    trace = asyncio.run(main())
    assert (trace.outcome, trace.finish, trace.usage.estimated) == ("ok", "end_turn", False)
    assert (trace.usage.input_tokens, trace.usage.output_tokens) == (12, 4)
    assert trace.dollars


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (529, anthropic.APIStatusError, "overloaded_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
    ],
)
def test_a_messages_error_has_its_own_shape(status, kind, word):
    """Anthropic's errors name their type inside, and the SDK raises its own class."""

    async def main():
        async with _anthropic(FakeProvider([Step(status=status, text="no")])) as client:
            with pytest.raises(kind) as caught:
                await client.messages.create(**ASK, extra_headers={"headway-deadline": "1"})  # refusals are waited out
        return caught.value.body

    body = asyncio.run(main())
    assert body["type"] == "error"
    assert body["error"] == {"type": word, "message": "no"}


def test_embeddings_are_vectors():
    """One for each text, as numbers or as base64, which is what the SDK asks for by itself; equal texts, equal vectors."""

    async def main():
        async with _openai(FakeProvider([SAID])) as client:
            asks = {"model": "text-embedding-3-small", "input": ["a", "b", "a"]}
            packed = await client.embeddings.create(**asks)
            plain = await client.embeddings.create(**asks, encoding_format="float", dimensions=3)
            one = await client.embeddings.create(model="text-embedding-3-small", input="a")
            return packed, plain, one

    packed, plain, one = asyncio.run(main())
    vectors = [item.embedding for item in packed.data]
    assert [item.index for item in packed.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] == one.data[0].embedding != vectors[1]
    assert [len(item.embedding) for item in plain.data] == [3, 3, 3]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 12


def test_an_embeddings_error_is_openais():
    """Its errors are shaped as for the other endpoints."""

    async def main():
        async with _openai(FakeProvider([Step(status=401, text="no")])) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.embeddings.create(model="text-embedding-3-small", input="a")
        return caught.value.code

    assert asyncio.run(main()) == "invalid_api_key"


def test_the_other_formats_stay_theirs():
    """Chat and Responses, whole, wherever the base URL puts them."""

    async def main():
        async with headway.Engine(handler=FakeProvider([SAID]), api_key="k", log="off") as engine:
            chat = await engine.send("/openai/v1/chat/completions", {"model": "m", "messages": []})
            response = await engine.send("/v1/responses?x=1", {"model": "m", "input": "Hello"})
            return await chat.read(), await response.read()

    chat, response = asyncio.run(main())
    assert b'"object":"chat.completion"' in chat
    assert b'"object":"response"' in response
